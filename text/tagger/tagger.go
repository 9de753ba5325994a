// SPDX-License-Identifier: Apache-2.0

// Package tagger gives every word of an English text its part of speech, one of
// the Universal POS tags.
//
// The one idea: a word's tag is the one for which the weights of the word's
// features add up to most. Features are hashes of what a rule sees of the word,
// its neighbours and their tags; one access to memory finds a feature's weights
// for all 17 tags, and five additions of 64 bits add them. The text is tagged
// twice: from right to left, then from left to right with the first pass's tags
// seen on the right.
//
// # Method
//
// A greedy history-based tagger as Ratnaparkhi's (A maximum entropy model for
// part-of-speech tagging, EMNLP 1996), with features after Toutanova et al.
// (Feature-rich part-of-speech tagging with a cyclic dependency network, NAACL
// 2003). Each pass is multinomial logistic regression, learned by stochastic
// gradient descent with a rate that falls with the gradients a feature has seen
// (after Duchi et al., Adaptive subgradient methods, JMLR 2011); its weights are
// averaged over all steps, as Collins does for the perceptron (EMNLP 2002),
// and rounded to eight bits. The history in learning is what the model itself
// has answered, and the first pass's tags come from models that have not seen
// the sentence.
//
// Every sentence is learned twice: as it is, and as a customer may type it, in
// lower case, without final punctuation, with slips of the keyboard. Capitals
// are not looked at in a text that has none, or nothing else.
//
// A lexicon of 24,000 words tells what the treebank is too small to tell: what
// parts of speech a word may have, guessed from its embedding in
// all-MiniLM-L6-v2, and which words are used alike.
//
// # Data, licences and quality
//
// See docs/models/tagger.md and the file NOTICE beside the weights.
package tagger

import (
	"sync"

	"github.com/millrace-ml/millrace/text/internal/lexicon"
	"github.com/millrace-ml/millrace/text/token"
)

// Tagger tags texts. It does not change after it was made: any number of
// goroutines may use one.
type Tagger struct {
	first, second table
	words         *lexicon.Lexicon
}

// scratch is what tagging a text needs, kept for the next text.
type scratch struct {
	words []word
	first []Tag // what the first pass answered, with window tags after it
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// maxKept bounds the scratch that is kept, in words.
const maxKept = 1 << 14

// none is the tag of what is before and after the text.
const none = Tags

// Append appends the tags of the tokens of text to dst, one for each. The
// tokens are those of package token, or others that follow the same rules. It
// takes time and memory in proportion to the tokens, and allocates nothing
// once dst is large enough.
func (t *Tagger) Append(dst []Tag, text string, tokens []token.Token) []Tag {
	s := scratches.Get().(*scratch)
	s.look(text, tokens, t.words)
	s.tagFirst(&t.first)
	dst = s.tagSecond(&t.second, dst)
	if cap(s.words) <= maxKept {
		scratches.Put(s)
	}
	return dst
}

// look fills words with what the features see, padded on both sides.
func (s *scratch) look(text string, tokens []token.Token, words *lexicon.Lexicon) {
	s.words = append(s.words[:0], outside, outside)
	blind := caseless(text)
	for _, tok := range tokens {
		s.words = append(s.words, word{})
		s.words[len(s.words)-1].look(tok.Of(text), blind, words)
	}
	s.words = append(s.words, outside, outside)
}

// tagFirst fills first from right to left.
func (s *scratch) tagFirst(t *table) {
	n := len(s.words) - 2*window
	s.first = s.first[:0]
	for range n {
		s.first = append(s.first, 0)
	}
	s.first = append(s.first, none, none)
	for i := n - 1; i >= 0; i-- {
		var buf [maxFeatures]uint32
		f := s.firstFeatures(buf[:0], i, uint32(s.first[i+1]), uint32(s.first[i+2]))
		s.first[i] = t.best(f)
	}
}

// tagSecond appends the tags from left to right.
func (s *scratch) tagSecond(t *table, dst []Tag) []Tag {
	t1, t2 := uint32(none), uint32(none)
	for i := range len(s.words) - 2*window {
		var buf [maxFeatures]uint32
		f := s.secondFeatures(buf[:0], i, t1, t2)
		tag := t.best(f)
		dst = append(dst, tag)
		t1, t2 = uint32(tag), t1
	}
	return dst
}

// firstFeatures are what the first pass sees of word i, t1 and t2 being the
// tags of the words after it.
func (s *scratch) firstFeatures(f []uint32, i int, t1, t2 uint32) []uint32 {
	return backward(static(f, s.words, i+window), s.words, i+window, t1, t2)
}

// secondFeatures are what the second pass sees of word i, t1 and t2 being the
// tags of the words before it.
func (s *scratch) secondFeatures(f []uint32, i int, t1, t2 uint32) []uint32 {
	f = static(f, s.words, i+window)
	f = forward(f, s.words, i+window, t1, t2)
	return both(f, s.words, i+window, t1, uint32(s.first[i]), uint32(s.first[i+1]), uint32(s.first[i+2]))
}
