// SPDX-License-Identifier: Apache-2.0

// Package sanitize makes texts that came from outside fit for where they go:
// valid UTF-8, of bounded length, unable to steer a terminal, without passwords.
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

// Cut is s with U+FFFD in the place of each run of bytes that are not UTF-8, cut
// off after most bytes of s, where an ellipsis says so. No character is cut in two.
func Cut(s string, most int) string {
	if len(s) <= most {
		return valid(s)
	}
	for back := 1; back < utf8.UTFMax && back <= most; back++ {
		if c := s[most-back]; utf8.RuneStart(c) {
			if !utf8.FullRuneInString(s[most-back : most]) {
				most -= back
			}
			break
		}
	}
	return valid(s[:most]) + "…"
}

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// Terminal makes of a text one that cannot steer a terminal and stays on its
// line: line breaks and tabs become spaces; other control characters, those that
// turn the direction of writing, and bytes that are not UTF-8 become U+FFFD.
func Terminal(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r):
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
