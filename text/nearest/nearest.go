// SPDX-License-Identifier: Apache-2.0

// Package nearest finds which of some hundreds of known items a vector is most
// like, and says so when it is like none.
//
// The one idea: an item is not one text but several (its title, its symptoms),
// and a message is usually like one of them. So an item has many vectors, and
// its score is a blend of the best of them and of their mean: the best finds the
// item, the mean keeps a single odd sentence from winning.
//
// Search is exact: it compares with every vector, which for a few thousand of
// them is faster than an index, and never wrong.
//
// Where it is known which items were right for some hundreds of texts, and which
// texts need none, [Learn] makes a better finder. The vector says what a text is
// about, and little about what its writer wants: a robot that does not charge is
// the subject of a call for help, a complaint and a returned parcel alike. So it
// reads the words too, and tells the items not from one "none" but from every kind
// of text that needs none. An item without examples is still found by its views.
package nearest

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/millrace-ml/millrace/text/embed"
)

// Item is something to be found.
type Item struct {
	ID, Title string
	// Vectors are the item's views, each of the index's dimension. They are scaled
	// to length one.
	Vectors [][]float32
	// Texts are the views' words, which [Learn] reads beside the vectors. They may
	// be left out.
	Texts []string
}

// Options say how items are scored.
type Options struct {
	// Best is the share of the best view in an item's score; the rest is the share
	// of the mean of its views.
	Best float64
	// Threshold is the score below which an item is no match.
	Threshold float64
}

// Index finds items. It is immutable and safe for concurrent use.
type Index struct {
	options Options
	dim     int
	items   []Item
	vectors []float32 // all views, one after the other
	ends    []int     // where each item's views end, in views
	pool    sync.Pool // of *search
}

type search struct{ matches []Match }

// Match is an item that was found. Score is a blend of cosines, at most 1; where
// the finder has learned it is a probability.
type Match struct {
	Item  int // its index
	Score float64
}

// New makes an index of items with vectors of length dim.
func New(items []Item, dim int, o Options) (*Index, error) {
	if !(o.Best >= 0 && o.Best <= 1) {
		return nil, fmt.Errorf("nearest: Best is %v, it must be from 0 to 1", o.Best)
	}
	if len(items) == 0 {
		return nil, errors.New("nearest: there are no items to find")
	}
	x := &Index{options: o, dim: dim, items: slices.Clone(items)}
	for _, item := range items {
		if len(item.Vectors) == 0 {
			return nil, fmt.Errorf("nearest: item %q has no vectors", item.ID)
		}
		for _, v := range item.Vectors {
			if len(v) != dim {
				return nil, fmt.Errorf("nearest: item %q has a vector of %d numbers, expected %d", item.ID, len(v), dim)
			}
			x.vectors = appendUnit(x.vectors, v)
		}
		x.ends = append(x.ends, len(x.vectors)/max(dim, 1))
	}
	x.pool.New = func() any { return new(search) }
	return x, nil
}

func appendUnit(dst, v []float32) []float32 {
	scale := float32(0)
	if n := norm2(v); n > 0 {
		scale = float32(1 / math.Sqrt(n))
	}
	for _, x := range v {
		dst = append(dst, x*scale)
	}
	return dst
}

func dot(a, b []float32) float32 { return embed.Dot(a, b) }

func norm2(v []float32) float64 { return float64(dot(v, v)) }

// Dim is the length of the vectors.
func (x *Index) Dim() int { return x.dim }

// Item is the item with that index.
func (x *Index) Item(i int) Item { return x.items[i] }

// Len is the number of items.
func (x *Index) Len() int { return len(x.items) }

// Search appends the matches to dst, at most top and the best first; of equals
// the earlier item comes first. Nothing is appended when no item reaches the
// threshold. The vector must have length Dim; it need not have length one. It
// allocates only to grow dst.
func (x *Index) Search(dst []Match, vector []float32, top int) []Match {
	if top <= 0 || norm2(vector) == 0 {
		return dst
	}
	s := x.pool.Get().(*search)
	s.matches = s.matches[:0]
	x.compare(s, vector)
	sortMatches(s.matches)
	dst = append(dst, s.matches[:min(top, len(s.matches))]...)
	x.pool.Put(s)
	return dst
}

// compare finds the items that are similar enough.
func (x *Index) compare(s *search, vector []float32) {
	scale := 1 / math.Sqrt(norm2(vector))
	start := 0
	for i, end := range x.ends {
		if score := scale * x.score(vector, start, end); score >= x.options.Threshold {
			s.matches = append(s.matches, Match{Item: i, Score: score})
		}
		start = end
	}
}

func (x *Index) score(vector []float32, start, end int) float64 {
	best, sum := float32(math.Inf(-1)), float32(0)
	for view := start; view < end; view++ {
		s := dot(vector, x.vectors[view*x.dim:][:x.dim])
		best = max(best, s)
		sum += s
	}
	mean := float64(sum) / float64(end-start)
	return x.options.Best*float64(best) + (1-x.options.Best)*mean
}

// sortMatches puts the best first; of equals the earlier item.
func sortMatches(matches []Match) {
	slices.SortStableFunc(matches, func(a, b Match) int { return cmp.Compare(b.Score, a.Score) })
}

// DefaultOptions are those that find the support desk's checklists best; see
// docs/models/checklist.md for how they were chosen.
func DefaultOptions() Options { return Options{Best: 0.4, Threshold: 0.45} }

// Describe makes an item of its texts: the title and every symptom are a view
// each, the steps together are one.
func Describe(e *embed.Model, id, title string, symptoms, steps []string) Item {
	item := Item{ID: id, Title: title}
	views := append([]string{title}, symptoms...)
	views = append(views, strings.Join(steps, " "))
	for _, view := range views {
		if view == "" {
			continue
		}
		v := make([]float32, e.Dim())
		e.Embed(v, view)
		item.Vectors, item.Texts = append(item.Vectors, v), append(item.Texts, view)
	}
	return item
}
