// SPDX-License-Identifier: Apache-2.0

package eval

import (
	"bytes"
	"context"
	"io"

	"github.com/millrace-ml/millrace/text/classifier"
	"github.com/millrace-ml/millrace/text/linear"
	"github.com/millrace-ml/millrace/text/sentiment"
)

// learner is a kind of model that tells labels and can be trained.
type learner interface {
	// columns are the usual names of the label's column.
	columns() []string
	own() labeller
	load(data []byte) (labeller, error)
	train(ctx context.Context, examples []example, f fit) (labeller, error)
	// crossValidate predicts every example that is not auxiliary with a model that
	// does not know it. The labels are those that the predictions index.
	crossValidate(ctx context.Context, examples []example, f fit) (labels []string, held []linear.Held, err error)
}

// labeller is a model that tells labels.
type labeller interface {
	Labels() []string
	Save(w io.Writer) error
	// prepare makes texts ready for the model, as other services do for it in a
	// pipeline, so that its own speed can be measured.
	prepare(texts []string) predict
}

// predict appends the probabilities of text i and tells which is the highest.
type predict func(dst []float64, i int) ([]float64, int)

// example is a text to learn from, or to measure on while learning.
type example struct {
	text, label string
	group       string
	weight      float64
	auxiliary   bool
}

// fit says how to train.
type fit struct {
	seed  uint64
	folds int // of cross-validation, or of the calibration; 0: the model's default, -1: none
}

// fit is how to train a single model.
func (c *Config) fit() fit {
	if c.Uncalibrated {
		return fit{seed: c.Seed, folds: -1}
	}
	return fit{seed: c.Seed}
}

func (f fit) apply(t linear.Training) linear.Training {
	t.Seed = f.seed
	if f.folds != 0 {
		t.Folds = f.folds
	}
	return t
}

func learnerOf(model string) learner {
	if model == modelSentiment {
		return sentimentLearner{}
	}
	return classifierLearner{}
}

type sentimentLearner struct{}

type sentimentModel struct{ *sentiment.Model }

func (sentimentLearner) columns() []string { return []string{"sentiment"} }
func (sentimentLearner) own() labeller     { return sentimentModel{sentiment.English()} }

func (sentimentLearner) load(data []byte) (labeller, error) {
	m, err := sentiment.Load(bytes.NewReader(data))
	return sentimentModel{m}, err
}

func (sentimentLearner) train(ctx context.Context, examples []example, f fit) (labeller, error) {
	o, t := sentiment.Options()
	m, err := sentiment.Train(ctx, sentimentExamples(examples), o, f.apply(t))
	return sentimentModel{m}, err
}

func (sentimentLearner) crossValidate(ctx context.Context, examples []example, f fit) ([]string, []linear.Held, error) {
	o, t := sentiment.Options()
	return sentiment.CrossValidate(ctx, sentimentExamples(examples), o, f.apply(t))
}

func sentimentExamples(examples []example) []sentiment.Example {
	out := make([]sentiment.Example, len(examples))
	for i, e := range examples {
		out[i] = sentiment.Example{Text: e.text, Label: e.label, Group: e.group, Weight: e.weight, Auxiliary: e.auxiliary}
	}
	return out
}

func (m sentimentModel) prepare(texts []string) predict {
	return func(dst []float64, i int) ([]float64, int) { return m.Predict(dst, texts[i]) }
}

type classifierLearner struct{}

type classifierModel struct{ *classifier.Model }

func (classifierLearner) columns() []string { return []string{"class", "category"} }
func (classifierLearner) own() labeller     { return classifierModel{classifier.English()} }

func (classifierLearner) load(data []byte) (labeller, error) {
	m, err := classifier.Load(bytes.NewReader(data))
	return classifierModel{m}, err
}

func (classifierLearner) train(ctx context.Context, examples []example, f fit) (labeller, error) {
	o, t := classifier.Options()
	m, err := classifier.Train(ctx, classifierExamples(examples), o, f.apply(t))
	return classifierModel{m}, err
}

func (classifierLearner) crossValidate(ctx context.Context, examples []example, f fit) ([]string, []linear.Held, error) {
	o, t := classifier.Options()
	return classifier.CrossValidate(ctx, classifierExamples(examples), o, f.apply(t))
}

func classifierExamples(examples []example) []classifier.Example {
	out := make([]classifier.Example, len(examples))
	for i, e := range examples {
		out[i] = classifier.Example{Tagged: classifier.Tag(e.text), Label: e.label, Group: e.group, Weight: e.weight, Auxiliary: e.auxiliary}
	}
	return out
}

func (m classifierModel) prepare(texts []string) predict {
	tagged := make([]classifier.Tagged, len(texts))
	for i, text := range texts {
		tagged[i] = classifier.Tag(text)
	}
	return func(dst []float64, i int) ([]float64, int) { return m.Predict(dst, tagged[i]) }
}
