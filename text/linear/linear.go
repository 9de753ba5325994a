// SPDX-License-Identifier: Apache-2.0

// Package linear classifies texts by logistic regression on hashed n-grams.
//
// The one idea: what tells classes of short messages apart is mostly which
// words and pieces of words stand in them, so a table with one row of weights a
// feature is enough, and a feature's row is found by hashing. There is no
// vocabulary to keep, words never seen share pieces with words that were, and
// the cost of a text is the cost of adding rows.
//
// # Method
//
// Features are word n-grams, character n-grams within words (robust against
// typos), words under a negation, how the text is built (its length, its
// sentences and its marks), whatever names the caller adds (such as
// part-of-speech tags), and a dense vector (such as a sentence embedding); see
// [Options]. Features are hashed into the table (Weinberger et al., "Feature
// Hashing for Large Scale Multitask Learning", 2009). Multinomial logistic
// regression is fitted by AdaGrad (Duchi et al. 2011), with L2 regularisation,
// and its probabilities are calibrated by a temperature found on held-out folds
// (Guo et al., "On Calibration of Modern Neural Networks", 2017). Training gives
// the same bytes for the same examples, options and seed.
package linear

import (
	"math"
	"slices"
	"sync"

	"github.com/millrace-ml/millrace/text/internal/lane"
)

// Model tells which label a text has. It is immutable and safe for concurrent
// use.
type Model struct {
	options     Options
	labels      []string
	stride      int       // bytes a row of the table
	table       []byte    // buckets × stride
	scales      []float32 // what one step of a label's column is worth
	bias        []float32 // a number a label
	dense       []float32 // labels × Options.Dense
	temperature float64
	sums        sync.Pool // of *lane.Sums
}

func newModel(o Options, labels []string) *Model {
	m := &Model{
		options:     o,
		labels:      labels,
		stride:      lane.Width(len(labels)),
		scales:      make([]float32, len(labels)),
		bias:        make([]float32, len(labels)),
		dense:       make([]float32, len(labels)*o.Dense),
		temperature: 1,
	}
	m.sums.New = func() any { return lane.New(m.stride) }
	return m
}

// Labels are the labels in the order of the scores.
func (m *Model) Labels() []string { return slices.Clone(m.labels) }

// Label is the label with that index.
func (m *Model) Label(i int) string { return m.labels[i] }

// Options are the features that the model reads.
func (m *Model) Options() Options { return m.options }

// Temperature is what scores are divided by before they become probabilities;
// above 1 the bare model was too sure of itself.
func (m *Model) Temperature() float64 { return m.temperature }

// Scores appends the label's scores (logarithms of odds, before calibration) to
// dst.
func (m *Model) Scores(dst []float64, v *Vector) []float64 {
	from := len(dst)
	for _, b := range m.bias {
		dst = append(dst, float64(b))
	}
	scores := dst[from:]
	sums := m.sums.Get().(*lane.Sums)
	for g := range v.groups {
		weight := float64(v.weight(g, m.options))
		if weight == 0 {
			continue
		}
		totals := sums.Of(m.table, v.groups[g])
		for l := range scores {
			scores[l] += weight * float64(m.scales[l]) * float64(totals[l])
		}
	}
	m.sums.Put(sums)
	if m.options.Dense > 0 && len(v.Dense) == m.options.Dense {
		for l := range scores {
			scores[l] += m.options.DenseWeight * dot(v.Dense, m.dense[l*m.options.Dense:])
		}
	}
	return dst
}

// Probabilities appends the labels' calibrated probabilities to dst and tells
// which is the highest; of equals it is the first.
func (m *Model) Probabilities(dst []float64, v *Vector) (probabilities []float64, best int) {
	from := len(dst)
	dst = m.Scores(dst, v)
	p := dst[from:]
	softmax(p, m.temperature)
	for i := range p {
		if p[i] > p[best] {
			best = i
		}
	}
	return dst, best
}

// softmax turns scores into probabilities in place.
func softmax(scores []float64, temperature float64) {
	high := slices.Max(scores)
	sum := 0.0
	for i, s := range scores {
		scores[i] = math.Exp((s - high) / temperature)
		sum += scores[i]
	}
	for i := range scores {
		scores[i] /= sum
	}
}

func dot(a, b []float32) float64 {
	b = b[:len(a)]
	var s0, s1 float32
	i := 0
	for ; i+2 <= len(a); i += 2 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
	}
	if i < len(a) {
		s0 += a[i] * b[i]
	}
	return float64(s0 + s1)
}
