// SPDX-License-Identifier: Apache-2.0

// Package sentiment tells whether a customer's message is negative, neutral or
// positive.
//
// The one idea: the words and their negations say most of it, how the text is
// built says some of it, and the sentence embedding says what words that were
// never seen in training are like, so one linear model reads them all (packages
// linear and embed).
//
// Method, training data, licences, measured quality and limits are in
// docs/models/sentiment.md.
package sentiment

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"sync"

	"github.com/millrace-ml/millrace/text/embed"
	"github.com/millrace-ml/millrace/text/linear"
	"github.com/millrace-ml/millrace/text/metrics"
)

// kind marks the weights of this package.
const kind = "sentiment"

//go:embed english.bin
var english []byte

// English is the model that comes with the package, for messages to a support
// desk. Its labels are negative, neutral and positive. It is read once.
var English = sync.OnceValue(func() *Model {
	m, err := read(english)
	if err != nil {
		panic("sentiment: the embedded weights: " + err.Error()) // they are part of the program, and tested
	}
	return m
})

// Model tells the sentiment of texts. It is immutable and safe for concurrent
// use.
type Model struct {
	linear   *linear.Model
	embedder *embed.Model
	pool     sync.Pool // of *scratch
}

type scratch struct {
	vector linear.Vector
	dense  []float32
}

func newModel(l *linear.Model) *Model {
	m := &Model{linear: l, embedder: embed.Default()}
	m.pool.New = func() any { return &scratch{dense: make([]float32, m.embedder.Dim())} }
	return m
}

// Labels are the sentiments in the order of the probabilities.
func (m *Model) Labels() []string { return m.linear.Labels() }

// Label is the sentiment with that index.
func (m *Model) Label(i int) string { return m.linear.Label(i) }

// Temperature is the calibration's; see [linear.Model.Temperature].
func (m *Model) Temperature() float64 { return m.linear.Temperature() }

// maxScratch bounds the features that are kept between calls.
const maxScratch = 1 << 15

// Predict appends the sentiments' probabilities to dst, in the order of the
// labels, and tells which is the highest. It allocates only to grow dst. A text
// without words gets the probabilities of a text of which nothing is known.
func (m *Model) Predict(dst []float64, text string) (probabilities []float64, best int) {
	s := m.pool.Get().(*scratch)
	fill(&s.vector, s.dense, m.linear.Options(), m.embedder, text)
	probabilities, best = m.linear.Probabilities(dst, &s.vector)
	if s.vector.Cap() <= maxScratch {
		m.pool.Put(s)
	}
	return probabilities, best
}

func fill(v *linear.Vector, dense []float32, o linear.Options, e *embed.Model, text string) {
	v.Reset()
	v.AddText(&o, text)
	if o.Dense > 0 {
		e.Embed(dense, text)
		v.Dense = dense
	}
}

// Example is a text whose sentiment is known.
type Example struct {
	Text, Label string
	// Group, Weight and Auxiliary are as in [linear.Example].
	Group     string
	Weight    float64
	Auxiliary bool
}

// Options are the features and the training that the package's own model was
// made with.
func Options() (linear.Options, linear.Training) {
	o := linear.DefaultOptions()
	o.Negation = true
	o.Dense = embed.Default().Dim()
	o.DenseWeight = 2
	return o, linear.Training{Epochs: 20, Rate: 0.05, Balance: 0.5, L2: 1e-4}
}

// Train fits a model to the examples, with whatever labels they have. It is
// deterministic.
func Train(ctx context.Context, examples []Example, o linear.Options, t linear.Training) (*Model, error) {
	labels, prepared, err := prepare(examples, o)
	if err != nil {
		return nil, err
	}
	l, err := linear.Train(ctx, o, labels, prepared, t)
	if err != nil {
		return nil, fmt.Errorf("train sentiment: %w", err)
	}
	return newModel(l), nil
}

// CrossValidate predicts every example with a model that does not know it; see
// [linear.CrossValidate]. The labels are those that the predictions index.
func CrossValidate(ctx context.Context, examples []Example, o linear.Options, t linear.Training) (labels []string, held []linear.Held, err error) {
	labels, prepared, err := prepare(examples, o)
	if err != nil {
		return nil, nil, err
	}
	held, err = linear.CrossValidate(ctx, o, labels, prepared, t)
	if err != nil {
		return nil, nil, fmt.Errorf("cross-validate sentiment: %w", err)
	}
	return labels, held, nil
}

func prepare(examples []Example, o linear.Options) ([]string, []linear.Example, error) {
	names := make([]string, len(examples))
	for i := range examples {
		names[i] = examples[i].Label
	}
	labels, index := linear.Index(names)
	embedder := embed.Default()
	if o.Dense != 0 && o.Dense != embedder.Dim() {
		return nil, nil, fmt.Errorf("sentiment: Dense is %d; the embedder has %d dimensions", o.Dense, embedder.Dim())
	}
	prepared := make([]linear.Example, len(examples))
	for i, e := range examples {
		v := new(linear.Vector)
		fill(v, make([]float32, o.Dense), o, embedder, e.Text)
		prepared[i] = linear.Example{Vector: v, Label: index[i], Weight: e.Weight, Group: e.Group, Auxiliary: e.Auxiliary}
	}
	return labels, prepared, nil
}

// Evaluate measures the model on examples whose labels are known.
func (m *Model) Evaluate(examples []Example) metrics.Report {
	predictions := make([]metrics.Prediction, len(examples))
	var probabilities []float64
	for i, e := range examples {
		var best int
		probabilities, best = m.Predict(probabilities[:0], e.Text)
		predictions[i] = metrics.Prediction{Truth: e.Label, Label: m.Label(best), Probability: probabilities[best]}
	}
	return metrics.Judge(predictions)
}

// Save writes the weights.
func (m *Model) Save(w io.Writer) error { return m.linear.Write(w, kind) }

// Load reads weights that Save wrote. Errors match [linear.ErrWeights].
func Load(r io.Reader) (*Model, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read the weights of a sentiment model: %w", err)
	}
	return read(data)
}

func read(data []byte) (*Model, error) {
	l, err := linear.Read(data, kind)
	if err != nil {
		return nil, err
	}
	if d := l.Options().Dense; d != 0 && d != embed.Default().Dim() {
		return nil, fmt.Errorf("%w: they want an embedding of %d dimensions, there are %d", linear.ErrWeights, d, embed.Default().Dim())
	}
	return newModel(l), nil
}
