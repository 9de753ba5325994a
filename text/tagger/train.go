// SPDX-License-Identifier: Apache-2.0

package tagger

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/text/conllu"
	"github.com/millrace-ml/millrace/text/internal/lexicon"
	"github.com/millrace-ml/millrace/text/token"
)

// Options of training. The zero value is what the weights in the package were
// made with.
type Options struct {
	// Seed orders the sentences and makes the slips of the keyboard. The same
	// seed and sentences make the same tagger.
	Seed uint64
	// Epochs is how often the second pass sees every sentence; 0 means 6.
	Epochs int
	// Features bounds the features that the second pass keeps; 0 means 160,000.
	// The first pass keeps three for five of them.
	Features int
}

// The first pass is learned many times, and only has to be nearly as good.
const (
	firstEpochs = 4
	folds       = 4
)

// Train learns a tagger from sentences in the order of their treebank. It takes
// about a minute and 1 GB for 12,500 sentences, on one core. A sentence with a
// tag that is not a Universal POS tag is an error.
func Train(ctx context.Context, sentences []conllu.Sentence, o Options) (*Tagger, error) {
	if len(sentences) == 0 {
		return nil, errors.New("train tagger: no sentences")
	}
	if o.Epochs == 0 {
		o.Epochs = 6
	}
	if o.Features == 0 {
		o.Features = 160_000
	}
	words, err := englishWords()
	if err != nil {
		return nil, fmt.Errorf("train tagger: %w", err)
	}
	random := rand.New(rand.NewPCG(o.Seed, 1))
	examples, err := augment(sentences, random)
	if err != nil {
		return nil, fmt.Errorf("train tagger: %w", err)
	}
	s := school{ctx: ctx, options: o, random: random, words: words}
	t := &Tagger{words: words}
	if err := s.foresee(examples); err != nil {
		return nil, err
	}
	if t.first, err = s.pass(examples, (*trainer).learnFirst, firstEpochs, o.Features*3/5); err != nil {
		return nil, err
	}
	if t.second, err = s.pass(examples, (*trainer).learnSecond, o.Epochs, o.Features); err != nil {
		return nil, err
	}
	return t, nil
}

// example is a text whose words have tags.
type example struct {
	text   string
	tokens []token.Token
	tags   []Tag
	first  []Tag // the first pass's tags, and window times none
	fold   int
}

// exampleOf makes an example of words, joined by spaces.
func exampleOf(words []conllu.Word) (*example, error) {
	e := new(example)
	var b strings.Builder
	for i, w := range words {
		tag, ok := ParseTag(w.UPOS)
		if !ok {
			return nil, fmt.Errorf("word %d, %q, has the tag %q, which is not a Universal POS tag", i+1, w.Form, w.UPOS)
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		start := b.Len()
		b.WriteString(w.Form)
		e.tokens = append(e.tokens, token.Token{Start: start, End: b.Len()})
		e.tags = append(e.tags, tag)
	}
	e.text = b.String()
	return e, nil
}

// school is what all passes are learned with.
type school struct {
	ctx     context.Context
	options Options
	random  *rand.Rand
	words   *lexicon.Lexicon
}

// foresee gives every example the first pass's tags of a model that has not
// seen it, so that the second pass learns how far they can be trusted.
func (s *school) foresee(examples []*example) error {
	for k := range folds {
		var seen, unseen []*example
		for _, e := range examples {
			if e.fold == k {
				unseen = append(unseen, e)
			} else {
				seen = append(seen, e)
			}
		}
		if len(seen) == 0 {
			seen = examples
		}
		t, err := s.pass(seen, (*trainer).learnFirst, firstEpochs, s.options.Features*3/5)
		if err != nil {
			return err
		}
		var work scratch
		for _, e := range unseen {
			work.look(e.text, e.tokens, s.words)
			work.tagFirst(&t)
			e.first = slices.Clone(work.first)
		}
	}
	return nil
}

// pass learns one pass.
func (s *school) pass(examples []*example, learn func(*trainer, *example), epochs, features int) (table, error) {
	t := &trainer{rows: make(map[uint32]int32), words: s.words}
	order := slices.Clone(examples)
	for range epochs {
		s.random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for i, e := range order {
			if i%256 == 0 && s.ctx.Err() != nil {
				return table{}, s.ctx.Err()
			}
			t.work.look(e.text, e.tokens, s.words)
			learn(t, e)
		}
	}
	return t.table(features), nil
}

// trainer holds a pass's weights while they are learned.
type trainer struct {
	rows  map[uint32]int32 // a feature's index in the slices
	names []uint32
	// For each feature: the weights, the sums of all changes times their step,
	// and the sum of squared gradients.
	weights [][Tags]float32
	sums    [][Tags]float32
	squares []float32
	step    float32
	words   *lexicon.Lexicon
	work    scratch
	index   [maxFeatures]int32
}

// learnFirst learns from a text from right to left. The tags that the features
// see are those which the model itself gives at this time.
func (t *trainer) learnFirst(e *example) {
	t1, t2 := uint32(none), uint32(none)
	for i, gold := range slices.Backward(e.tags) {
		var buf [maxFeatures]uint32
		tag := t.learn(t.work.firstFeatures(buf[:0], i, t1, t2), gold)
		t1, t2 = uint32(tag), t1
	}
}

// learnSecond learns from a text from left to right.
func (t *trainer) learnSecond(e *example) {
	t.work.first = append(t.work.first[:0], e.first...)
	t1, t2 := uint32(none), uint32(none)
	for i, gold := range e.tags {
		var buf [maxFeatures]uint32
		tag := t.learn(t.work.secondFeatures(buf[:0], i, t1, t2), gold)
		t1, t2 = uint32(tag), t1
	}
}

// Of learning: the rate, and the gradient below which nothing is changed.
const (
	rate     = 0.15
	smallest = 0.01
)

// learn takes one step and returns the tag that was the best before it.
func (t *trainer) learn(features []uint32, gold Tag) Tag {
	index := t.index[:len(features)]
	var sum [Tags]float32
	for k, f := range features {
		r := t.row(f)
		index[k] = r
		for tag, w := range &t.weights[r] {
			sum[tag] += w
		}
	}
	best := 0
	for tag := range sum {
		if sum[tag] > sum[best] {
			best = tag
		}
	}
	gradient, square := slope(&sum, sum[best], gold)
	t.step++
	if square == 0 {
		return Tag(best)
	}
	for _, r := range index {
		t.squares[r] += square
		eta := rate / float32(math.Sqrt(float64(t.squares[r])+0.1))
		weights, sums := &t.weights[r], &t.sums[r]
		for tag, g := range gradient {
			weights[tag] -= eta * g
			sums[tag] -= eta * g * t.step
		}
	}
	return Tag(best)
}

// slope is the gradient of the logistic loss and the sum of its squares, small
// parts of it set to 0.
func slope(sum *[Tags]float32, highest float32, gold Tag) (gradient [Tags]float32, square float32) {
	var total float32
	for tag, s := range sum {
		gradient[tag] = float32(math.Exp(float64(s - highest)))
		total += gradient[tag]
	}
	for tag := range gradient {
		gradient[tag] /= total
		if Tag(tag) == gold {
			gradient[tag]--
		}
		if gradient[tag] < smallest && gradient[tag] > -smallest {
			gradient[tag] = 0
		}
		square += gradient[tag] * gradient[tag]
	}
	return gradient, square
}

func (t *trainer) row(feature uint32) int32 {
	if r, ok := t.rows[feature]; ok {
		return r
	}
	r := int32(len(t.names))
	t.rows[feature] = r
	t.names = append(t.names, feature)
	t.weights = append(t.weights, [Tags]float32{})
	t.sums = append(t.sums, [Tags]float32{})
	t.squares = append(t.squares, 0)
	return r
}

// table averages the weights, keeps the features that say most and rounds them
// to eight bits.
func (t *trainer) table(features int) table {
	says := make([]float32, len(t.names))
	order := make([]int, len(t.names))
	var largest float32
	for r := range t.weights {
		w := &t.weights[r]
		for tag := range w {
			w[tag] -= t.sums[r][tag] / (t.step + 1)
		}
		low, high := slices.Min(w[:]), slices.Max(w[:])
		says[r], order[r] = high-low, r
		largest = max(largest, high, -low)
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case says[a] > says[b]:
			return -1
		case says[a] < says[b]:
			return 1
		}
		return 0
	})
	order = order[:min(len(order), features)]
	out := newTable(len(order))
	for _, r := range order {
		var rounded [Tags]int8
		zero := true
		for tag, w := range t.weights[r] {
			// A few weights are far larger than all others: they are cut, so that
			// the others keep their differences.
			rounded[tag] = int8(min(max(math.Round(float64(w/largest*2*127)), -127), 127))
			zero = zero && rounded[tag] == 0
		}
		if !zero {
			out.insert(t.names[r], &rounded)
		}
	}
	return out
}
