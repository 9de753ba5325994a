// SPDX-License-Identifier: Apache-2.0

package nearest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/millrace-ml/millrace/text/linear"
)

// None is the item of an example that no item is right for.
const None = -1

// Example is a vector for which the right item is known.
type Example struct {
	Vector []float32
	Item   int // its index, or None
	// Group keeps near-duplicates in one fold of [Index.CrossValidate]; empty is a
	// group of its own.
	Group string
}

// Learn makes an index that ranks by what the examples teach, in the time of
// two passes over them. Both indexes may be used afterwards.
func (x *Index) Learn(ctx context.Context, examples []Example) (*Index, error) {
	if err := x.check(examples); err != nil {
		return nil, err
	}
	learned, err := x.discriminate(ctx, examples)
	if err != nil {
		return nil, fmt.Errorf("nearest: learn from %d examples: %w", len(examples), err)
	}
	y := &Index{options: x.options, dim: x.dim, items: x.items, vectors: x.vectors, ends: x.ends, learned: learned}
	y.pool.New = x.pool.New
	return y, nil
}

func (x *Index) check(examples []Example) error {
	for n, e := range examples {
		if e.Item < None || e.Item >= len(x.items) {
			return fmt.Errorf("nearest: example %d is of item %d of %d", n, e.Item, len(x.items))
		}
		if len(e.Vector) != x.dim {
			return fmt.Errorf("nearest: example %d has a vector of %d numbers, expected %d", n, len(e.Vector), x.dim)
		}
	}
	if !slices.ContainsFunc(examples, func(e Example) bool { return e.Item == None }) {
		return errors.New("nearest: no example is of no item, so there is no telling when to find nothing")
	}
	return nil
}

// Held is what an index that had learned from the other examples made of one.
type Held struct {
	Example int
	// Ranks are all items, the best first.
	Ranks []int
	// Fits is the probability that any item is right.
	Fits float64
}

// CrossValidate has every example judged by an index that has not learned from
// it, its group and the rest of its fold.
func (x *Index) CrossValidate(ctx context.Context, examples []Example, folds int) ([]Held, error) {
	if err := x.check(examples); err != nil {
		return nil, err
	}
	fold := linear.Deal(len(examples), func(i int) string { return examples[i].Group }, folds, 0)
	var out []Held
	for f := range folds {
		var rest []Example
		for i, e := range examples {
			if fold[i] != f {
				rest = append(rest, e)
			}
		}
		y, err := x.Learn(ctx, rest)
		if err != nil {
			return nil, err
		}
		for i, e := range examples {
			if fold[i] == f {
				out = append(out, y.judge(i, e.Vector))
			}
		}
	}
	return out, nil
}

func (x *Index) judge(example int, vector []float32) Held {
	s := new(search)
	s.probabilities = x.learned.probabilities(s.probabilities, vector)
	x.rank(s, 0)
	sortMatches(s.matches)
	h := Held{Example: example, Fits: 1 - s.probabilities[len(x.items)]}
	for _, m := range s.matches {
		h.Ranks = append(h.Ranks, m.Item)
	}
	return h
}

// weigh finds the items by what was learned, if any is likely to be right.
func (x *Index) weigh(s *search, vector []float32) {
	s.probabilities = x.learned.probabilities(s.probabilities[:0], vector)
	if fits := 1 - s.probabilities[len(x.items)]; fits >= x.options.Certainty {
		x.rank(s, minProbability)
	}
}

// minProbability keeps from the answer what is as good as impossible.
const minProbability = 0.01

func (x *Index) rank(s *search, least float64) {
	for i, p := range s.probabilities[:len(x.items)] {
		if p >= least {
			s.matches = append(s.matches, Match{Item: i, Score: p})
		}
	}
}

// sortMatches puts the best first; of equals the earlier item.
func sortMatches(matches []Match) {
	slices.SortStableFunc(matches, func(a, b Match) int { return cmp.Compare(b.Score, a.Score) })
}

// discriminant tells the classes, which are the items and then none of them.
type discriminant struct {
	dim     int
	weights []float32 // classes × dim
	biases  []float64
}

const (
	// shrinkage is how much of the covariance is that of a ball.
	shrinkage = 0.5
	// cooling keeps the probabilities from being surer than held-out examples
	// show them to be: the classes are no Gaussians.
	cooling = 0.5
	// priors is the share of a class's frequency that counts.
	priors = 0.5
)

// discriminate is linear discriminant analysis (Fisher 1936) with the pooled
// covariance shrunk towards a ball (Friedman, "Regularized Discriminant
// Analysis", 1989): each class is where its mean is, and dimensions in which
// examples of one class differ anyway count less. The items' views are examples
// too.
func (x *Index) discriminate(ctx context.Context, examples []Example) (*discriminant, error) {
	classes := len(x.items) + 1
	vectors, class := x.lessons(examples)
	means, counts := meansOf(vectors, class, classes, x.dim)
	covariance, err := covarianceOf(ctx, vectors, class, means, x.dim)
	if err != nil {
		return nil, err
	}
	factor, err := cholesky(covariance, x.dim)
	if err != nil {
		return nil, err
	}
	d := &discriminant{dim: x.dim}
	for c := range classes {
		mean := means[c*x.dim:][:x.dim]
		direction := solve(factor, mean)
		half := 0.0
		for i, w := range direction {
			d.weights = append(d.weights, float32(w))
			half += w * mean[i] / 2
		}
		d.biases = append(d.biases, priors*math.Log(counts[c]/float64(len(vectors)))-cooling*half)
	}
	return d, nil
}

// lessons are the unit vectors of examples and views, and their classes.
func (x *Index) lessons(examples []Example) (vectors [][]float32, class []int) {
	for _, e := range examples {
		vectors = append(vectors, appendUnit(nil, e.Vector))
		if e.Item == None {
			class = append(class, len(x.items))
		} else {
			class = append(class, e.Item)
		}
	}
	view := 0
	for i, end := range x.ends {
		for ; view < end; view++ {
			vectors = append(vectors, x.vectors[view*x.dim:][:x.dim])
			class = append(class, i)
		}
	}
	return vectors, class
}

func meansOf(vectors [][]float32, class []int, classes, dim int) (means, counts []float64) {
	means, counts = make([]float64, classes*dim), make([]float64, classes)
	for n, v := range vectors {
		counts[class[n]]++
		for i, x := range v {
			means[class[n]*dim+i] += float64(x)
		}
	}
	for c, n := range counts {
		for i := range dim {
			means[c*dim+i] /= n
		}
	}
	return means, counts
}

// covarianceOf is the lower triangle of the pooled covariance, shrunk.
func covarianceOf(ctx context.Context, vectors [][]float32, class []int, means []float64, dim int) ([]float64, error) {
	covariance := make([]float64, dim*dim)
	rest := make([]float64, dim)
	for n, v := range vectors {
		if n%256 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		for i, x := range v {
			rest[i] = float64(x) - means[class[n]*dim+i]
		}
		for i, x := range rest {
			row := covariance[i*dim:][:i+1]
			for j := range row {
				row[j] += x * rest[j]
			}
		}
	}
	trace := 0.0
	for i := range dim {
		trace += covariance[i*dim+i]
	}
	n := float64(len(vectors))
	for i := range dim {
		for j := range i + 1 {
			covariance[i*dim+j] *= (1 - shrinkage) / n
		}
		// The small addend is for examples that are all alike.
		covariance[i*dim+i] += shrinkage*trace/n/float64(dim) + 1e-6
	}
	return covariance, nil
}

// cholesky factorises the symmetric matrix whose lower triangle is given.
func cholesky(a []float64, dim int) ([]float64, error) {
	l := make([]float64, dim*dim)
	for i := range dim {
		for j := range i + 1 {
			sum := a[i*dim+j]
			for k := range j {
				sum -= l[i*dim+k] * l[j*dim+k]
			}
			if i != j {
				l[i*dim+j] = sum / l[j*dim+j]
				continue
			}
			if !(sum > 0) {
				return nil, errors.New("the vectors are not numbers to learn from")
			}
			l[i*dim+i] = math.Sqrt(sum)
		}
	}
	return l, nil
}

// solve solves l·lᵀ·x = b.
func solve(l, b []float64) []float64 {
	dim := len(b)
	x := slices.Clone(b)
	for i := range dim {
		for k := range i {
			x[i] -= l[i*dim+k] * x[k]
		}
		x[i] /= l[i*dim+i]
	}
	for i := dim - 1; i >= 0; i-- {
		for k := i + 1; k < dim; k++ {
			x[i] -= l[k*dim+i] * x[k]
		}
		x[i] /= l[i*dim+i]
	}
	return x
}

// probabilities appends the classes' probabilities to dst. The vector need not
// have length one.
func (d *discriminant) probabilities(dst []float64, vector []float32) []float64 {
	from := len(dst)
	scale := cooling / math.Sqrt(norm2(vector))
	high := math.Inf(-1)
	for c, bias := range d.biases {
		score := bias + scale*float64(dot(vector, d.weights[c*d.dim:]))
		high = max(high, score)
		dst = append(dst, score)
	}
	p := dst[from:]
	sum := 0.0
	for i := range p {
		p[i] = math.Exp(p[i] - high)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return dst
}
