// SPDX-License-Identifier: Apache-2.0

// Package sanitize makes texts that came from outside fit for where they go:
// valid UTF-8, of bounded length, unable to steer a terminal.
package sanitize

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// InvalidUTF8 is where the first byte stands that is not UTF-8, or -1.
func InvalidUTF8(b []byte) int {
	for i := 0; i < len(b); {
		if b[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// Text is s with U+FFFD in the place of each run of bytes that are not UTF-8.
func Text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// Cut is Text, cut off after most bytes of s, where an ellipsis says so. No
// character is cut in two.
func Cut(s string, most int) string {
	if len(s) <= most {
		return Text(s)
	}
	for back := 1; back < utf8.UTFMax && back <= most; back++ {
		if c := s[most-back]; utf8.RuneStart(c) {
			if !utf8.FullRuneInString(s[most-back : most]) {
				most -= back
			}
			break
		}
	}
	return Text(s[:most]) + "…"
}

// Terminal makes of a text one that cannot steer a terminal and stays on its
// line: white space becomes spaces, and what else is not printable a dot.
func Terminal(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsPrint(r):
			return r
		case unicode.IsSpace(r):
			return ' '
		}
		return '·'
	}, s)
}
