// SPDX-License-Identifier: Apache-2.0

// Package metrics measures classifiers and rankings.
//
// The one idea: everything that is usually reported of a classifier follows
// from its confusion matrix and its probabilities, so these are counted once
// and asked many questions.
package metrics

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Confusion counts how often each true label was predicted as which. Make one
// with [NewConfusion]; it is not safe for concurrent use.
type Confusion struct {
	labels []string
	counts []int // true label by predicted label, row by row
	total  int
}

// NewConfusion counts for these labels, named by their index from then on.
func NewConfusion(labels []string) *Confusion {
	return &Confusion{labels: slices.Clone(labels), counts: make([]int, len(labels)*len(labels))}
}

// Add counts one prediction. It panics when an index is out of range.
func (c *Confusion) Add(truth, predicted int) {
	if truth < 0 || truth >= len(c.labels) || predicted < 0 || predicted >= len(c.labels) {
		panic("metrics: no such label")
	}
	c.counts[truth*len(c.labels)+predicted]++
	c.total++
}

// Labels are the labels in the order of their indexes.
func (c *Confusion) Labels() []string { return slices.Clone(c.labels) }

// Count is how often truth was predicted as predicted.
func (c *Confusion) Count(truth, predicted int) int { return c.counts[truth*len(c.labels)+predicted] }

// Total is the number of predictions.
func (c *Confusion) Total() int { return c.total }

// Accuracy is the share of predictions that are right, 0 without any.
func (c *Confusion) Accuracy() float64 {
	right := 0
	for i := range c.labels {
		right += c.Count(i, i)
	}
	return ratio(right, c.total)
}

// Class is what is measured of one label.
type Class struct {
	Label     string  `json:"label"`
	Precision float64 `json:"precision"` // of those predicted, the share that is right
	Recall    float64 `json:"recall"`    // of those there are, the share that was found
	F1        float64 `json:"f1"`        // their harmonic mean
	Support   int     `json:"support"`   // how many there are
}

// Classes measures every label. What cannot be said, such as the precision of a
// label that was never predicted, is 0.
func (c *Confusion) Classes() []Class {
	classes := make([]Class, len(c.labels))
	for i, label := range c.labels {
		found, predicted, support := c.Count(i, i), 0, 0
		for j := range c.labels {
			predicted += c.Count(j, i)
			support += c.Count(i, j)
		}
		classes[i] = Class{
			Label:     label,
			Precision: ratio(found, predicted),
			Recall:    ratio(found, support),
			F1:        ratio(2*found, predicted+support),
			Support:   support,
		}
	}
	return classes
}

// MacroF1 is the mean F1 of the labels that occur, whether in truth or as a
// prediction: every one counts alike, however rare.
func (c *Confusion) MacroF1() float64 {
	sum, n := 0.0, 0
	for i, class := range c.Classes() {
		predicted := 0
		for j := range c.labels {
			predicted += c.Count(j, i)
		}
		if class.Support+predicted > 0 {
			sum += class.F1
			n++
		}
	}
	if n == 0 {
		return 0
	}
	return sum / float64(n)
}

// Matrix writes the counts as a table, truth in rows and predictions in columns.
func (c *Confusion) Matrix() string {
	width := len("truth")
	for _, label := range c.labels {
		width = max(width, len(label))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-*s", width, "truth")
	for _, label := range c.labels {
		fmt.Fprintf(&b, "  %*s", max(5, len(label)), label)
	}
	for i, truth := range c.labels {
		fmt.Fprintf(&b, "\n%-*s", width, truth)
		for j, label := range c.labels {
			fmt.Fprintf(&b, "  %*d", max(5, len(label)), c.Count(i, j))
		}
	}
	b.WriteByte('\n')
	return b.String()
}

func ratio(a, b int) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// Calibration gathers how sure a classifier was and whether it was right. The
// zero value is ready.
type Calibration struct {
	bins [calibrationBins]struct {
		confidence float64
		right, n   int
	}
	n int
}

const calibrationBins = 15

// Add notes one prediction that was made with the given probability.
func (c *Calibration) Add(confidence float64, right bool) {
	bin := min(max(int(confidence*calibrationBins), 0), calibrationBins-1)
	c.bins[bin].confidence += confidence
	c.bins[bin].n++
	if right {
		c.bins[bin].right++
	}
	c.n++
}

// Error is the expected calibration error over 15 bins of equal width (Guo et
// al., "On Calibration of Modern Neural Networks", 2017): how far, on average,
// the probability is from the share that is right. 0 is perfect.
func (c *Calibration) Error() float64 {
	if c.n == 0 {
		return 0
	}
	sum := 0.0
	for _, bin := range c.bins {
		sum += math.Abs(bin.confidence - float64(bin.right))
	}
	return sum / float64(c.n)
}

// Ranking measures searches of which each has one right answer. The zero value
// is ready.
type Ranking struct {
	places []int
}

// Add notes the place of the right answer, 0 for the best; negative means that
// it was not among the answers.
func (r *Ranking) Add(place int) { r.places = append(r.places, place) }

// Total is the number of searches.
func (r *Ranking) Total() int { return len(r.places) }

// RecallAt is the share of searches with the right answer among the first k.
func (r *Ranking) RecallAt(k int) float64 {
	found := 0
	for _, place := range r.places {
		if place >= 0 && place < k {
			found++
		}
	}
	return ratio(found, len(r.places))
}

// MeanReciprocal is the mean of 1/(place+1), where not found counts 0.
func (r *Ranking) MeanReciprocal() float64 {
	if len(r.places) == 0 {
		return 0
	}
	sum := 0.0
	for _, place := range r.places {
		if place >= 0 {
			sum += 1 / float64(place+1)
		}
	}
	return sum / float64(len(r.places))
}
