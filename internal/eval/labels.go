// SPDX-License-Identifier: Apache-2.0

package eval

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/text/linear"
	"github.com/millrace-ml/millrace/text/metrics"
)

// Names of measures.
const (
	Accuracy         = "accuracy"
	MacroF1          = "macro-F1"
	CalibrationError = "calibration error"
)

// runLabels measures a model that tells labels: sentiment or classifier.
func runLabels(ctx context.Context, c *Config) (*Report, error) {
	l := learnerOf(c.Model)
	c.stage("reading")
	rows, err := readLabelled(c.Data, c, l.columns()...)
	if err != nil {
		return nil, err
	}
	if err := allLabelled(rows); err != nil {
		return nil, err
	}
	switch {
	case c.Folds > 0:
		return c.crossValidate(ctx, l, rows)
	case c.trains():
		return c.holdOut(ctx, l, rows)
	}
	m, method, err := c.labeller(l)
	if err != nil {
		return nil, err
	}
	return c.measureLabels(ctx, m, rows, method)
}

// labeller is the model with the weights that were asked for.
func (c *Config) labeller(l learner) (labeller, string, error) {
	if c.Weights == "" {
		return l.own(), ownWeights, nil
	}
	data, err := readWeights(c.Weights)
	if err != nil {
		return nil, "", err
	}
	m, err := l.load(data)
	if err != nil {
		return nil, "", wrong("name a file that millrace train "+c.Model+" made", "%s: %w", c.Weights, err)
	}
	return m, "weights of " + filepath.ToSlash(c.Weights), nil
}

const ownWeights = "weights in the program"

// measureLabels has the model tell the rows' labels, all of which it must know.
func (c *Config) measureLabels(ctx context.Context, m labeller, rows []labelled, method string) (*Report, error) {
	labels := m.Labels()
	if err := known(rows, labels); err != nil {
		return nil, err
	}
	c.stage("answering %d texts", len(rows))
	p := m.prepare(textsOf(rows))
	j := newJudge(labels)
	var probabilities []float64
	for i := range rows {
		if i%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var best int
		probabilities, best = p(probabilities[:0], i)
		j.add(slices.Index(labels, rows[i].label), best, probabilities[best])
	}
	r := j.report(method)
	var err error
	r.Speed, err = c.clockLabels(ctx, m, rows)
	return r, err
}

func (c *Config) clockLabels(ctx context.Context, m labeller, rows []labelled) (*Speed, error) {
	if c.Speed <= 0 {
		return nil, nil
	}
	p := m.prepare(textsOf(rows[:min(len(rows), maxTimed)]))
	of := "answering"
	if c.Model == modelClassifier {
		of = "answering, parts of speech given"
	}
	var probabilities []float64
	return clock(ctx, c, len(rows), "texts", of, func(from, to int) int {
		for i := from; i < to; i++ {
			probabilities, _ = p(probabilities[:0], i)
		}
		return to - from
	})
}

func textsOf(rows []labelled) []string {
	out := make([]string, len(rows))
	for i := range rows {
		out[i] = rows[i].text
	}
	return out
}

// examples are what to learn from: the rows, and the further data.
func (c *Config) examples(l learner, rows []labelled) ([]example, error) {
	groups := make([]string, len(rows))
	if !c.Mixed && c.trains() {
		c.stage("looking for near-duplicates")
		groups = nearDuplicates(textsOf(rows))
	}
	var out []example
	for i := range rows {
		out = append(out, example{text: rows[i].text, label: rows[i].label, group: groups[i]})
	}
	if err := twoLabels(rows); err != nil {
		return nil, err
	}
	if len(c.Also) == 0 {
		return out, nil
	}
	also, err := readLabelled(c.Also, c, l.columns()...)
	if err != nil {
		return nil, err
	}
	if err := allLabelled(also); err != nil {
		return nil, err
	}
	for i := range also {
		out = append(out, example{text: also[i].text, label: also[i].label, weight: c.AlsoWeight, auxiliary: true})
	}
	return out, nil
}

func twoLabels(rows []labelled) error {
	for i := range rows {
		if rows[i].label != rows[0].label {
			return nil
		}
	}
	return wrong("a model tells labels apart: it needs two at least", "%s: every text has the label %q", rows[0].file, rows[0].label)
}

func (c *Config) crossValidate(ctx context.Context, l learner, rows []labelled) (*Report, error) {
	examples, err := c.examples(l, rows)
	if err != nil {
		return nil, err
	}
	if len(rows) < c.Folds {
		return nil, wrong("give more data, or ask for fewer folds", "%d texts cannot be dealt out to %d folds", len(rows), c.Folds)
	}
	c.stage("training %d models on %d texts", c.Folds, len(examples))
	labels, held, err := l.crossValidate(ctx, examples, fit{seed: c.Seed, folds: c.Folds})
	if err != nil {
		return nil, err
	}
	j := newJudge(labels)
	temperature := linear.Temperature(held)
	for _, h := range held {
		p := h.Probabilities(temperature)
		best := highest(p)
		j.add(h.Label, best, p[best])
	}
	r := j.report(c.foldsMethod())
	// All models of a kind are equally fast: the one in the program is at hand.
	r.Speed, err = c.clockLabels(ctx, l.own(), rows)
	return r, err
}

func highest(p []float64) (best int) {
	for i := range p {
		if p[i] > p[best] {
			best = i
		}
	}
	return best
}

func (c *Config) holdOut(ctx context.Context, l learner, rows []labelled) (*Report, error) {
	examples, err := c.examples(l, rows)
	if err != nil {
		return nil, err
	}
	groups := make([]string, len(rows))
	for i := range rows {
		groups[i] = examples[i].group
	}
	held := c.holds(rows, groups)
	var learn []example
	var test []labelled
	for i := range examples {
		if i < len(rows) && held[i] {
			test = append(test, rows[i])
		} else {
			learn = append(learn, examples[i])
		}
	}
	if len(test) == 0 {
		return nil, wrong("give more data, or hold more out", "of %d texts none can be held out", len(rows))
	}
	c.stage("training on %d texts", len(learn))
	m, err := l.train(ctx, learn, c.fit())
	if err != nil {
		return nil, err
	}
	r, err := c.measureLabels(ctx, m, test, c.heldOutMethod())
	if err == nil && c.Uncalibrated {
		r.Measures = slices.DeleteFunc(r.Measures, func(m Measure) bool { return m.Name == CalibrationError })
	}
	return r, err
}

func (c *Config) foldsMethod() string {
	return fmt.Sprintf("%d-fold cross-validation%s", c.Folds, c.apart())
}

func (c *Config) heldOutMethod() string {
	return fmt.Sprintf("trained on the rest, measured on %s%s", c.heldOut(), c.apart())
}

// heldOut names what is held out.
func (c *Config) heldOut() string {
	if c.Every > 0 {
		return fmt.Sprintf("records %d, %d, %d, …", c.Every, 2*c.Every, 3*c.Every)
	}
	return fmt.Sprintf("%.3g%% held out", 100*c.Holdout)
}

// apart says how near-duplicates and further data were treated.
func (c *Config) apart() string {
	var s []string
	if !c.Mixed && c.Every == 0 {
		s = append(s, "near-duplicates together")
	}
	if len(c.Also) > 0 {
		s = append(s, "learned from "+strings.Join(c.Also, ", ")+" too")
	}
	if len(s) == 0 {
		return ""
	}
	return " (" + strings.Join(s, "; ") + ")"
}

// judge compares labels with answers.
type judge struct {
	confusion   *metrics.Confusion
	calibration metrics.Calibration
}

func newJudge(labels []string) *judge { return &judge{confusion: metrics.NewConfusion(labels)} }

func (j *judge) add(truth, answer int, probability float64) {
	j.confusion.Add(truth, answer)
	j.calibration.Add(probability, truth == answer)
}

func (j *judge) report(method string) *Report {
	n := j.confusion.Total()
	r := &Report{Method: method, Items: n, Unit: "texts"}
	r.add(Accuracy, j.confusion.Accuracy(), n)
	r.add(MacroF1, j.confusion.MacroF1(), 0)
	r.add(CalibrationError, j.calibration.Error(), 0)
	r.count(j.confusion)
	return r
}
