// SPDX-License-Identifier: Apache-2.0

package nearest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/millrace-ml/millrace/text/linear"
)

// None is the item of an example that no item is right for.
const None = -1

// Example is a text for which the right item is known.
type Example struct {
	Text   string
	Vector []float32 // what the embedder makes of it
	Item   int       // its index, or None
	// Kind is what a text is that needs no item, such as praise or a late parcel;
	// empty is a kind too. It is not read of other texts.
	Kind string
	// Group keeps near-duplicates in one fold of [CrossValidate]; empty is a group
	// of its own.
	Group string
}

// Learned finds items by what examples taught. It is immutable and safe for
// concurrent use.
type Learned struct {
	model *linear.Model
	items int
	least float64   // probability that any item is right
	pool  sync.Pool // of *evidence
}

// DefaultCertainty has nine of ten texts that need no item answered with none; see
// docs/models/checklist.md.
const DefaultCertainty = 0.25

// evidence is what there is to judge one text by.
type evidence struct {
	features      linear.Vector
	unit          []float32
	probabilities []float64
	matches       []Match
}

// features are word pairs and pieces of words beside the vector: "how do I get it
// back" and "get it back to work" mean nearly the same to the vector.
func features(dim int) linear.Options {
	return linear.Options{
		Buckets: 1 << 15,
		Words:   2,
		CharMin: 4, CharMax: 4,
		WordWeight: 1, CharWeight: 1,
		Dense: dim, DenseWeight: 4,
	}
}

// training is short, since a model learns whenever a pipeline starts. The large
// weights that rare words would get are dear: there are some thirty examples an
// item.
func training(seed uint64, folds int) linear.Training {
	return linear.Training{Epochs: 10, Rate: 0.3, L2: 2e-3, Seed: seed, Folds: folds}
}

// temperature makes up for that: weights that may not grow are less sure than
// they are right on examples held out. Measuring it takes five times as long as
// learning, and it is much the same for other examples.
const temperature = 0.55

// Learn makes a finder of items from what the examples and the items' own views
// teach. It takes about half a second for a thousand examples and is
// deterministic. Nothing is found where it is less likely than least that any item
// is right; see [DefaultCertainty].
func Learn(ctx context.Context, items []Item, examples []Example, least float64) (*Learned, error) {
	l, err := lessonsOf(items, examples)
	if err != nil {
		return nil, err
	}
	m, err := linear.Train(ctx, features(l.dim), l.labels, l.examples, training(0, -1))
	if err != nil {
		return nil, fmt.Errorf("nearest: learn from %d examples: %w", len(examples), err)
	}
	f := &Learned{model: m, items: len(items), least: least}
	f.pool.New = func() any { return &evidence{unit: make([]float32, 0, l.dim)} }
	return f, nil
}

// lessons are the examples and the items' views, made ready to learn from.
type lessons struct {
	dim      int
	labels   []string // the items' ids, then the kinds
	examples []linear.Example
}

func lessonsOf(items []Item, examples []Example) (*lessons, error) {
	l := &lessons{}
	for _, item := range items {
		l.labels = append(l.labels, item.ID)
		for _, v := range item.Vectors {
			l.dim = len(v)
		}
	}
	if len(items) == 0 || l.dim == 0 {
		return nil, errors.New("nearest: there are no items to find")
	}
	if err := l.check(len(items), examples); err != nil {
		return nil, err
	}
	kinds := kindsOf(examples)
	l.labels = append(l.labels, kinds...)
	for _, e := range examples {
		label := e.Item
		if label == None {
			kind, _ := slices.BinarySearch(kinds, e.Kind)
			label = len(items) + kind
		}
		l.add(e.Text, e.Vector, linear.Example{Label: label, Group: e.Group})
	}
	for i, item := range items {
		for n, v := range item.Vectors {
			text := ""
			if n < len(item.Texts) {
				text = item.Texts[n]
			}
			l.add(text, v, linear.Example{Label: i, Auxiliary: true})
		}
	}
	return l, nil
}

func (l *lessons) check(items int, examples []Example) error {
	for n, e := range examples {
		if e.Item < None || e.Item >= items {
			return fmt.Errorf("nearest: example %d is of item %d of %d", n, e.Item, items)
		}
		if len(e.Vector) != l.dim {
			return fmt.Errorf("nearest: example %d has a vector of %d numbers, expected %d", n, len(e.Vector), l.dim)
		}
	}
	if !slices.ContainsFunc(examples, func(e Example) bool { return e.Item == None }) {
		return errors.New("nearest: no example is of no item, so there is no telling when to find nothing")
	}
	return nil
}

// kindsOf are the kinds of texts that need no item, sorted.
func kindsOf(examples []Example) []string {
	var kinds []string
	for _, e := range examples {
		if e.Item == None {
			kinds = append(kinds, e.Kind)
		}
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

func (l *lessons) add(text string, vector []float32, e linear.Example) {
	o := features(l.dim)
	e.Vector = &linear.Vector{}
	e.Vector.AddText(&o, text)
	e.Vector.Dense = appendUnit(nil, vector)
	l.examples = append(l.examples, e)
}

// Dim is the length of the vectors.
func (f *Learned) Dim() int { return f.model.Options().Dense }

// maxKept bounds the features that are kept between calls.
const maxKept = 1 << 15

// Search appends the matches of a text and its vector to dst, at most top and
// the best first; of equals the earlier item comes first. Scores are
// probabilities, which together with that of "none" make one. Nothing is
// appended when it is not likely enough that any item is right, nor for a vector
// of zeros, which is that of a text without words. The vector must have length
// Dim; it need not have length one. It allocates only to grow dst.
func (f *Learned) Search(dst []Match, text string, vector []float32, top int) []Match {
	if top <= 0 || norm2(vector) == 0 {
		return dst
	}
	e := f.pool.Get().(*evidence)
	o := f.model.Options()
	e.features.Reset()
	e.features.AddText(&o, text)
	e.unit = appendUnit(e.unit[:0], vector)
	e.features.Dense = e.unit
	e.probabilities = f.model.Scores(e.probabilities[:0], &e.features)
	soften(e.probabilities)
	if fits(e.probabilities[:f.items]) >= f.least {
		e.matches = likely(e.matches[:0], e.probabilities[:f.items])
		dst = append(dst, e.matches[:min(top, len(e.matches))]...)
	}
	if e.features.Cap() <= maxKept {
		f.pool.Put(e)
	}
	return dst
}

// soften turns scores into probabilities.
func soften(scores []float64) {
	high, sum := slices.Max(scores), 0.0
	for i, score := range scores {
		scores[i] = math.Exp((score - high) / temperature)
		sum += scores[i]
	}
	for i := range scores {
		scores[i] /= sum
	}
}

// fits is the probability that any of the items is right.
func fits(items []float64) (sum float64) {
	for _, p := range items {
		sum += p
	}
	return sum
}

// minProbability keeps from the answer what is as good as impossible.
const minProbability = 0.01

func likely(dst []Match, items []float64) []Match {
	for i, p := range items {
		if p >= minProbability {
			dst = append(dst, Match{Item: i, Score: p})
		}
	}
	sortMatches(dst)
	return dst
}

// Held is what a finder that had learned from the other examples made of one.
type Held struct {
	Example int
	// Ranks are all items, the best first.
	Ranks []int
	// Fits is the probability that any item is right.
	Fits float64
}

// CrossValidate has every example judged by a finder that has not learned from
// it, its group and the rest of its fold.
func CrossValidate(ctx context.Context, items []Item, examples []Example, folds int, seed uint64) ([]Held, error) {
	l, err := lessonsOf(items, examples)
	if err != nil {
		return nil, err
	}
	held, err := linear.CrossValidate(ctx, features(l.dim), l.labels, l.examples, training(seed, folds))
	if err != nil {
		return nil, fmt.Errorf("nearest: cross-validate: %w", err)
	}
	out := make([]Held, len(held))
	for n, h := range held {
		p := h.Probabilities(temperature)[:len(items)]
		ranks := make([]Match, len(items))
		for i := range ranks {
			ranks[i] = Match{Item: i, Score: p[i]}
		}
		sortMatches(ranks)
		out[n] = Held{Example: h.Example, Fits: fits(p)}
		for _, m := range ranks {
			out[n].Ranks = append(out[n].Ranks, m.Item)
		}
	}
	return out, nil
}
