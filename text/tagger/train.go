// SPDX-License-Identifier: Apache-2.0

package tagger

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/text/conllu"
	"github.com/millrace-ml/millrace/text/token"
)

// Options of training. The zero value is what the built-in weights were made
// with.
type Options struct {
	Seed   uint64
	Epochs int // passes over the data; 0 means 8
	// Features bounds the size of the model; 0 means 160,000.
	Features int
}

// example is a text whose words have tags.
type example struct {
	text   string
	tokens []token.Token
	tags   []Tag
}

// exampleOf makes an example of a sentence's words, joined by spaces unless
// they are placed in its text.
func exampleOf(words []conllu.Word) (example, error) {
	var e example
	var b strings.Builder
	for i, w := range words {
		tag, ok := ParseTag(w.UPOS)
		if !ok {
			return e, fmt.Errorf("word %d, %q, has the tag %q, which is not a Universal POS tag", i+1, w.Form, w.UPOS)
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

// trainer holds the weights while they are learned. Each feature has a row of
// 17 weights and of 17 sums for their average.
type trainer struct {
	rows    map[uint32]int32
	hashes  []uint32
	weights [][Tags]float32
	sums    [][Tags]float32
	step    float32
	words   scratch
}

// Train learns a tagger from sentences.
func Train(ctx context.Context, sentences []conllu.Sentence, o Options) (*Tagger, error) {
	if o.Epochs == 0 {
		o.Epochs = 8
	}
	if o.Features == 0 {
		o.Features = 160_000
	}
	random := rand.New(rand.NewPCG(o.Seed, 1))
	examples, err := augment(sentences, random)
	if err != nil {
		return nil, err
	}
	t := &trainer{rows: make(map[uint32]int32), step: 1}
	for range o.Epochs {
		random.Shuffle(len(examples), func(i, j int) { examples[i], examples[j] = examples[j], examples[i] })
		for i := range examples {
			if i%256 == 0 && ctx.Err() != nil {
				return nil, ctx.Err()
			}
			t.learn(&examples[i])
		}
	}
	return t.tagger(o.Features), nil
}

func (t *trainer) learn(e *example) {
	t.words.look(e.text, e.tokens)
	t1, t2 := uint32(Tags), uint32(Tags)
	var features [maxFeatures]uint32
	var index [maxFeatures]int32
	for i, gold := range e.tags {
		f := static(features[:0], t.words.words, i+window)
		f = dynamic(f, t.words.words, i+window, t1, t2)
		var sum [Tags]float32
		for k, h := range f {
			r := t.row(h)
			index[k] = r
			w := &t.weights[r]
			for tag := range sum {
				sum[tag] += w[tag]
			}
		}
		best := 0
		for tag := range sum {
			if sum[tag] > sum[best] {
				best = tag
			}
		}
		if Tag(best) != gold {
			for _, r := range index[:len(f)] {
				t.weights[r][gold]++
				t.sums[r][gold] += t.step
				t.weights[r][best]--
				t.sums[r][best] -= t.step
			}
		}
		t.step++
		t1, t2 = uint32(best), t1
	}
}

func (t *trainer) row(h uint32) int32 {
	if r, ok := t.rows[h]; ok {
		return r
	}
	r := int32(len(t.weights))
	t.rows[h] = r
	t.hashes = append(t.hashes, h)
	t.weights = append(t.weights, [Tags]float32{})
	t.sums = append(t.sums, [Tags]float32{})
	return r
}

// tagger averages the weights, keeps the features that say most and quantises
// them to eight bits.
func (t *trainer) tagger(features int) *Tagger {
	type ranked struct {
		row int32
		say float32
	}
	var rank []ranked
	var largest float32
	for r := range t.weights {
		w := &t.weights[r]
		var low, high float32
		for tag := range w {
			w[tag] -= t.sums[r][tag] / t.step
			low, high = min(low, w[tag]), max(high, w[tag])
		}
		rank = append(rank, ranked{int32(r), high - low})
		largest = max(largest, high, -low)
	}
	slices.SortStableFunc(rank, func(a, b ranked) int {
		if a.say != b.say {
			if a.say > b.say {
				return -1
			}
			return 1
		}
		return int(a.row) - int(b.row)
	})
	rank = rank[:min(len(rank), features)]
	out := &Tagger{table: newTable(len(rank))}
	for _, k := range rank {
		var q [Tags]int8
		zero := true
		for tag, w := range t.weights[k.row] {
			q[tag] = int8(math.Round(float64(w / largest * 127)))
			zero = zero && q[tag] == 0
		}
		if !zero {
			out.table.insert(t.hashes[k.row], &q)
		}
	}
	return out
}
