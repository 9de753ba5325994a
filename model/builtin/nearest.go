// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/goccy/go-yaml"

	"github.com/millrace-ml/millrace/internal/jsontext"
	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/text/embed"
	"github.com/millrace-ml/millrace/text/nearest"
)

// nearestModel tells which items of a file a text of the embedder's topic is
// nearest to, such as the help-checklists that suit a ticket.
type nearestModel struct {
	name    string
	top     int
	index   *nearest.Index
	learned *nearest.Learned // nil without examples
	// quoted holds `{"id":…,"title":…,"score":` for each item.
	quoted [][]byte
	pool   sync.Pool // of *finding
}

type finding struct {
	embedded embeddedText
	matches  []nearest.Match
}

// item is what the model reads of an item in the file; other fields are for
// whoever shows it.
type item struct {
	ID       string   `yaml:"id"`
	Title    string   `yaml:"title"`
	Symptoms []string `yaml:"symptoms"`
	Steps    []string `yaml:"steps"`
}

// NearestOptions are the options of the model nearest.
type NearestOptions struct {
	Items     string   `json:"items" example:"checklists.yaml" jsonschema:"A YAML file, a list of items with id, title, symptoms and steps"`
	Top       int      `json:"top,omitempty" example:"1" default:"3" min:"1" max:"1000" jsonschema:"How many matches to give at most"`
	Threshold *float64 `json:"threshold,omitempty" example:"0.8" min:"-1" max:"1" jsonschema:"The score below which nothing is given, from -1; with examples, the probability that any item fits, from 0. Default: one that suits the model"`
	Examples  []string `json:"examples,omitempty" example:"[training.jsonl]" jsonschema:"JSONL files of texts whose right item is known, to learn from. Default: none"`
	Label     string   `json:"label,omitempty" example:"answer" default:"checklist" jsonschema:"The examples' field with the item's id, or null where there is none"`
	Kind      string   `json:"kind,omitempty" example:"topic" default:"class" jsonschema:"The examples' field that says what sort of text needs no item, such as its class; it may be missing"`
	Field     string   `json:"field,omitempty" example:"body" default:"text" jsonschema:"The examples' field with the text"`
}

func nearestShape(o *NearestOptions) model.Shape {
	reads := []string{"vector"}
	if len(o.Examples) > 0 {
		reads = append(reads, "text")
	}
	return model.Shape{Reads: reads, Writes: []string{"matches"}}
}

func newNearest(ctx context.Context, o *NearestOptions, s model.Spec) (model.Model, error) {
	m := &nearestModel{top: o.Top}
	scoring, certainty, err := o.thresholds()
	if err != nil {
		return nil, &model.OptionError{Option: "threshold", Err: err}
	}
	path := s.Path(o.Items)
	content, items, err := readItems(path)
	if err != nil {
		return nil, &model.OptionError{Option: "items", Err: err}
	}
	described := itemsToFind(items)
	if m.index, err = nearest.New(described, embed.Default().Dim(), scoring); err != nil {
		return nil, &model.OptionError{Option: "items", Err: fmt.Errorf("%s: %w", path, err)}
	}
	settings := []string{string(content), fmt.Sprint(m.top, scoring, certainty)}
	if len(o.Examples) > 0 {
		examples := exampleFiles{field: o.Field, label: o.Label, kind: o.Kind}
		for _, file := range o.Examples {
			examples.paths = append(examples.paths, s.Path(file))
		}
		known, contents, err := examples.read(items)
		if err != nil {
			return nil, &model.OptionError{Option: "examples", Err: err}
		}
		if m.learned, err = nearest.Learn(ctx, described, known, certainty); err != nil {
			return nil, &model.OptionError{Option: "examples", Err: err}
		}
		settings = append(settings, contents...)
	}
	for _, it := range items {
		q := jsontext.AppendString([]byte(`{"id":`), it.ID)
		q = jsontext.AppendString(append(q, `,"title":`...), it.Title)
		m.quoted = append(m.quoted, append(q, `,"score":`...))
	}
	m.name = version("nearest@1", settings...)
	m.pool.New = func() any {
		return &finding{embedded: embeddedText{vector: make([]float32, embed.Default().Dim())}}
	}
	return m, nil
}

// thresholds are how near an item has to be, and how certain a model that has
// learned from examples has to be that any fits.
func (o *NearestOptions) thresholds() (nearest.Options, float64, error) {
	scoring, certainty := nearest.DefaultOptions(), nearest.DefaultCertainty
	switch {
	case o.Threshold == nil:
	case len(o.Examples) == 0:
		scoring.Threshold = *o.Threshold
	case *o.Threshold < 0:
		return scoring, 0, fmt.Errorf("with examples it is a probability, from 0 to 1, not %v", *o.Threshold)
	default:
		certainty = *o.Threshold
	}
	return scoring, certainty, nil
}

func readItems(path string) ([]byte, []item, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	var items []item
	if err := yaml.Unmarshal(content, &items); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	seen := map[string]bool{}
	for n, it := range items {
		switch {
		case it.ID == "":
			return nil, nil, fmt.Errorf("%s: item %d has no id", path, n+1)
		case seen[it.ID]:
			return nil, nil, fmt.Errorf("%s: item %d: the id %q is there twice", path, n+1, it.ID)
		case it.Title == "" && len(it.Symptoms) == 0 && len(it.Steps) == 0:
			return nil, nil, fmt.Errorf("%s: item %q has no title, symptoms or steps to find it by", path, it.ID)
		}
		seen[it.ID] = true
	}
	return content, items, nil
}

// itemsToFind embeds every text of every item.
func itemsToFind(items []item) []nearest.Item {
	known := make([]nearest.Item, len(items))
	for i, it := range items {
		known[i] = nearest.Describe(embed.Default(), it.ID, it.Title, it.Symptoms, it.Steps)
	}
	return known
}

func (m *nearestModel) Name() string { return m.name }

func (m *nearestModel) Predict(ctx context.Context, items []model.Item) ([]model.Answer, error) {
	work := m.pool.Get().(*finding)
	defer func() {
		if cap(work.embedded.text) <= maxKept {
			m.pool.Put(work)
		}
	}()
	out := newOutput(len(items))
	for i := range items {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		err := work.embedded.read(items[i].Value, m.learned != nil)
		if err == nil {
			m.find(work)
			out.buf = m.appendMatches(out.buf, work.matches)
		}
		out.end(err)
	}
	return out.answers(), nil
}

func (m *nearestModel) find(work *finding) {
	if m.learned == nil {
		work.matches = m.index.Search(work.matches[:0], work.embedded.vector, m.top)
		return
	}
	work.matches = m.learned.Search(work.matches[:0], string(work.embedded.text), work.embedded.vector, m.top)
}

// appendMatches appends {"matches":[{"id","title","score"}]}.
func (m *nearestModel) appendMatches(dst []byte, matches []nearest.Match) []byte {
	dst = append(dst, `{"matches":[`...)
	for i, match := range matches {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, m.quoted[match.Item]...)
		dst = appendFloat(dst, match.Score, scoreDecimals)
		dst = append(dst, '}')
	}
	return append(dst, "]}"...)
}
