// SPDX-License-Identifier: Apache-2.0

package tagger

import (
	"unicode"
	"unicode/utf8"

	"github.com/millrace-ml/millrace/text/internal/lexicon"
)

// word is what the features see of a token. Hashes stand for strings: two that
// collide are one word to the model, in training as in use.
type word struct {
	form    uint32 // the token in lower case, digits as 0
	suffix1 uint32
	suffix2 uint32
	suffix3 uint32
	suffix4 uint32
	prefix2 uint32
	prefix3 uint32
	shape   uint32 // kinds of characters, runs shortened to two
	capital uint32 // how the token is capitalised, and whether that tells anything
	guess   uint32 // the lexicon's guess of its parts of speech, 0 if it does not know it
	coarse  uint32 // its group of words of similar use, and a smaller one
	fine    uint32
}

// How a token is capitalised.
const (
	capNone = iota + 1
	capFirst
	capAll
	capInside
	capNoLetter
	capMeaningless // the whole text has capitals, or none
)

// unlisted is what the lexicon says of tokens that are no words.
const unlisted = 1 << 16

// outside stands for the words before and after the text.
var outside = word{form: 1, suffix1: 1, suffix2: 1, suffix3: 1, suffix4: 1, prefix2: 1, prefix3: 1, shape: 1, guess: unlisted, coarse: unlisted, fine: unlisted}

// FNV-1a, as in package lexicon.
const (
	fnvOffset = 2166136261
	fnvPrime  = 16777619
)

// maxWord bounds how much of a token is looked at from either end.
const maxWord = 48

// look fills in w from the token. caseless says that capitals mean nothing in
// this text.
func (w *word) look(token string, caseless bool, words *lexicon.Lexicon) {
	var low [maxWord * 2 * 3]byte // a byte that is not UTF-8 becomes three
	b, shape := fold(low[:0], token)
	w.shape = shape.hash
	w.capital = shape.capital()
	if caseless && w.capital != capNoLetter {
		w.capital = capMeaningless
		w.shape = capMeaningless<<8 | uint32(len(b)&7)
		if shape.digits {
			w.shape |= 1 << 20
		}
	}
	w.form = lexicon.Hash(b)
	classes := words.Find(w.form)
	w.guess, w.coarse, w.fine = uint32(classes[0]), uint32(classes[1]), uint32(classes[2])
	w.prefix2 = prefixHash(b, 2)
	w.prefix3 = prefixHash(b, 3)
	h := uint32(fnvOffset)
	w.suffix1, w.suffix2, w.suffix3, w.suffix4 = 2, 2, 2, 2
	for k := 1; k <= 4 && k <= len(b); k++ {
		h = (h ^ uint32(b[len(b)-k])) * fnvPrime
		switch k {
		case 1:
			w.suffix1 = h
		case 2:
			w.suffix2 = h
		case 3:
			w.suffix3 = h
		case 4:
			w.suffix4 = h
		}
	}
}

func prefixHash(b []byte, n int) uint32 {
	if len(b) <= n {
		return 2
	}
	h := uint32(fnvOffset)
	for _, c := range b[:n] {
		h = (h ^ uint32(c)) * fnvPrime
	}
	return h
}

// form is what a token's characters look like.
type form struct {
	hash          uint32
	last          byte
	run           int
	first, others int // capitals at the beginning and after it
	letters       int
	digits        bool
}

func (f *form) capital() uint32 {
	switch {
	case f.letters == 0:
		return capNoLetter
	case f.first+f.others == 0:
		return capNone
	case f.first == 1 && f.others == 0:
		return capFirst
	case f.first+f.others == f.letters:
		return capAll
	}
	return capInside
}

func (f *form) kind(k byte) {
	if k == f.last {
		if f.run++; f.run > 2 {
			return
		}
	} else {
		f.last, f.run = k, 1
	}
	f.hash = (f.hash ^ uint32(k)) * fnvPrime
}

// fold appends the token in lower case, its digits as 0 and curly apostrophes
// straight, and describes its characters. Of a very long token only the ends
// are looked at.
func fold(dst []byte, token string) ([]byte, form) {
	f := form{hash: fnvOffset}
	if len(token) > 2*maxWord-8 {
		token = token[:maxWord-4] + token[len(token)-maxWord+4:]
	}
	for i := 0; i < len(token); {
		c := token[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(token[i:])
			dst = f.wide(dst, r, i == 0)
			i += n
			continue
		}
		switch {
		case 'a' <= c && c <= 'z':
			f.letters++
			f.kind('x')
		case 'A' <= c && c <= 'Z':
			f.upper(i == 0)
			c |= 0x20
		case '0' <= c && c <= '9':
			f.digits = true
			f.kind('0')
			c = '0'
		case c == '`':
			c = '\''
			f.kind(c)
		default:
			f.kind(c)
		}
		dst = append(dst, c)
		i++
	}
	return dst, f
}

func (f *form) upper(first bool) {
	f.letters++
	if first {
		f.first++
	} else {
		f.others++
	}
	f.kind('X')
}

// wide folds a character beyond ASCII.
func (f *form) wide(dst []byte, r rune, first bool) []byte {
	switch {
	case r == '’' || r == '‘':
		f.kind('\'')
		return append(dst, '\'')
	case unicode.Is(unicode.So, r):
		// The treebank has emoticons but no emoji: one is read as the other.
		f.kind(':')
		f.kind(')')
		return append(dst, ':', ')')
	case unicode.IsUpper(r):
		f.upper(first)
		r = unicode.ToLower(r)
	case unicode.IsLetter(r):
		f.letters++
		f.kind('x')
	default:
		f.kind('u')
	}
	return utf8.AppendRune(dst, r)
}

// caseless tells whether the text's capitals mean nothing, because there are
// none or because almost everything is one.
func caseless(text string) bool {
	upper, lower := 0, 0
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z':
			lower++
		case 'A' <= c && c <= 'Z':
			upper++
		}
	}
	return upper == 0 || lower == 0 && upper > 5
}

// mix makes a feature of a template's number and what it sees.
func mix(template, a uint32) uint32 {
	h := a*0x85ebca6b + template*0x9e3779b1
	h ^= h >> 15
	h *= 0x2c1b3c6d
	h ^= h >> 13
	if h == empty {
		return 1
	}
	return h
}

func mix2(template, a, b uint32) uint32 { return mix(template, a*0xcc9e2d51^(b*0x1b873593+(b>>16))) }

func mix3(template, a, b, c uint32) uint32 {
	return mix2(template, a, b*0x85ebca77+c)
}
