// SPDX-License-Identifier: Apache-2.0

// Package token splits English text into the words and punctuation marks that
// the tagger was trained on.
//
// The one idea: a text is cut at white space into chunks, and a chunk is read
// once from left to right, each rule looking only a few bytes ahead, so that
// any bytes, however odd, are split in linear time. Tokens are byte ranges of
// the text: nothing is copied, changed or lost but the white space.
//
// The rules follow the tokenisation of the Universal Dependencies English Web
// Treebank (https://universaldependencies.org/treebanks/en_ewt/), with what
// customers write added: contractions are cut with and without an apostrophe
// ("do|n't", "do|nt", "can|not", "it|'s"), hyphenated words are cut except
// after a prefix ("help|-|desk", "e-mail", "non-stick"), while names such as
// "x-30" and "RH-48213", addresses of the web and of mail, file names, phone
// numbers, dates, amounts, abbreviations, emoticons and emoji stay whole.
//
// The package has no state and allocates nothing but the slice it appends to.
package token

import (
	"unicode"
	"unicode/utf8"
)

// Token is a byte range [Start, End) of a text. It is never empty.
type Token struct {
	Start, End int
}

// Of returns the token's part of the text.
func (t Token) Of(text string) string { return text[t.Start:t.End] }

// Append appends the tokens of text to dst, in order and without overlap. The
// text may hold any bytes: those that are not UTF-8 count as letters.
func Append(dst []Token, text string) []Token {
	s := splitter{text: text, tokens: dst}
	for i := 0; i < len(text); {
		if n := spaceAt(text, i); n > 0 {
			i += n
			continue
		}
		start := i
		s.hasAt = false
		for i < len(text) && spaceAt(text, i) == 0 {
			if text[i] == '@' {
				s.hasAt = true
			}
			i++
		}
		s.chunk(start, i)
	}
	return s.tokens
}

// spaceAt is the length of the white space character at i, 0 if there is none.
func spaceAt(text string, i int) int {
	c := text[i]
	if c < utf8.RuneSelf {
		if class[c] == isSpace {
			return 1
		}
		return 0
	}
	// Only these lead bytes begin a space: U+0085 and U+00A0, U+1680, U+2000
	// and on, U+3000, U+FEFF.
	if c != 0xc2 && c != 0xe1 && c != 0xe2 && c != 0xe3 && c != 0xef {
		return 0
	}
	r, n := utf8.DecodeRuneInString(text[i:])
	if unicode.IsSpace(r) || r == 0x200b || r == 0xfeff {
		return n
	}
	return 0
}

// splitter reads one chunk after the other.
type splitter struct {
	text   string
	tokens []Token
	hasAt  bool // the chunk has an '@'
}

func (s *splitter) emit(start, end int) {
	s.tokens = append(s.tokens, Token{start, end})
}

// chunk splits text[at:end], which has no white space.
func (s *splitter) chunk(at, end int) {
	start := at
	for at < end {
		var next int
		switch {
		case s.wordAt(at):
			next = s.word(at, end)
		case at == start && s.text[at] == '@' && at+1 < end && isLetterByte(s.text[at+1]):
			next = s.run(at+1, end) // a user's handle
			s.emit(at, next)
		default:
			next = s.mark(at, end)
		}
		at = next
	}
}

// The classes of ASCII bytes.
const (
	isMark = iota
	isSpace
	isLetter
	isDigit
)

var class = func() (t [utf8.RuneSelf]uint8) {
	for c := range t {
		switch {
		case c <= ' ' || c == 0x7f:
			t[c] = isSpace // control characters part words as spaces do
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z':
			t[c] = isLetter
		case '0' <= c && c <= '9':
			t[c] = isDigit
		}
	}
	return t
}()

func isLetterByte(c byte) bool { return c < utf8.RuneSelf && class[c] == isLetter }
func isDigitByte(c byte) bool  { return '0' <= c && c <= '9' }

// wordAt tells whether a letter or digit, of any script, is at i.
func (s *splitter) wordAt(i int) bool {
	c := s.text[i]
	if c < utf8.RuneSelf {
		return class[c] >= isLetter
	}
	n, word := s.wide(i)
	return n > 0 && word
}

// wide looks at the character beyond ASCII at i: its length and whether it
// belongs into words. Bytes that are not UTF-8 do.
func (s *splitter) wide(i int) (n int, word bool) {
	r, n := utf8.DecodeRuneInString(s.text[i:])
	if r == utf8.RuneError {
		return n, true
	}
	return n, unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) && !isJoiner(r)
}

// run returns where the letters, digits and underscores from i on end.
func (s *splitter) run(i, end int) int {
	for i < end {
		c := s.text[i]
		if c < utf8.RuneSelf {
			if class[c] < isLetter && c != '_' {
				return i
			}
			i++
			continue
		}
		n, word := s.wide(i)
		if !word {
			return i
		}
		i += n
	}
	return i
}
