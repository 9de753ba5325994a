// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"context"
	"sync"

	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/text/classifier"
)

// classifierModel tells the class of a text that the tagger has tagged.
type classifierModel struct {
	labeller
	name  string
	model *classifier.Model
	pool  sync.Pool // of *classifying
}

type classifying struct {
	tagged        taggedText
	probabilities []float64
}

// ClassifierOptions are the options of the model classifier.
type ClassifierOptions struct {
	Weights string `json:"weights,omitempty" example:"mine.bin" jsonschema:"A file that millrace train classifier made. Default: the weights that come with Millrace"`
}

func classifierShape(*ClassifierOptions) model.Shape {
	return model.Shape{Reads: []string{"tokens"}, Writes: []string{"label", "scores"}}
}

func newClassifier(_ context.Context, o *ClassifierOptions, s model.Spec) (model.Model, error) {
	m := new(classifierModel)
	var settings []string
	var err error
	m.model, settings, err = loadWeights(s.Path(o.Weights), classifier.English, classifier.Load)
	if err != nil {
		return nil, err
	}
	m.name = version("classifier@1", settings...)
	m.labeller = newLabeller(m.model.Labels())
	m.pool.New = func() any { return new(classifying) }
	return m, nil
}

func (m *classifierModel) Name() string { return m.name }

func (m *classifierModel) Predict(ctx context.Context, items []model.Item) ([]model.Answer, error) {
	work := m.pool.Get().(*classifying)
	defer func() {
		if cap(work.tagged.text) <= maxKept && cap(work.tagged.tokens) <= maxKept/8 {
			m.pool.Put(work)
		}
	}()
	out := newOutput(len(items))
	for i := range items {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		err := work.tagged.read(items[i].Value)
		if err == nil {
			var best int
			work.probabilities, best = m.model.Predict(work.probabilities[:0], classifier.Tagged{
				Text:   string(work.tagged.text),
				Tokens: work.tagged.tokens,
				Tags:   work.tagged.tags,
			})
			out.buf = m.append(out.buf, work.probabilities, best)
		}
		out.end(err)
	}
	return out.answers(), nil
}
