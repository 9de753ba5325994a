// SPDX-License-Identifier: Apache-2.0

package token

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// mark emits the token that begins at a character that is no letter or digit,
// and returns where it ends.
func (s *splitter) mark(at, end int) int {
	next := s.markEnd(at, end)
	s.emit(at, next)
	return next
}

func (s *splitter) markEnd(at, end int) int {
	c := s.text[at]
	if c >= utf8.RuneSelf {
		return s.wideMark(at, end)
	}
	if n := emoticon(s.text[at:end]); n > 0 {
		return at + n
	}
	switch c {
	case '.', '!', '?':
		return at + span(s.text[at:end], ".!?")
	case '-', '=', '*', '_', '~', '+', '<', '>', '|', '\'', '`', '#':
		return at + span(s.text[at:end], s.text[at:at+1])
	}
	return at + 1
}

// span is how far s consists of the characters of set.
func span(s, set string) int {
	n := 0
	for n < len(s) && strings.IndexByte(set, s[n]) >= 0 {
		n++
	}
	return n
}

// emoticon is the length of the emoticon that s begins with, 0 if it does not:
// eyes, perhaps a nose, and a mouth, not followed by a letter or digit; or one
// of a few others.
func emoticon(s string) int {
	for _, whole := range [...]string{"^_^", "-_-", "<3", ">:(", "</3", "(:", "(;"} {
		if strings.HasPrefix(s, whole) && endsThere(s, len(whole)) {
			return len(whole)
		}
	}
	if len(s) < 2 || strings.IndexByte(":;=8", s[0]) < 0 || s[0] == '8' {
		return 0
	}
	n := 1
	if len(s) > 2 && strings.IndexByte("-'^o", s[1]) >= 0 {
		n++
	}
	if strings.IndexByte(`()DPpOo/\|3*]`, s[n]) < 0 {
		return 0
	}
	n++
	for n < len(s) && s[n] == s[n-1] && (s[n] == ')' || s[n] == '(') {
		n++
	}
	if !endsThere(s, n) || s[n-1] == '/' && n < len(s) {
		return 0 // "http://"
	}
	return n
}

func endsThere(s string, n int) bool {
	return n >= len(s) || s[n] < utf8.RuneSelf && class[s[n]] < isLetter
}

// wideMark returns where the mark beyond ASCII at i ends: an emoji with its
// modifiers and what is joined to it, a run of one dash or quote, or one
// character.
func (s *splitter) wideMark(at, end int) int {
	r, n := utf8.DecodeRuneInString(s.text[at:end])
	i := at + n
	if unicode.Is(unicode.So, r) || isRegional(r) {
		return s.emojiEnd(r, i, end)
	}
	for i < end && strings.HasPrefix(s.text[i:end], s.text[at:at+n]) {
		i += n
	}
	return i
}

// emojiEnd returns where an emoji that began with r ends: variation selectors,
// skin tones, keycaps and tags belong to it, and after a zero-width joiner the
// next emoji does too. Two regional indicators are one flag.
func (s *splitter) emojiEnd(r rune, i, end int) int {
	flag := isRegional(r)
	for i < end {
		next, n := utf8.DecodeRuneInString(s.text[i:end])
		switch {
		case next == zeroWidthJoiner:
			i += n
			if i < end {
				if next, n = utf8.DecodeRuneInString(s.text[i:end]); unicode.Is(unicode.So, next) {
					i += n
				}
			}
		case isJoiner(next) || 0x1f3fb <= next && next <= 0x1f3ff:
			i += n
		case flag && isRegional(next):
			i += n
			flag = false
		default:
			return i
		}
	}
	return i
}

const zeroWidthJoiner = 0x200d

// isJoiner tells whether r only changes the emoji before it.
func isJoiner(r rune) bool {
	return r == zeroWidthJoiner || 0xfe00 <= r && r <= 0xfe0f || r == 0x20e3 || 0xe0020 <= r && r <= 0xe007f
}

func isRegional(r rune) bool { return 0x1f1e6 <= r && r <= 0x1f1ff }
