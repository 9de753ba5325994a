// SPDX-License-Identifier: Apache-2.0

// Package tagger gives every word of an English text its part of speech.
package tagger

import (
	"sync"

	"github.com/millrace-ml/millrace/text/token"
)

// Tagger tags texts. It does not change after it was made: any number of
// goroutines may use one.
type Tagger struct {
	table table
}

// scratch is what tagging a text needs, kept for the next text.
type scratch struct {
	words []word
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// maxKept bounds the scratch that is kept, in words.
const maxKept = 1 << 16

// Append appends the tags of the tokens of text to dst. The tokens are those
// of package token, or others that follow the same rules.
func (t *Tagger) Append(dst []Tag, text string, tokens []token.Token) []Tag {
	s := scratches.Get().(*scratch)
	s.look(text, tokens)
	t1, t2 := uint32(Tags), uint32(Tags)
	for i := range tokens {
		var features [maxFeatures]uint32
		f := static(features[:0], s.words, i+window)
		f = dynamic(f, s.words, i+window, t1, t2)
		var sum scores
		for _, h := range f {
			t.table.add(&sum, h)
		}
		tag := sum.best()
		dst = append(dst, tag)
		t1, t2 = uint32(tag), t1
	}
	if cap(s.words) <= maxKept {
		scratches.Put(s)
	}
	return dst
}

// look fills words with what the features see, padded on both sides.
func (s *scratch) look(text string, tokens []token.Token) {
	s.words = append(s.words[:0], outside, outside)
	blind := caseless(text)
	for _, tok := range tokens {
		s.words = append(s.words, word{})
		s.words[len(s.words)-1].look(tok.Of(text), blind)
	}
	s.words = append(s.words, outside, outside)
}
