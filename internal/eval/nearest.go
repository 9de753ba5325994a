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
	"github.com/millrace-ml/millrace/text/embed"
	"github.com/millrace-ml/millrace/text/linear"
	"github.com/millrace-ml/millrace/text/metrics"
	"github.com/millrace-ml/millrace/text/nearest"
)

// Names of the measures of nearest. A text that needs an item and is answered
// with none counts as wrong in the first two; the next two are about the order
// of all items, whether or not it abstains.
const (
	RightFirst  = "right first"
	RightThree  = "right among three"
	RankedFirst = "ranked first"
	RankedThree = "ranked among three"
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
	described, err := readItems(items)
	if err != nil {
		return nil, err
	}
	if err := known(append(slices.Clone(rows), also...), idsOf(described)); err != nil {
		return nil, err
	}
	c.stage("embedding %d texts", len(rows))
	vectors, err := vectorsOf(ctx, rows)
	if err != nil {
		return nil, err
	}
	s := search{Config: c, dir: dir, items: items, described: described, rows: rows, also: also, vectors: vectors}
	return s.run(ctx)
}

var itemColumns = []string{"checklist", "item"}

// search is an evaluation of nearest under way.
type search struct {
	*Config
	dir, items string // a folder to write to, and the items' file
	described  []describedItem
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
		finder, err := s.finder(ctx, learn)
		if err != nil {
			return nil, err
		}
		if err := s.find(ctx, finder, held); err != nil {
			return nil, err
		}
		last = finder
	}
	s.stage("ranking")
	if err := s.rank(ctx); err != nil {
		return nil, err
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
	if s.Folds == 0 {
		return [][]bool{s.holds(s.rows, groups)}, s.heldOutMethod()
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

// finder makes the model, which learns from what is given.
func (s *search) finder(ctx context.Context, learn []labelled) (model.Model, error) {
	options := builtin.NearestOptions{Items: s.items}
	if len(learn) > 0 {
		file := filepath.Join(s.dir, "learn.jsonl")
		if err := writeExamples(file, learn); err != nil {
			return nil, err
		}
		options.Examples = []string{file}
	}
	m, err := builtin.New(ctx, modelNearest, options, "")
	if err != nil {
		return nil, wrong("items are a YAML list with id, title, symptoms and steps", "%w", err)
	}
	return m, nil
}

func writeExamples(file string, rows []labelled) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for i := range rows {
		e := map[string]any{"text": rows[i].text, "class": rows[i].kind(), "checklist": nil}
		if rows[i].label != "" {
			e["checklist"] = rows[i].label
		}
		if err := enc.Encode(e); err != nil {
			return err
		}
	}
	return os.WriteFile(file, b.Bytes(), 0o600)
}

// kind is what sort of text it is, if the data says so: a finder learns from it
// what needs no item.
func (l *labelled) kind() string {
	kind, _ := l.fields["class"].(string)
	return kind
}

// describedItem is what there is to tell an item by.
type describedItem struct {
	ID, Title       string
	Symptoms, Steps []string
}

func readItems(file string) ([]describedItem, error) {
	const hint = "items are a YAML list with id, title, symptoms and steps"
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, wrong(hint, "%w", err)
	}
	var items []describedItem
	if err := yaml.Unmarshal(content, &items); err != nil {
		return nil, wrong(hint, "%s: %w", file, err)
	}
	return items, nil
}

func idsOf(items []describedItem) []string {
	ids := make([]string, len(items))
	for i := range items {
		ids[i] = items[i].ID
	}
	return ids
}

// vectorsOf has the embedder answer the texts.
func vectorsOf(ctx context.Context, rows []labelled) ([]model.Item, error) {
	embedder, err := builtin.New(ctx, modelEmbedder, nil, "")
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
	rankings  metrics.Ranking
	answered  int
	needless  int // texts that need no item
	abstained int // of them, those answered with none
}

func (s *search) find(ctx context.Context, finder model.Model, held []bool) error {
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
	for i := range rows {
		s.found.add(rows[i].label, given[i])
	}
	return nil
}

// rank orders all items for every text that needs one: by similarity alone, or
// with folds. Other ways of learning leave no order to look at.
func (s *search) rank(ctx context.Context) error {
	if s.trains() && s.Folds == 0 || len(s.also) > 0 {
		return nil
	}
	items := make([]nearest.Item, len(s.described))
	for i, d := range s.described {
		items[i] = nearest.Describe(embed.Default(), d.ID, d.Title, d.Symptoms, d.Steps)
	}
	examples := s.rankable()
	if s.Folds == 0 {
		return s.rankBySimilarity(items, examples)
	}
	held, err := nearest.CrossValidate(ctx, items, examples, s.Folds, s.Seed)
	if err != nil {
		return err
	}
	for _, h := range held {
		if item := examples[h.Example].Item; item != nearest.None {
			s.found.rankings.Add(slices.Index(h.Ranks, item))
		}
	}
	return nil
}

func (s *search) rankBySimilarity(items []nearest.Item, examples []nearest.Example) error {
	o := nearest.DefaultOptions()
	o.Threshold = -1
	index, err := nearest.New(items, embed.Default().Dim(), o)
	if err != nil {
		return err
	}
	for _, e := range examples {
		if e.Item != nearest.None {
			matches := index.Search(nil, e.Vector, index.Len())
			s.found.rankings.Add(slices.IndexFunc(matches, func(m nearest.Match) bool { return m.Item == e.Item }))
		}
	}
	return nil
}

func (s *search) rankable() []nearest.Example {
	groups := make([]string, len(s.rows))
	if !s.Mixed && s.Folds > 0 {
		groups = nearDuplicates(textsOf(s.rows))
	}
	ids := idsOf(s.described)
	out := make([]nearest.Example, len(s.rows))
	for i := range s.rows {
		row := &s.rows[i]
		// An index of -1 is nearest.None: texts without a label need no item.
		out[i] = nearest.Example{Text: row.text, Vector: make([]float32, embed.Default().Dim()), Item: slices.Index(ids, row.label), Kind: row.kind(), Group: groups[i]}
		embed.Default().Embed(out[i].Vector, row.text)
	}
	return out
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

func (f *findings) add(label string, given []string) {
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
}

func (f *findings) report() *Report {
	needed := f.answers.Total()
	r := &Report{Items: needed + f.needless, Unit: "texts"}
	if needed > 0 {
		r.add(RightFirst, f.answers.RecallAt(1), needed)
		r.add(RightThree, f.answers.RecallAt(3), needed)
		r.add("answers when one fits", float64(f.answered)/float64(needed), needed)
	}
	if n := f.rankings.Total(); n > 0 {
		r.add(RankedFirst, f.rankings.RecallAt(1), n)
		r.add(RankedThree, f.rankings.RecallAt(3), n)
	}
	if f.needless > 0 {
		r.add(Abstains, float64(f.abstained)/float64(f.needless), f.needless)
	}
	return r
}
