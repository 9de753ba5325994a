// SPDX-License-Identifier: Apache-2.0

package linear

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/millrace-ml/millrace/text/internal/lane"
)

// Example is a text's features and its label's index.
type Example struct {
	Vector *Vector
	Label  int
	// Weight is how much the example counts; zero is 1.
	Weight float64
	// Group keeps examples together when folds are made: near-duplicates must not
	// be learned from and tested on. Empty is a group of its own.
	Group string
	// Auxiliary examples are learned from and never tested on, as those of
	// another domain.
	Auxiliary bool
}

// Training says how to fit. The zero value of a field is its default.
type Training struct {
	Epochs int     // passes over the examples; default 20
	Rate   float64 // AdaGrad's step; default 0.1
	L2     float64 // how much large weights cost; default 1e-5
	Seed   uint64  // of the order of the examples
	// Folds for the calibration: so many models are trained, each without a part
	// of the examples, to see how sure they are of texts they do not know.
	// Default 5; negative is no calibration.
	Folds int
	// Balance between 0 and 1 raises the weight of rare labels: at 1, all labels
	// count alike. Default 0.
	Balance float64
}

func (t Training) withDefaults() Training {
	if t.Epochs == 0 {
		t.Epochs = 20
	}
	if t.Rate == 0 {
		t.Rate = 0.1
	}
	if t.L2 == 0 {
		t.L2 = 1e-5
	}
	if t.Folds == 0 {
		t.Folds = 5
	}
	return t
}

// Train fits a model. It is deterministic; it stops early with ctx's error.
func Train(ctx context.Context, o Options, labels []string, examples []Example, t Training) (*Model, error) {
	t = t.withDefaults()
	if err := checkTraining(o, labels, examples); err != nil {
		return nil, err
	}
	m, err := fit(ctx, o, labels, examples, t)
	if err != nil || t.Folds < 0 {
		return m, err
	}
	held, err := CrossValidate(ctx, o, labels, examples, t)
	if err != nil {
		return nil, err
	}
	m.temperature = bestTemperature(held)
	return m, nil
}

func checkTraining(o Options, labels []string, examples []Example) error {
	if err := o.check(); err != nil {
		return err
	}
	if len(labels) < 2 {
		return errors.New("linear: training needs at least two labels")
	}
	for i, e := range examples {
		if e.Label < 0 || e.Label >= len(labels) {
			return fmt.Errorf("linear: example %d has label %d of %d", i, e.Label, len(labels))
		}
		if len(e.Vector.Dense) != o.Dense {
			return fmt.Errorf("linear: example %d has a dense vector of %d numbers, expected %d", i, len(e.Vector.Dense), o.Dense)
		}
	}
	if len(examples) == 0 {
		return errors.New("linear: there are no examples to train on")
	}
	return nil
}

// trainer holds the weights while they are real numbers. It is of one goroutine, and
// its innermost loops are not watched by the race detector, which would make them
// thirty times as slow, and with them every test that starts the example.
type trainer struct {
	o       Options
	t       Training
	labels  int
	table   []adaptive // buckets × labels
	bias    []adaptive
	dense   []adaptive // labels × Options.Dense
	balance []float64

	// Of the example at hand, the labels that its gradients change.
	active    []int
	gradients []float32
}

// adaptive is a weight with AdaGrad's sum of its squared gradients.
type adaptive struct{ w, g2 float32 }

func (a *adaptive) step(gradient, rate, l2 float32) {
	gradient += l2 * a.w
	a.g2 += gradient * gradient
	a.w -= rate * gradient / (float32(math.Sqrt(float64(a.g2))) + 1e-6)
}

func fit(ctx context.Context, o Options, labels []string, examples []Example, t Training) (*Model, error) {
	tr := &trainer{
		o: o, t: t, labels: len(labels),
		table: make([]adaptive, o.Buckets*len(labels)),
		bias:  make([]adaptive, len(labels)),
		dense: make([]adaptive, len(labels)*o.Dense),
	}
	tr.balance = balance(examples, len(labels), t.Balance)
	order := make([]int, len(examples))
	for i := range order {
		order[i] = i
	}
	random := rand.New(rand.NewPCG(t.Seed, uint64(len(examples))))
	scores := make([]float64, len(labels))
	for epoch := range t.Epochs {
		random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		rate := float32(t.Rate * (1 - float64(epoch)/float64(t.Epochs)))
		for n, i := range order {
			if n%1024 == 0 && ctx.Err() != nil {
				return nil, ctx.Err()
			}
			tr.learn(&examples[i], scores, rate)
		}
	}
	return tr.quantise(labels), nil
}

// balance is what an example counts by its label: (mean count / count)^power.
func balance(examples []Example, labels int, power float64) []float64 {
	counts := make([]float64, labels)
	for _, e := range examples {
		counts[e.Label]++
	}
	for i, n := range counts {
		if counts[i] = 1; n > 0 && power > 0 {
			counts[i] = math.Pow(float64(len(examples))/float64(labels)/n, power)
		}
	}
	return counts
}

// learn makes one step down the gradient of the example's loss.
func (tr *trainer) learn(e *Example, scores []float64, rate float32) {
	tr.score(e.Vector, scores)
	softmax(scores, 1)
	weight := tr.balance[e.Label]
	if e.Weight != 0 {
		weight *= e.Weight
	}
	scores[e.Label]--
	tr.active, tr.gradients = tr.active[:0], tr.gradients[:0]
	for l, gradient := range scores {
		if math.Abs(gradient) >= 1e-4 { // else there is nothing to learn, and most labels are so
			tr.active, tr.gradients = append(tr.active, l), append(tr.gradients, float32(gradient*weight))
		}
	}
	tr.descend(e.Vector, rate)
}

// descend steps the weights of the active labels. A feature's weights for all
// labels are neighbours in memory, so they are stepped one after the other.
//
//go:norace
func (tr *trainer) descend(v *Vector, rate float32) {
	l2 := float32(tr.t.L2)
	for n, l := range tr.active {
		tr.bias[l].step(tr.gradients[n], rate, 0)
	}
	for kind := range v.groups {
		value := v.weight(kind, tr.o)
		for _, row := range v.groups[kind] {
			weights := tr.table[int(row)*tr.labels:][:tr.labels]
			for n, l := range tr.active {
				weights[l].step(tr.gradients[n]*value, rate, l2)
			}
		}
	}
	for n, l := range tr.active {
		dense := tr.dense[l*tr.o.Dense:]
		for d, x := range v.Dense {
			dense[d].step(tr.gradients[n]*x*float32(tr.o.DenseWeight), rate, l2)
		}
	}
}

//go:norace
func (tr *trainer) score(v *Vector, scores []float64) {
	for l := range scores {
		scores[l] = float64(tr.bias[l].w)
	}
	for kind := range v.groups {
		value := float64(v.weight(kind, tr.o))
		for _, row := range v.groups[kind] {
			weights := tr.table[int(row)*tr.labels:][:tr.labels]
			for l := range scores {
				scores[l] += value * float64(weights[l].w)
			}
		}
	}
	for l := range scores {
		dense := tr.dense[l*tr.o.Dense:]
		sum := 0.0
		for d, x := range v.Dense {
			sum += float64(x * dense[d].w)
		}
		scores[l] += tr.o.DenseWeight * sum
	}
}

// quantise makes the model: each label's column of the table gets a scale of
// its own and eight bits a weight.
func (tr *trainer) quantise(labels []string) *Model {
	m := newModel(tr.o, slices.Clone(labels))
	m.table = make([]byte, tr.o.Buckets*m.stride)
	for i := range m.table {
		m.table[i] = lane.Zero
	}
	for l := range labels {
		m.bias[l] = tr.bias[l].w
		high := float32(0)
		for row := range tr.o.Buckets {
			high = max(high, abs(tr.table[row*tr.labels+l].w))
		}
		if high == 0 {
			continue
		}
		scale := high / 127
		m.scales[l] = scale
		for row := range tr.o.Buckets {
			n := math.RoundToEven(float64(tr.table[row*tr.labels+l].w / scale))
			m.table[row*m.stride+l] = byte(int(n) + lane.Zero)
		}
	}
	for i := range tr.dense {
		m.dense[i] = tr.dense[i].w
	}
	return m
}

func abs(x float32) float32 { return max(x, -x) }

// Held is a prediction on an example that the model had not seen.
type Held struct {
	Example int
	Label   int       // the true one
	Scores  []float64 // one a label, before calibration
}

// CrossValidate predicts every example that is not auxiliary with a model that
// was trained without it, its group and the rest of its fold.
func CrossValidate(ctx context.Context, o Options, labels []string, examples []Example, t Training) ([]Held, error) {
	t = t.withDefaults()
	if err := checkTraining(o, labels, examples); err != nil {
		return nil, err
	}
	fold := folds(examples, max(2, t.Folds), t.Seed)
	parts := make([][]Held, max(2, t.Folds))
	errs := make([]error, len(parts))
	var wait sync.WaitGroup
	running := make(chan struct{}, 2)
	for f := range parts {
		wait.Go(func() {
			running <- struct{}{}
			defer func() { <-running }()
			parts[f], errs[f] = holdOut(ctx, o, labels, examples, t, func(i int) bool { return fold[i] == f })
		})
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return slices.Concat(parts...), nil
}

func holdOut(ctx context.Context, o Options, labels []string, examples []Example, t Training, out func(i int) bool) ([]Held, error) {
	var learn []Example
	var held []int
	for i := range examples {
		if out(i) {
			held = append(held, i)
		} else {
			learn = append(learn, examples[i])
		}
	}
	if len(learn) == 0 {
		return nil, errors.New("linear: too few examples for folds")
	}
	m, err := fit(ctx, o, labels, learn, t)
	if err != nil {
		return nil, err
	}
	part := make([]Held, len(held))
	for n, i := range held {
		part[n] = Held{Example: i, Label: examples[i].Label, Scores: m.Scores(nil, examples[i].Vector)}
	}
	return part, nil
}

// folds deals the examples out. Auxiliary ones are in no fold (-1).
func folds(examples []Example, k int, seed uint64) []int {
	fold := Deal(len(examples), func(i int) string { return examples[i].Group }, k, seed)
	for i := range examples {
		if examples[i].Auxiliary {
			fold[i] = -1
		}
	}
	return fold
}

// Deal gives each of n examples one of k folds, at random but the same for the
// same seed. Examples of one group share a fold; an empty group is one of its
// own.
func Deal(n int, group func(i int) string, k int, seed uint64) []int {
	random := rand.New(rand.NewPCG(seed, 0x666f6c64))
	dealt := map[string]int{}
	fold := make([]int, n)
	next := 0
	for _, i := range random.Perm(n) {
		g := group(i)
		f, known := dealt[g]
		if g == "" || !known {
			f = next % k
			next++
			dealt[g] = f
		}
		fold[i] = f
	}
	return fold
}

// bestTemperature minimises the held-out texts' loss by golden section search,
// as it has one minimum.
func bestTemperature(held []Held) float64 {
	loss := func(logT float64) float64 {
		t, sum := math.Exp(logT), 0.0
		p := make([]float64, 0, 64)
		for _, h := range held {
			p = append(p[:0], h.Scores...)
			softmax(p, t)
			sum -= math.Log(max(p[h.Label], 1e-12))
		}
		return sum
	}
	low, high := math.Log(0.05), math.Log(20.0)
	ratio := (math.Sqrt(5) - 1) / 2
	for high-low > 1e-3 {
		a, b := high-ratio*(high-low), low+ratio*(high-low)
		if loss(a) < loss(b) {
			high = b
		} else {
			low = a
		}
	}
	return math.Exp((low + high) / 2)
}

// Probabilities are held-out scores as probabilities at a temperature.
func (h Held) Probabilities(temperature float64) []float64 {
	p := slices.Clone(h.Scores)
	softmax(p, temperature)
	return p
}

// Temperature is the one that suits the held-out predictions best.
func Temperature(held []Held) float64 { return bestTemperature(held) }

// Index gives labels their indexes: the labels sorted, and each name's place
// among them.
func Index(names []string) (labels []string, index []int) {
	labels = slices.Compact(slices.Sorted(slices.Values(names)))
	index = make([]int, len(names))
	for i, name := range names {
		index[i], _ = slices.BinarySearch(labels, name)
	}
	return labels, index
}
