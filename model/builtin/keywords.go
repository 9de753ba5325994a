// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"

	"github.com/goccy/go-yaml"

	"github.com/millrace-ml/millrace/internal/jsontext"
	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/text/keywords"
)

// keywordsModel answers a tagger's answer with the key phrases of the text and
// the products it names. A text without words is answered with none of both.
type keywordsModel struct {
	name      string
	extractor *keywords.Extractor
	products  []string
	pool      sync.Pool // of *extraction
}

// extraction is what a batch needs, kept for the next one.
type extraction struct {
	tagged taggedText
	result keywords.Result
}

// KeywordsOptions are the options of the model keywords.
type KeywordsOptions struct {
	Products  []string `json:"products,omitempty" example:"[RoboVac X30, SteamPress Go]" jsonschema:"Names of the catalogue's products. Default: none"`
	Catalogue string   `json:"catalogue,omitempty" example:"catalogue.yaml" jsonschema:"In place of products, a YAML file whose field products lists them, each a name or a mapping with a name"`
	Max       int      `json:"max,omitempty" example:"3" default:"6" min:"1" max:"100" jsonschema:"How many phrases to answer with at most"`
}

func keywordsShape(*KeywordsOptions) model.Shape {
	return model.Shape{Reads: []string{"tokens"}, Writes: []string{"keywords", "products"}}
}

func newKeywords(_ context.Context, o *KeywordsOptions, s model.Spec) (model.Model, error) {
	products := o.Products
	if o.Catalogue != "" {
		if products != nil {
			return nil, &model.OptionError{Option: "catalogue", Err: errors.New("it says the same as option products; give one of them")}
		}
		var err error
		if products, err = Products(s.Path(o.Catalogue)); err != nil {
			return nil, &model.OptionError{Option: "catalogue", Err: err}
		}
	}
	extractor, err := keywords.New(keywords.Options{Products: products, Max: o.Max})
	if err != nil {
		return nil, err
	}
	m := &keywordsModel{
		name:      version("keywords@1", append([]string{strconv.Itoa(o.Max)}, products...)...),
		extractor: extractor,
		products:  products,
	}
	m.pool.New = func() any { return new(extraction) }
	return m, nil
}

// Products reads the products' names from a catalogue; what else it holds is
// for others.
func Products(path string) ([]string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var catalogue struct {
		Products []any `yaml:"products"`
	}
	if err := yaml.Unmarshal(content, &catalogue); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(catalogue.Products) == 0 {
		return nil, fmt.Errorf("%s: there are no products", path)
	}
	var names []string
	for i, p := range catalogue.Products {
		if fields, ok := p.(map[string]any); ok {
			p = fields["name"]
		}
		name, ok := p.(string)
		if !ok {
			return nil, fmt.Errorf("%s: product %d has no name", path, i+1)
		}
		names = append(names, name)
	}
	return names, nil
}

func (m *keywordsModel) Name() string { return m.name }

func (m *keywordsModel) Predict(ctx context.Context, items []model.Item) ([]model.Answer, error) {
	work := m.pool.Get().(*extraction)
	defer m.keep(work)
	out := newOutput(len(items))
	for i := range items {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := work.tagged.read(items[i].Value); err != nil {
			out.end(err)
			continue
		}
		text := string(work.tagged.text)
		m.extractor.Extract(&work.result, text, work.tagged.tokens, work.tagged.tags)
		out.buf = m.append(out.buf, text, &work.result)
		out.end(nil)
	}
	return out.answers(), nil
}

// keep returns what a batch needed to the pool, unless a huge text made it grow.
func (m *keywordsModel) keep(work *extraction) {
	if cap(work.tagged.text) <= maxKept && cap(work.tagged.tokens) <= maxKept/8 {
		m.pool.Put(work)
	}
}

// append appends {"keywords":[{"text","score","start","end"}],"products":[…]}.
func (m *keywordsModel) append(dst []byte, text string, r *keywords.Result) []byte {
	dst = append(dst, `{"keywords":[`...)
	for i, p := range r.Phrases {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"text":`...)
		dst = jsontext.AppendString(dst, text[p.Start:p.End])
		dst = append(dst, `,"score":`...)
		dst = appendFloat(dst, p.Score, 4)
		dst = append(dst, `,"start":`...)
		dst = strconv.AppendInt(dst, int64(p.Start), 10)
		dst = append(dst, `,"end":`...)
		dst = strconv.AppendInt(dst, int64(p.End), 10)
		dst = append(dst, '}')
	}
	dst = append(dst, `],"products":[`...)
	for i, p := range r.Products {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = jsontext.AppendString(dst, m.products[p])
	}
	return append(dst, "]}"...)
}
