// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/millrace-ml/millrace/text/tagger"
)

const tags = tagger.Tags

func tagOf(name string) (int, bool) {
	t, ok := tagger.ParseTag(name)
	return int(t), ok
}

// standardised scales every dimension to mean 0 and a like deviation, and adds
// a constant one.
func standardised(vectors [][]float32) [][]float64 {
	var mean, deviation [dimensions]float64
	for _, v := range vectors {
		for d, x := range v {
			mean[d] += float64(x) / float64(len(vectors))
		}
	}
	for _, v := range vectors {
		for d, x := range v {
			deviation[d] += (float64(x) - mean[d]) * (float64(x) - mean[d]) / float64(len(vectors))
		}
	}
	out := make([][]float64, len(vectors))
	for i, v := range vectors {
		out[i] = make([]float64, dimensions+1)
		for d, x := range v {
			out[i][d] = (float64(x) - mean[d]) / math.Sqrt(deviation[d]*dimensions) * 2
		}
		out[i][dimensions] = 1
	}
	return out
}

// folds of the guesses.
const folds = 10

// guess guesses the distribution of every word's tags from its vector. A word
// of the treebank is guessed by a model that has not seen it, so that what the
// tagger learns of guesses holds for words it has not seen either. right is the
// share of those whose commonest tag is guessed.
func guess(vectors [][]float64, counts map[int]*[tags]float64, random *rand.Rand) (guesses [][tags]float64, right float64) {
	fold := make([]int, len(vectors))
	for i := range fold {
		fold[i] = random.IntN(folds)
	}
	guesses = make([][tags]float64, len(vectors))
	for k := range folds {
		var seen []int
		for i := range vectors {
			if counts[i] != nil && fold[i] != k {
				seen = append(seen, i)
			}
		}
		m := learn(vectors, counts, seen, random)
		for i := range vectors {
			switch p := m.predict(vectors[i]); {
			case counts[i] == nil:
				for tag := range p {
					guesses[i][tag] += p[tag] / folds
				}
			case fold[i] == k:
				guesses[i] = p
				if most(p[:]) == most(counts[i][:]) {
					right += 1 / float64(len(counts))
				}
			}
		}
	}
	return guesses, right
}

func most(p []float64) int {
	best := 0
	for i := range p {
		if p[i] > p[best] {
			best = i
		}
	}
	return best
}

// classOf makes a class of a guess: the first tag, how sure it is, and the
// second and third if they are likely enough.
func classOf(p *[tags]float64) uint16 {
	order := make([]int, tags)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case p[a] > p[b]:
			return -1
		case p[a] < p[b]:
			return 1
		}
		return 0
	})
	first, second := order[0], 0
	if p[order[1]] > 0.1 {
		second = order[1] + 1
	}
	sure := 3
	for i, limit := range []float64{0.95, 0.8, 0.6} {
		if p[first] > limit {
			sure = i
			break
		}
	}
	return uint16(1 + first + 18*second + 18*18*sure)
}

// regression is multinomial logistic regression.
type regression [tags][dimensions + 1]float64

func (m *regression) predict(x []float64) (p [tags]float64) {
	for tag := range p {
		for d, v := range x {
			p[tag] += m[tag][d] * v
		}
	}
	highest, sum := p[most(p[:])], 0.0
	for tag := range p {
		p[tag] = math.Exp(p[tag] - highest)
		sum += p[tag]
	}
	for tag := range p {
		p[tag] /= sum
	}
	return p
}

// learn fits a regression by stochastic gradient descent. Words that are
// frequent weigh a little more.
func learn(vectors [][]float64, counts map[int]*[tags]float64, seen []int, random *rand.Rand) *regression {
	const epochs, rate, decay = 12, 0.3, 2e-5
	m := new(regression)
	for epoch := range epochs {
		random.Shuffle(len(seen), func(i, j int) { seen[i], seen[j] = seen[j], seen[i] })
		step := rate * (1 - float64(epoch)/epochs)
		for _, i := range seen {
			x := vectors[i]
			p := m.predict(x)
			n := 0.0
			for _, c := range counts[i] {
				n += c
			}
			weight := min(1+math.Log(n), 4) / 2
			for tag := range p {
				g := step * weight * (counts[i][tag]/n - p[tag])
				for d, v := range x {
					m[tag][d] += g*v - step*decay*m[tag][d]
				}
			}
		}
	}
	return m
}
