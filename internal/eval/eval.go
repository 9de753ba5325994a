// SPDX-License-Identifier: Apache-2.0

// Package eval measures the built-in models on labelled data, and trains those
// of them that learn.
//
// The one idea: whatever the model, an evaluation is the same few steps (read
// the data, have a model answer, compare, time it) and ends in a [Report] of
// named measures. So one table can be made of all models, a floor can be set
// under any measure, and what is printed for a person and for a program is the
// same.
package eval

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/internal/records"
	"github.com/millrace-ml/millrace/internal/spelling"
	"github.com/millrace-ml/millrace/text/metrics"
)

// Config says what to measure on what. Model and Data are required.
type Config struct {
	Model string   // one of Models, or "checklist" for nearest
	Data  []string // CoNLL-U for the tagger, otherwise CSV, TSV or JSON lines
	// Format of the data that is not CoNLL-U; empty: by name or content.
	Format records.Format
	// Columns that hold the text, the label, and for keywords the key phrases and
	// products; empty: found by their usual names.
	Text, Label, Keywords, Products string

	// Weights are used instead of those in the program.
	Weights string
	// Folds above 0 trains so many models, each without one part of the data, and
	// measures it on that part. Holdout does so once, on this share of each label;
	// Every, on the records of which the number is a multiple of it.
	Folds   int
	Holdout float64
	Every   int
	// Mixed lets near-duplicates be learned from and measured on. Otherwise they
	// stay on one side.
	Mixed bool
	// Also is more data to learn from, on which nothing is measured. For sentiment
	// and classifier each text of it counts AlsoWeight of one of Data, 0 being 1.
	Also       []string
	AlsoWeight float64
	Seed       uint64 // of folds, holdout and training
	// Uncalibrated leaves out the calibration of a single model's probabilities,
	// which takes five times as long as the training and changes no answer.
	Uncalibrated bool

	Raw   bool // tagger: split the text instead of taking the treebank's words
	Plain bool // tagger: in lower case, without final punctuation

	Catalogue string // keywords: the file of products; empty: the support desk's
	Max       int    // keywords: phrases a text at most; 0: the model's default
	Items     string // nearest: the file of items; empty: the support desk's

	// Speed is about how long to measure the speed, 0 not at all.
	Speed time.Duration
	// Progress is called with what is being done; nil is nobody.
	Progress func(stage string)
}

// Report is what was measured.
type Report struct {
	Model  string   `json:"model"`
	Data   []string `json:"data"`
	Method string   `json:"method"` // which weights, and how they met the data
	Items  int      `json:"items"`  // how many were measured on
	Unit   string   `json:"unit"`   // what they are: texts, sentences

	Measures []Measure `json:"measures"`
	Speed    *Speed    `json:"speed,omitempty"`
	// Classes and Confusion are there when each item has one right label.
	Classes   []metrics.Class `json:"classes,omitempty"`
	Confusion *Confusion      `json:"confusion,omitempty"`
}

// Measure is a named figure. Shares and scores are from 0 to 1.
type Measure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Of    int     `json:"of,omitempty"` // how many it is a share of
}

// Confusion is how often a true label (row) was answered as which (column).
type Confusion struct {
	Labels []string `json:"labels"`
	Counts [][]int  `json:"counts"`
}

// Value returns a measure by its name.
func (r *Report) Value(name string) (float64, bool) {
	for _, m := range r.Measures {
		if m.Name == name {
			return m.Value, true
		}
	}
	return 0, false
}

func (r *Report) add(name string, value float64, of int) {
	r.Measures = append(r.Measures, Measure{name, value, of})
}

// count adds what a confusion matrix tells.
func (r *Report) count(c *metrics.Confusion) {
	labels := c.Labels()
	r.Classes = c.Classes()
	r.Confusion = &Confusion{Labels: labels, Counts: make([][]int, len(labels))}
	for i := range labels {
		for j := range labels {
			r.Confusion.Counts[i] = append(r.Confusion.Counts[i], c.Count(i, j))
		}
	}
}

// InputError is about what was given: data, weights or how they were asked for.
// Trying again cannot help.
type InputError struct {
	Err  error
	Hint string // what to do, may be empty
}

func (e *InputError) Error() string { return e.Err.Error() }
func (e *InputError) Unwrap() error { return e.Err }

func wrong(hint, format string, args ...any) error {
	return &InputError{fmt.Errorf(format, args...), hint}
}

// Names of the models.
const (
	modelTagger     = "tagger"
	modelSentiment  = "sentiment"
	modelClassifier = "classifier"
	modelKeywords   = "keywords"
	modelEmbedder   = "embedder"
	modelNearest    = "nearest"
	aliasNearest    = "checklist"
)

// Models lists the models that can be measured.
func Models() []string {
	return []string{modelTagger, modelSentiment, modelClassifier, modelKeywords, modelEmbedder, modelNearest}
}

// Run measures a model. What is wrong with what was given is an [*InputError].
func Run(ctx context.Context, c Config) (*Report, error) {
	if c.Model == aliasNearest {
		c.Model = modelNearest
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	run := map[string]func(context.Context, *Config) (*Report, error){
		modelTagger:     runTagger,
		modelSentiment:  runLabels,
		modelClassifier: runLabels,
		modelKeywords:   runKeywords,
		modelEmbedder:   runEmbedder,
		modelNearest:    runNearest,
	}[c.Model]
	r, err := run(ctx, &c)
	if err != nil {
		return nil, err
	}
	r.Model = c.Model
	for _, file := range c.Data {
		r.Data = append(r.Data, filepath.ToSlash(file))
	}
	return r, nil
}

// trains tells whether the config asks for models of its own.
func (c *Config) trains() bool { return c.Folds > 0 || c.Holdout > 0 || c.Every > 0 }

func (c *Config) check() error {
	if err := checkModel(c.Model, Models()); err != nil {
		return err
	}
	learns := slices.Contains(Learners(), c.Model)
	switch {
	case len(c.Data) == 0:
		return wrong("name a file of labelled data with --data", "there is no data to measure on")
	case c.Folds == 1 || c.Folds < 0:
		return wrong("10 folds train on nine tenths, ten times", "%d folds: at least 2 are needed", c.Folds)
	case !(c.Holdout >= 0 && c.Holdout < 1):
		return wrong("0.2 holds a fifth out", "a share of %v cannot be held out", c.Holdout)
	case c.Every == 1 || c.Every < 0:
		return wrong("5 holds records 5, 10, 15, … out", "every %d: something must be left to learn from", c.Every)
	case c.Folds > 0 && c.Holdout > 0, c.Every > 0 && c.Folds > 0, c.Every > 0 && c.Holdout > 0:
		return wrong("folds hold every part out in turn", "folds, a held-out share and every n-th record are ways to do the same: choose one")
	case c.trains() && c.Weights != "":
		return wrong("leave out the weights, or the folds", "with folds or a held-out share the model is trained here: weights would not be used")
	case c.trains() && c.Model == modelKeywords, c.Folds > 0 && c.Model == modelEmbedder:
		return wrong("measure it on all the data", "%s is not trained: %s", c.Model, whyNot(c.Model))
	case len(c.Also) > 0 && !c.trains() && c.Model != modelNearest:
		return wrong("add folds or a held-out share", "more data to learn from is of use only when a model is trained")
	case !(c.AlsoWeight >= 0):
		return wrong("1 counts as much as a text of the data", "a weight of %v is not possible", c.AlsoWeight)
	case (c.Raw || c.Plain) && c.Model != modelTagger:
		return wrong("", "raw and plain text are ways to measure the tagger")
	case c.Weights != "" && !learns && c.Model != modelEmbedder:
		return wrong("", "%s has no weights: %s", c.Model, whyNot(c.Model))
	}
	return nil
}

func checkModel(name string, known []string) error {
	if slices.Contains(known, name) {
		return nil
	}
	hint := "there are " + strings.Join(known, ", ")
	if best, ok := spelling.Nearest(name, append(known, aliasNearest)); ok {
		hint = "did you mean " + best + "?"
	}
	return wrong(hint, "no model is called %q", name)
}

// stage tells what is being done.
func (c *Config) stage(format string, args ...any) {
	if c.Progress != nil {
		c.Progress(fmt.Sprintf(format, args...))
	}
}
