// SPDX-License-Identifier: Apache-2.0

package eval

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/model/builtin"
	"github.com/millrace-ml/millrace/text/linear"
	"github.com/millrace-ml/millrace/text/metrics"
)

// Names of the measures of nearest. A text that needs an item and is answered
// with none counts as wrong in the first two.
const (
	RightFirst  = "right first"
	RightThree  = "right among three"
	RankedFirst = "right first, if it never abstained"
	RankedThree = "right among three, if it never abstained"
	Abstains    = "abstains when none fits"
)

// runNearest measures the services themselves, embedder and nearest, as they
// answer in a pipeline: nearest learns when it starts, from the files that its
// options name.
func runNearest(ctx context.Context, c *Config) (*Report, error) {
	c.stage("reading")
	rows, err := readLabelled(c.Data, c, itemColumns...)
	if err != nil {
		return nil, err
	}
	also, err := readLabelled(c.Also, c, itemColumns...)
	if err != nil {
		return nil, err
	}
	dir, forget, err := deskFiles()
	if err != nil {
		return nil, err
	}
	defer forget()
	items := c.Items
	if items == "" {
		items = filepath.Join(dir, "checklists.yaml")
	}
	if items, err = filepath.Abs(items); err != nil {
		return nil, err
	}
	ids, err := itemIDs(items)
	if err != nil {
		return nil, err
	}
	if err := known(append(slices.Clone(rows), also...), ids); err != nil {
		return nil, err
	}
	c.stage("embedding %d texts", len(rows))
	vectors, err := vectorsOf(ctx, rows)
	if err != nil {
		return nil, err
	}
	s := search{Config: c, dir: dir, items: items, rows: rows, also: also, vectors: vectors}
	return s.run(ctx)
}

var itemColumns = []string{"checklist", "item"}

// search is an evaluation of nearest under way.
type search struct {
	*Config
	dir, items string
	rows, also []labelled
	vectors    []model.Item // what the embedder answered to the rows
	found      findings
}

func (s *search) run(ctx context.Context) (*Report, error) {
	parts, method := s.parts()
	var last model.Model
	for k, held := range parts {
		learn := slices.Clone(s.also)
		for i := range s.rows {
			if !held[i] {
				learn = append(learn, s.rows[i])
			}
		}
		s.stage("model %d of %d, which learns from %d texts", k+1, len(parts), len(learn))
		finder, sure, err := s.finders(learn)
		if err != nil {
			return nil, err
		}
		if err := s.find(ctx, finder, sure, held); err != nil {
			return nil, err
		}
		last = finder
	}
	r := s.found.report()
	r.Method = method
	var failed error
	speed, err := clock(ctx, s.Config, len(s.vectors), "texts", "finding, vectors given as JSON", func(from, to int) int {
		_, failed = last.Predict(ctx, s.vectors[from:to])
		return to - from
	})
	r.Speed = speed
	return r, errors.Join(err, failed)
}

// parts are what is held out of each model. A model that learns nothing of the
// rows is measured on all of them.
func (s *search) parts() (parts [][]bool, method string) {
	all := make([]bool, len(s.rows))
	for i := range all {
		all[i] = true
	}
	if !s.trains() && len(s.also) == 0 {
		return [][]bool{all}, "by similarity alone"
	}
	if !s.trains() {
		return [][]bool{all}, "learned from " + strings.Join(s.Also, ", ")
	}
	groups := make([]string, len(s.rows))
	if !s.Mixed {
		groups = nearDuplicates(textsOf(s.rows))
	}
	if s.Holdout > 0 {
		labels := make([]string, len(s.rows))
		for i := range s.rows {
			labels[i] = s.rows[i].label
		}
		return [][]bool{split(labels, groups, s.Holdout, s.Seed)}, s.heldOutMethod()
	}
	fold := linear.Deal(len(s.rows), func(i int) string { return groups[i] }, s.Folds, s.Seed)
	for k := range s.Folds {
		held := make([]bool, len(s.rows))
		for i := range held {
			held[i] = fold[i] == k
		}
		parts = append(parts, held)
	}
	return parts, s.foldsMethod()
}

// finders makes the model, and the same one that never abstains.
func (s *search) finders(learn []labelled) (finder, sure model.Model, err error) {
	options := map[string]any{"items": s.items}
	least := -1
	if len(learn) > 0 {
		least = 0
		file := filepath.Join(s.dir, "learn.jsonl")
		if err := writeExamples(file, learn); err != nil {
			return nil, nil, err
		}
		options["examples"] = []string{file}
	}
	if finder, err = builtin.New(modelNearest, options, ""); err != nil {
		return nil, nil, wrong("name a YAML list of items with id, title, symptoms and steps", "%w", err)
	}
	options["threshold"] = least
	sure, err = builtin.New(modelNearest, options, "")
	return finder, sure, err
}

func writeExamples(file string, rows []labelled) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for i := range rows {
		e := map[string]any{"text": rows[i].text, "checklist": nil}
		if rows[i].label != "" {
			e["checklist"] = rows[i].label
		}
		if err := enc.Encode(e); err != nil {
			return err
		}
	}
	return os.WriteFile(file, b.Bytes(), 0o600)
}

func itemIDs(file string) ([]string, error) {
	const hint = "name a YAML list of items with id, title, symptoms and steps"
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, wrong(hint, "%w", err)
	}
	var items []struct{ ID string }
	if err := yaml.Unmarshal(content, &items); err != nil {
		return nil, wrong(hint, "%s: %w", file, err)
	}
	ids := make([]string, len(items))
	for i := range items {
		ids[i] = items[i].ID
	}
	return ids, nil
}

// vectorsOf has the embedder answer the texts.
func vectorsOf(ctx context.Context, rows []labelled) ([]model.Item, error) {
	embedder, err := builtin.New(modelEmbedder, nil, "")
	if err != nil {
		return nil, err
	}
	texts := make([]model.Item, len(rows))
	for i := range rows {
		value, err := json.Marshal(map[string]string{"text": rows[i].text})
		if err != nil {
			return nil, err
		}
		texts[i].Value = value
	}
	answers, err := embedder.Predict(ctx, texts)
	if err != nil {
		return nil, err
	}
	vectors := make([]model.Item, len(rows))
	for i, a := range answers {
		if a.Err != nil {
			return nil, rows[i].wrong("", "%w", a.Err)
		}
		vectors[i].Value = a.Values[0]
	}
	return vectors, nil
}

// findings count what was found.
type findings struct {
	answers   metrics.Ranking // abstentions count as not found
	rankings  metrics.Ranking // of the model that never abstains
	answered  int
	needless  int // texts that need no item
	abstained int // of them, those answered with none
}

func (s *search) find(ctx context.Context, finder, sure model.Model, held []bool) error {
	var asked []model.Item
	var rows []labelled
	for i := range held {
		if held[i] {
			asked, rows = append(asked, s.vectors[i]), append(rows, s.rows[i])
		}
	}
	given, err := matchesOf(ctx, finder, asked, rows)
	if err != nil {
		return err
	}
	ranked, err := matchesOf(ctx, sure, asked, rows)
	if err != nil {
		return err
	}
	for i := range rows {
		s.found.add(rows[i].label, given[i], ranked[i])
	}
	return nil
}

// matchesOf are the ids that were found for each text, the best first.
func matchesOf(ctx context.Context, m model.Model, asked []model.Item, rows []labelled) ([][]string, error) {
	answers, err := m.Predict(ctx, asked)
	if err != nil {
		return nil, err
	}
	out := make([][]string, len(rows))
	for i, a := range answers {
		if a.Err != nil {
			return nil, rows[i].wrong("", "%w", a.Err)
		}
		var found struct{ Matches []struct{ ID string } }
		if err := json.Unmarshal(a.Values[0], &found); err != nil {
			return nil, fmt.Errorf("read what nearest answered: %w", err)
		}
		for _, match := range found.Matches {
			out[i] = append(out[i], match.ID)
		}
	}
	return out, nil
}

func (f *findings) add(label string, given, ranked []string) {
	if label == "" {
		f.needless++
		if len(given) == 0 {
			f.abstained++
		}
		return
	}
	if len(given) > 0 {
		f.answered++
	}
	f.answers.Add(slices.Index(given, label))
	f.rankings.Add(slices.Index(ranked, label))
}

func (f *findings) report() *Report {
	needed := f.answers.Total()
	r := &Report{Items: needed + f.needless, Unit: "texts"}
	if needed > 0 {
		r.add(RightFirst, f.answers.RecallAt(1), needed)
		r.add(RightThree, f.answers.RecallAt(3), needed)
		r.add("answers when one fits", float64(f.answered)/float64(needed), needed)
		r.add(RankedFirst, f.rankings.RecallAt(1), needed)
		r.add(RankedThree, f.rankings.RecallAt(3), needed)
	}
	if f.needless > 0 {
		r.add(Abstains, float64(f.abstained)/float64(f.needless), f.needless)
	}
	return r
}
