// SPDX-License-Identifier: Apache-2.0

// Package keywords finds what a text is about: its key phrases, and the
// products of a catalogue that it names in whatever spelling.
//
// The one idea: both are read off the words and their parts of speech that the
// tagger has already found. A key phrase is a noun phrase without its article;
// a product is a run of words that, written together in lower case, is one of
// the spellings derived from the catalogue's names.
//
// Nothing is learned: the phrases follow the pattern (adjective | noun)* noun
// of Justeson and Katz (Technical terminology: some linguistic properties and
// an algorithm for identification in text, Natural Language Engineering 1,
// 1995), are ranked by where they stand, how long and how telling they are, and
// of phrases whose last words share a stem (Snowball's English stemmer) the
// best is kept.
package keywords

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"github.com/millrace-ml/millrace/text/tagger"
	"github.com/millrace-ml/millrace/text/token"
)

// Options of an extractor. The zero value finds six phrases and no products.
type Options struct {
	// Products are the names of the catalogue, each once.
	Products []string
	// Max is how many phrases are found at most; 0 means 6.
	Max int
}

// Phrase is a key phrase: bytes [Start, End) of the text, and a score above 0
// and at most 1 that ranks it among the phrases of its text.
type Phrase struct {
	Start, End int
	Score      float64
}

// Mention is a place where a text names a product.
type Mention struct {
	Product    int // index into the catalogue
	Start, End int
}

// Result is what was found in one text. It may be used for the next text again.
type Result struct {
	Phrases  []Phrase  // best first, no two alike, none of them a product
	Mentions []Mention // in the order of the text
	Products []int     // indexes into the catalogue, ascending, each once
}

// SameProduct tells whether two texts name a product in common, in whatever
// spelling. Both results must be of the same catalogue. Texts that name no
// product, or only a family such as "robovac", have none in common.
func SameProduct(a, b *Result) bool {
	for _, p := range a.Products {
		if slices.Contains(b.Products, p) {
			return true
		}
	}
	return false
}

// Extractor finds phrases and products. It does not change after it was made:
// any number of goroutines may use one.
type Extractor struct {
	max      int
	products []string
	index    *index
	pool     sync.Pool // of *scratch
}

// scratch is what one text needs, kept for the next.
type scratch struct {
	product []int32 // for each token, the mention it belongs to, -1 for none
	chunks  []chunk
}

// New makes an extractor. Names that are empty, given twice or spelled alike
// are errors.
func New(o Options) (*Extractor, error) {
	ix, err := newIndex(o.Products)
	if err != nil {
		return nil, err
	}
	e := &Extractor{max: cmp.Or(o.Max, 6), products: slices.Clone(o.Products), index: ix}
	e.pool.New = func() any { return new(scratch) }
	return e, nil
}

// Products are the names of the catalogue.
func (e *Extractor) Products() []string { return slices.Clone(e.products) }

// maxKept bounds the scratch that is kept, in tokens.
const maxKept = 1 << 16

// Extract finds the phrases and products of a text, of which tokens and tags
// are the words and their parts of speech. It replaces what r held.
func (e *Extractor) Extract(r *Result, text string, tokens []token.Token, tags []tagger.Tag) {
	r.Phrases, r.Mentions, r.Products = r.Phrases[:0], r.Mentions[:0], r.Products[:0]
	s := e.pool.Get().(*scratch)
	s.product = s.product[:0]
	for range tokens {
		s.product = append(s.product, -1)
	}
	e.mentions(r, s, text, tokens, tags)
	s.chunk(text, tokens, tags)
	s.rank(r, e.max, text, tokens)
	if cap(s.product) <= maxKept {
		e.pool.Put(s)
	}
}

// mentions fills in the products and marks their tokens.
func (e *Extractor) mentions(r *Result, s *scratch, text string, tokens []token.Token, tags []tagger.Tag) {
	if len(e.products) == 0 {
		return
	}
	for i := 0; i < len(tokens); {
		m, n := e.index.find(text, tokens, tags, i)
		if n == 0 {
			i++
			continue
		}
		for k := i; k < i+n; k++ {
			s.product[k] = int32(m)
		}
		if m != family {
			r.Mentions = append(r.Mentions, Mention{m, tokens[i].Start, tokens[i+n-1].End})
			if at, found := slices.BinarySearch(r.Products, m); !found {
				r.Products = slices.Insert(r.Products, at, m)
			}
		}
		i += n
	}
}

// lower is strings.ToLower, which returns its argument if that is lower case.
func lower(s string) string { return strings.ToLower(s) }
