// SPDX-License-Identifier: Apache-2.0

package keywords

import (
	"fmt"
	"slices"

	"github.com/kljensen/snowball/english"

	"github.com/millrace-ml/millrace/text/tagger"
	"github.com/millrace-ml/millrace/text/token"
)

// Labelled is a text with what should be found in it.
type Labelled struct {
	Text     string   `json:"text"`
	Keywords []string `json:"keywords"`
	Products []string `json:"products"` // names of the catalogue
}

// Quality is how well an extractor does on labelled texts.
type Quality struct {
	Texts int `json:"texts"`
	// ProductAccuracy is the share of texts of which exactly the right products
	// were found.
	ProductAccuracy float64 `json:"product_accuracy"`
	// Keywords is how many were to be found. KeywordRecall is the share of which
	// a phrase has all the stems, or the other way round ("dust filter" for
	// "filter"), ExactRecall that of which a phrase has the same stems.
	Keywords      int     `json:"keywords"`
	KeywordRecall float64 `json:"keyword_recall"`
	ExactRecall   float64 `json:"exact_recall"`
	// PhrasesPerText is how many phrases were found in a text.
	PhrasesPerText float64 `json:"phrases_per_text"`
}

// Evaluate compares what is found in texts, tagged by t, with their labels. A
// product that is not in the catalogue is an error.
func Evaluate(e *Extractor, t *tagger.Tagger, texts []Labelled) (Quality, error) {
	q := Quality{Texts: len(texts)}
	var r Result
	var tokens []token.Token
	var tags []tagger.Tag
	right, near, exact, phrases := 0, 0, 0, 0
	for i := range texts {
		l := &texts[i]
		want, err := e.indexes(l.Products)
		if err != nil {
			return Quality{}, fmt.Errorf("text %d: %w", i+1, err)
		}
		tokens = token.Append(tokens[:0], l.Text)
		tags = t.Append(tags[:0], l.Text, tokens)
		e.Extract(&r, l.Text, tokens, tags)
		if slices.Equal(want, r.Products) {
			right++
		}
		phrases += len(r.Phrases)
		for _, keyword := range l.Keywords {
			q.Keywords++
			n, x := r.has(l.Text, keyword)
			near += n
			exact += x
		}
	}
	q.ProductAccuracy, q.PhrasesPerText = share(right, q.Texts), share(phrases, q.Texts)
	q.KeywordRecall, q.ExactRecall = share(near, q.Keywords), share(exact, q.Keywords)
	return q, nil
}

// indexes are the places of products in the catalogue, ascending.
func (e *Extractor) indexes(products []string) ([]int, error) {
	var out []int
	for _, p := range products {
		i := slices.Index(e.products, p)
		if i < 0 {
			return nil, fmt.Errorf("product %q is not in the catalogue", p)
		}
		out = append(out, i)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// has tells, as 0 or 1, whether a phrase is near the keyword, and is the same.
func (r *Result) has(text, keyword string) (near, exact int) {
	want := stems(keyword)
	for _, p := range r.Phrases {
		got := stems(text[p.Start:p.End])
		if slices.Equal(got, want) {
			return 1, 1
		}
		if within(got, want) || within(want, got) {
			near = 1
		}
	}
	return near, 0
}

// stems are those of a phrase's words.
func stems(phrase string) []string {
	var out []string
	for _, t := range token.Append(nil, phrase) {
		if w := t.Of(phrase); written(w) {
			out = append(out, english.Stem(w, false))
		}
	}
	return out
}

// within tells whether all of a, which is not empty, are in b.
func within(a, b []string) bool {
	for _, s := range a {
		if !slices.Contains(b, s) {
			return false
		}
	}
	return len(a) > 0
}

func share(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
