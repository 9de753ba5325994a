// SPDX-License-Identifier: Apache-2.0

// Package wordpiece splits text into the sub-word tokens of BERT's uncased
// vocabulary, exactly as the models that were trained with it expect.
//
// The one idea: normalising, splitting and looking up are one pass over the
// text. Every word is built, folded to lower case, in a small buffer together
// with the hashes of all its prefixes, so that the longest token that begins it
// is found by probing a hash table and nothing is allocated.
//
// The method is the greedy longest-match-first WordPiece of Devlin et al.,
// "BERT: Pre-training of Deep Bidirectional Transformers" (2019): control
// characters are dropped, accents stripped after canonical decomposition, CJK
// ideographs and punctuation stand alone, and a word that the vocabulary cannot
// spell is the unknown token. It agrees with the reference implementation
// (Hugging Face tokenizers' BertNormalizer, BertPreTokenizer and WordPiece) with
// one deliberate exception: the names of special tokens, such as "[SEP]", are
// ordinary text here, since what a customer writes must not steer the model.
package wordpiece

import (
	"errors"
	"fmt"
	"slices"
)

// Unknown is the token of words that the vocabulary cannot spell.
const Unknown = "[UNK]"

// maxWordRunes is the reference implementation's limit: a longer word is
// unknown as a whole.
const maxWordRunes = 100

// Tokenizer maps text to token ids. It is immutable and safe for concurrent use.
type Tokenizer struct {
	tokens  []string
	unknown int32
	table   []slot // open addressing; its length is a power of two
	mask    uint32
	longest int // the longest token's bytes, without "##"
}

type slot struct {
	hash uint32
	id   int32 // token id + 1; zero is an empty slot
}

// New makes a tokenizer of a vocabulary, in which a token's index is its id and
// a leading "##" marks tokens that continue a word. The vocabulary must hold
// [Unknown] and no token twice.
func New(vocabulary []string) (*Tokenizer, error) {
	unknown := slices.Index(vocabulary, Unknown)
	if unknown < 0 {
		return nil, errors.New("wordpiece: the vocabulary has no " + Unknown + " token")
	}
	size := 1
	for size < 2*len(vocabulary) {
		size *= 2
	}
	t := &Tokenizer{
		tokens:  slices.Clone(vocabulary),
		unknown: int32(unknown),
		table:   make([]slot, size),
		mask:    uint32(size - 1),
	}
	for id, token := range t.tokens {
		if err := t.insert(token, int32(id)); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *Tokenizer) insert(token string, id int32) error {
	seed, spelling := seedOf(token)
	hash := seed
	for i := range len(spelling) {
		hash = step(hash, spelling[i])
	}
	at := mix(hash) & t.mask
	for ; t.table[at].id != 0; at = (at + 1) & t.mask {
		if t.tokens[t.table[at].id-1] == token {
			return fmt.Errorf("wordpiece: token %q is in the vocabulary twice (ids %d and %d)", token, t.table[at].id-1, id)
		}
	}
	t.table[at] = slot{hash: hash, id: id + 1}
	t.longest = max(t.longest, len(spelling))
	return nil
}

// Len is the number of tokens in the vocabulary.
func (t *Tokenizer) Len() int { return len(t.tokens) }

// Token is the spelling of a token id. It panics when the id is out of range.
func (t *Tokenizer) Token(id int32) string { return t.tokens[id] }

// Unknown is the id of the unknown token.
func (t *Tokenizer) Unknown() int32 { return t.unknown }

// AppendIDs appends the ids of the text's tokens to dst, without the [CLS] and
// [SEP] that a transformer wants around them. It allocates only to grow dst.
// Bytes that are not UTF-8 are dropped, as the reference drops U+FFFD.
func (t *Tokenizer) AppendIDs(dst []int32, text string) []int32 {
	var w word
	for i := 0; i < len(text); {
		if c := text[i]; c < 0x80 {
			i++
			switch lower := asciiFold[c]; {
			case lower >= letter:
				w.addByte(lower)
			case lower == space:
				dst = t.flush(dst, &w)
			case lower == punctuation:
				dst = t.flush(dst, &w)
				w.addByte(c)
				dst = t.flush(dst, &w)
			}
			continue
		}
		var size int
		dst, size = t.foldRune(dst, &w, text[i:])
		i += size
	}
	return t.flush(dst, &w)
}

// flush appends the tokens of the word, if there is one, and empties it.
func (t *Tokenizer) flush(dst []int32, w *word) []int32 {
	if w.runes == 0 {
		return dst
	}
	if w.runes > maxWordRunes {
		w.reset()
		return append(dst, t.unknown)
	}
	before := len(dst)
	seed := beginSeed
	for start := 0; start < w.len; {
		id, end := t.longestFrom(w, start, seed)
		if id < 0 {
			w.reset()
			return append(dst[:before], t.unknown)
		}
		dst = append(dst, id)
		start, seed = end, continueSeed
	}
	w.reset()
	return dst
}

// longestFrom finds the longest token that spells the word from start on, and
// where it ends. Tokens are whole UTF-8, so no match can end inside a rune.
func (t *Tokenizer) longestFrom(w *word, start int, seed uint32) (id int32, end int) {
	limit := min(w.len, start+t.longest)
	hash := seed
	for i := start; i < limit; i++ {
		hash = step(hash, w.bytes[i])
		w.hashes[i] = hash
	}
	for end = limit; end > start; end-- {
		hash := w.hashes[end-1]
		for at := mix(hash) & t.mask; t.table[at].id != 0; at = (at + 1) & t.mask {
			if t.table[at].hash != hash {
				continue
			}
			id := t.table[at].id - 1
			if s, spelling := seedOf(t.tokens[id]); s == seed && spelling == string(w.bytes[start:end]) {
				return id, end
			}
		}
	}
	return -1, start
}

// word is the word being read. Runes past the limit are counted, not kept.
type word struct {
	bytes  [4 * maxWordRunes]byte
	hashes [4 * maxWordRunes]uint32
	len    int
	runes  int
}

func (w *word) addByte(c byte) {
	if w.runes < maxWordRunes {
		w.bytes[w.len] = c
		w.len++
	}
	w.runes++
}

func (w *word) addRune(r rune) {
	if w.runes < maxWordRunes {
		w.len += copyRune(w.bytes[w.len:], r)
	}
	w.runes++
}

func (w *word) reset() { w.len, w.runes = 0, 0 }

// The hash is FNV-1a; tokens that begin a word and those that continue one start
// from different seeds, so that one table holds both.
const (
	beginSeed    uint32 = 2166136261
	continueSeed uint32 = 0x9e3779b9
)

func step(hash uint32, c byte) uint32 { return (hash ^ uint32(c)) * 16777619 }

func mix(hash uint32) uint32 { return hash ^ hash>>15 }

func seedOf(token string) (seed uint32, spelling string) {
	if len(token) > 2 && token[0] == '#' && token[1] == '#' {
		return continueSeed, token[2:]
	}
	return beginSeed, token
}
