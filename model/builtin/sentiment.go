// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"context"
	"sync"

	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/text/sentiment"
)

// sentimentModel tells the sentiment of a text.
type sentimentModel struct {
	labeller
	name  string
	field string
	model *sentiment.Model
	pool  sync.Pool // of *judging
}

type judging struct {
	texts         texts
	probabilities []float64
}

// SentimentOptions are the options of the model sentiment.
type SentimentOptions struct {
	Field   string `json:"field,omitempty" example:"body" default:"text" jsonschema:"The record's field that holds the text"`
	Weights string `json:"weights,omitempty" example:"mine.bin" jsonschema:"A file that millrace train sentiment made. Default: the weights that come with Millrace"`
}

func sentimentShape(o *SentimentOptions) model.Shape {
	return model.Shape{Reads: []string{o.Field}, Writes: []string{"label", "scores"}}
}

func newSentiment(_ context.Context, o *SentimentOptions, s model.Spec) (model.Model, error) {
	m := &sentimentModel{field: o.Field}
	var settings []string
	var err error
	m.model, settings, err = loadWeights(s.Path(o.Weights), sentiment.English, sentiment.Load)
	if err != nil {
		return nil, err
	}
	m.name = version("sentiment@1", settings...)
	m.labeller = newLabeller(m.model.Labels())
	m.pool.New = func() any { return new(judging) }
	return m, nil
}

func (m *sentimentModel) Name() string { return m.name }

func (m *sentimentModel) Predict(ctx context.Context, items []model.Item) ([]model.Answer, error) {
	work := m.pool.Get().(*judging)
	defer func() {
		if work.texts.small() {
			m.pool.Put(work)
		}
	}()
	work.texts.read(items, m.field)
	out := newOutput(len(items))
	for i := range items {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		text, err := work.texts.text(i)
		if err == nil {
			var best int
			work.probabilities, best = m.model.Predict(work.probabilities[:0], text)
			out.buf = m.append(out.buf, work.probabilities, best)
		}
		out.end(err)
	}
	return out.answers(), nil
}
