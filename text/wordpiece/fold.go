// SPDX-License-Identifier: Apache-2.0

package wordpiece

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// What a character does to the word being read. Values from letter on are the
// lower-cased character itself.
const (
	dropped byte = iota
	space
	punctuation
	letter
)

// asciiFold classifies ASCII: the reference counts every printable character
// that is neither letter nor digit as punctuation, "$" and "`" too.
var asciiFold = func() (fold [128]byte) {
	for c := range byte(128) {
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			fold[c] = space
		case c < ' ' || c == 127:
			fold[c] = dropped
		case 'A' <= c && c <= 'Z':
			fold[c] = c + 'a' - 'A'
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
			fold[c] = c
		default:
			fold[c] = punctuation
		}
	}
	return fold
}()

// foldRune reads one rune beyond ASCII from the text's beginning: it cleans it,
// takes it apart, strips its accents and lower-cases what is left, in the
// reference's order.
func (t *Tokenizer) foldRune(dst []int32, w *word, text string) ([]int32, int) {
	r, size := utf8.DecodeRuneInString(text)
	switch {
	case r == utf8.RuneError || isControl(r):
		return dst, size
	case unicode.IsSpace(r):
		return t.flush(dst, w), size
	case isIdeograph(r):
		return t.alone(dst, w, canonical(r, text)), size
	case isHangul(r):
		for _, part := range decomposeHangul(r) {
			if part != 0 {
				w.addRune(part)
			}
		}
		return dst, size
	}
	if parts := norm.NFD.PropertiesString(text[:size]).Decomposition(); parts != nil {
		for len(parts) > 0 {
			part, n := utf8.DecodeRune(parts)
			dst = t.foldPart(dst, w, part)
			parts = parts[n:]
		}
		return dst, size
	}
	return t.foldPart(dst, w, r), size
}

func (t *Tokenizer) foldPart(dst []int32, w *word, r rune) []int32 {
	switch {
	case unicode.Is(unicode.Mn, r):
		return dst
	case r < 0x80 && asciiFold[r] == punctuation || unicode.IsPunct(r):
		return t.alone(dst, w, r)
	}
	w.addRune(unicode.ToLower(r))
	return dst
}

// alone makes r a word of its own.
func (t *Tokenizer) alone(dst []int32, w *word, r rune) []int32 {
	dst = t.flush(dst, w)
	w.addRune(r)
	return t.flush(dst, w)
}

// isControl tells the characters that the reference drops: the whole category
// "other" (beyond ASCII, where tabs and line breaks are spared).
func isControl(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs)
}

// isIdeograph tells the CJK blocks that BERT takes character by character.
// Hangul and the kana are not among them: those are written in words.
func isIdeograph(r rune) bool {
	switch {
	case r < 0x3400:
		return false
	case r <= 0x4DBF, r >= 0x4E00 && r <= 0x9FFF, r >= 0xF900 && r <= 0xFAFF:
		return true
	case r < 0x20000:
		return false
	}
	return r <= 0x2A6DF || r >= 0x2A700 && r <= 0x2B73F || r >= 0x2B740 && r <= 0x2B81F ||
		r >= 0x2B920 && r <= 0x2CEAF || r >= 0x2F800 && r <= 0x2FA1F
}

// canonical is the character that a compatibility ideograph stands for.
func canonical(r rune, text string) rune {
	if parts := norm.NFD.PropertiesString(text).Decomposition(); parts != nil {
		r, _ = utf8.DecodeRune(parts)
	}
	return r
}

func isHangul(r rune) bool { return 0xAC00 <= r && r <= 0xD7A3 }

// decomposeHangul takes a syllable apart arithmetically (the Unicode Standard,
// section 3.12). A missing final consonant is zero.
func decomposeHangul(r rune) [3]rune {
	s := r - 0xAC00
	parts := [3]rune{0x1100 + s/588, 0x1161 + s%588/28, 0}
	if final := s % 28; final != 0 {
		parts[2] = 0x11A7 + final
	}
	return parts
}

func copyRune(dst []byte, r rune) int {
	var buf [utf8.UTFMax]byte
	return copy(dst, buf[:utf8.EncodeRune(buf[:], r)])
}
