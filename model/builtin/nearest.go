// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"context"
	"errors"
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

// newNearest reads the options
//
//	items:     a YAML file, a list of items with id, title, symptoms and steps
//	top:       how many matches to give at most (default 3)
//	threshold: the score below which nothing is given; of a model with examples,
//	           the probability that any item fits
//	examples:  JSONL files of texts whose right item is known, to learn from
//	label:     the examples' field with the item's id, or null where there is none
//	           (default: checklist)
//	kind:      the examples' field that says what sort of text needs no item, such
//	           as its class; it may be missing (default: class)
//	field:     the examples' field with the text (default: text)
func newNearest(o *options, dir string) (model.Model, error) {
	path := o.file("items", dir)
	m := &nearestModel{top: o.integer("top", 3, 1, 1000)}
	examples := exampleFiles{
		dir: dir, paths: o.texts("examples"),
		field: o.text("field", "text"), label: o.text("label", "checklist"), kind: o.text("kind", "class"),
	}
	scoring, certainty := nearest.DefaultOptions(), nearest.DefaultCertainty
	if len(examples.paths) > 0 {
		certainty = o.number("threshold", certainty, 0, 1)
	} else {
		scoring.Threshold = o.number("threshold", scoring.Threshold, -1, 1)
	}
	if o.problem() != nil {
		return nil, o.problem()
	}
	if path == "" {
		return nil, errors.New("option items is missing: it names the YAML file of the items to find")
	}
	content, items, err := readItems(path)
	if err != nil {
		return nil, fmt.Errorf("option items: %w", err)
	}
	described := itemsToFind(items)
	if m.index, err = nearest.New(described, embed.Default().Dim(), scoring); err != nil {
		return nil, fmt.Errorf("option items: %s: %w", path, err)
	}
	settings := []string{string(content), fmt.Sprint(m.top, scoring, certainty)}
	if len(examples.paths) > 0 {
		known, contents, err := examples.read(items)
		if err != nil {
			return nil, fmt.Errorf("option examples: %w", err)
		}
		if m.learned, err = nearest.Learn(context.Background(), described, known, certainty); err != nil {
			return nil, fmt.Errorf("option examples: %w", err)
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
