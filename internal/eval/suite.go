// SPDX-License-Identifier: Apache-2.0

package eval

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Suite measures every model on the data sets that the project is measured on.
type Suite struct {
	// Desk is the folder of the example with the labelled messages.
	Desk string
	// Also are composed messages that sentiment and classifier learn from beside the
	// desk's, as their weights in the program did; see scripts/train-text.
	Also       []string
	AlsoWeight float64
	// Public is the folder of public data sets; empty: there are none.
	Public   string
	Speed    time.Duration // of each measurement of speed, 0: none
	Seed     uint64
	Progress func(stage string)
}

// Row is a line of the suite's table. Value and Met are nil when the data is not
// there; Met is nil without a target as well.
type Row struct {
	Model   string   `json:"model"`
	Data    string   `json:"data"` // which, and how it was met
	Measure string   `json:"measure"`
	Unit    string   `json:"unit,omitempty"`
	Value   *float64 `json:"value"`
	AtLeast *float64 `json:"at_least,omitempty"`
	Met     *bool    `json:"met"`
}

// Units of rows; a score has none.
const (
	PerSecond = "/s"
	PerText   = "/text"
)

// Measures of speed, in a suite.
const (
	speedOf       = "speed"
	allocationsOf = "allocations a text"
)

// trial is one evaluation of the suite and what is asked of it.
type trial struct {
	data   string // how the table names it
	public []string
	config Config
	asked  []asked
}

type asked struct {
	measure string
	atLeast float64 // 0: no target
}

// The data sets, by the folders of the public data.
const (
	ewtDev  = "ud-english-ewt/en_ewt-ud-dev.conllu"
	banking = "banking77/train.csv"
)

// trials are what is measured. Targets are the project's; see docs/models.
func (s *Suite) trials() ([]trial, error) {
	desk, err := filepath.Glob(filepath.Join(s.Desk, "training*.jsonl"))
	if err != nil || len(desk) == 0 {
		return nil, wrong("run it from the repository's root, or name the example's folder", "%s holds no labelled messages (training*.jsonl)", s.Desk)
	}
	speed := asked{speedOf, 0}
	learned := "messages, 5 folds"
	if len(s.Also) > 0 {
		learned += ", composed ones learned too"
	}
	messages := func(model string) Config {
		return Config{Model: model, Data: desk, Folds: 5, Also: s.Also, AlsoWeight: s.AlsoWeight}
	}
	trials := []trial{
		{"EWT dev, words given", []string{ewtDev}, Config{Model: modelTagger}, []asked{{Accuracy, 0.95}, {speedOf, 500_000}}},
		{"EWT dev, words given, plain", []string{ewtDev}, Config{Model: modelTagger, Plain: true, Speed: -1}, []asked{{Accuracy, 0.94}}},
		{"EWT dev, raw text", []string{ewtDev}, Config{Model: modelTagger, Raw: true, Speed: -1}, []asked{{TagF1, 0}}},
		{learned, nil, messages(modelSentiment),
			[]asked{{MacroF1, 0.78}, {Accuracy, 0}, {CalibrationError, 0}, speed}},
		{learned, nil, messages(modelClassifier),
			[]asked{{MacroF1, 0.80}, {Accuracy, 0}, {CalibrationError, 0}, speed}},
		{"BANKING77, trained without rows 5, 10, …", []string{banking}, Config{Model: modelClassifier, Every: 5, Uncalibrated: true, Speed: -1},
			[]asked{{Accuracy, 0.91}, {MacroF1, 0}}},
		{"messages, known when the rules were written", nil, Config{Model: modelKeywords, Data: desk},
			[]asked{{ProductAccuracy, 0.95}, {KeywordRecall, 0.85}, speed}},
		{"BANKING77, rows 5, 10, …, which it has not seen", []string{banking}, Config{Model: modelEmbedder, Every: 5},
			[]asked{{TopOne, 0.85}, {TopThree, 0.95}, {speedOf, 100_000}}},
		{"messages, 5 folds", nil, Config{Model: modelNearest, Data: desk, Folds: 5},
			[]asked{{RightFirst, 0.80}, {RightThree, 0.95}, {Abstains, 0.90}, {RankedFirst, 0.80}, {RankedThree, 0.95}, speed}},
	}
	return append(trials, s.heldOut(desk)...), nil
}

// heldOut are the trials on messages that nothing ever learned from, if the
// example has such: the models as they are in the program.
func (s *Suite) heldOut(desk []string) []trial {
	file := filepath.Join(s.Desk, "heldout.jsonl")
	if _, err := os.Stat(file); err != nil {
		return nil
	}
	data, name := []string{file}, "messages held out"
	return []trial{
		{name, nil, Config{Model: modelSentiment, Data: data, Speed: -1}, []asked{{MacroF1, 0.78}, {Accuracy, 0}, {CalibrationError, 0}}},
		{name, nil, Config{Model: modelClassifier, Data: data, Speed: -1}, []asked{{MacroF1, 0.80}, {Accuracy, 0}, {CalibrationError, 0}}},
		{name, nil, Config{Model: modelKeywords, Data: data, Speed: -1}, []asked{{ProductAccuracy, 0.95}, {KeywordRecall, 0.85}}},
		{name, nil, Config{Model: modelNearest, Data: data, Also: desk, Speed: -1}, []asked{{RightFirst, 0.80}, {RightThree, 0.95}, {Abstains, 0.90}}},
	}
}

// Run measures everything, in the order of the table.
func (s *Suite) Run(ctx context.Context) ([]Row, error) {
	trials, err := s.trials()
	if err != nil {
		return nil, err
	}
	var rows []Row
	for i := range trials {
		more, err := s.try(ctx, &trials[i])
		if err != nil {
			return nil, fmt.Errorf("%s on %s: %w", trials[i].config.Model, trials[i].data, err)
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

func (s *Suite) try(ctx context.Context, t *trial) ([]Row, error) {
	c := t.config
	c.Seed = s.Seed
	if c.Speed == 0 {
		c.Speed = s.Speed
	}
	if s.Progress != nil {
		c.Progress = func(stage string) { s.Progress(c.Model + " on " + t.data + ": " + stage) }
	}
	for _, name := range t.public {
		file := filepath.Join(s.Public, filepath.FromSlash(name))
		if _, err := os.Stat(file); s.Public == "" || err != nil {
			return t.rows(nil), nil
		}
		c.Data = append(c.Data, file)
	}
	r, err := Run(ctx, c)
	if err != nil {
		return nil, err
	}
	return t.rows(r), nil
}

// rows are the trial's lines; without a report they have no values.
func (t *trial) rows(r *Report) []Row {
	var rows []Row
	for _, a := range t.asked {
		row := Row{Model: t.config.Model, Data: t.data, Measure: a.measure}
		if a.atLeast > 0 {
			row.AtLeast = &a.atLeast
		}
		if a.measure != speedOf {
			if r != nil {
				if v, ok := r.Value(a.measure); ok {
					row.Value = &v
				}
			}
			rows = append(rows, row.judged())
			continue
		}
		row.Unit = PerSecond
		none := Row{Model: row.Model, Data: row.Data, Measure: allocationsOf, Unit: PerText}
		if r != nil && r.Speed != nil {
			row.Measure = r.Speed.Unit + " a second, " + r.Speed.Of
			row.Value, none.Value = &r.Speed.PerSecond, &r.Speed.Allocations
		}
		rows = append(rows, row.judged(), none)
	}
	return rows
}

func (r Row) judged() Row {
	if r.Value == nil || r.AtLeast == nil {
		return r
	}
	met := *r.Value >= *r.AtLeast
	r.Met = &met
	return r
}
