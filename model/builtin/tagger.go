// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"context"
	"slices"
	"strconv"
	"sync"

	"github.com/millrace-ml/millrace/internal/jsontext"
	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/text/tagger"
	"github.com/millrace-ml/millrace/text/token"
)

// taggerModel splits a text into tokens and gives each its part of speech. A
// text without words is answered with no tokens.
type taggerModel struct {
	name   string
	field  string
	tagger *tagger.Tagger
	pool   sync.Pool // of *tagging
}

// tagging is what a batch needs, kept for the next one.
type tagging struct {
	texts  []byte // the batch's texts, one after the other
	ends   []int
	errs   []error
	tokens []token.Token
	tags   []tagger.Tag
}

// TaggerOptions are the options of the model tagger.
type TaggerOptions struct {
	Field   string `json:"field,omitempty" example:"body" default:"text" jsonschema:"The record's field that holds the text"`
	Weights string `json:"weights,omitempty" example:"mine.bin" jsonschema:"A file that millrace train tagger made. Default: the weights that come with Millrace"`
}

func taggerShape(o *TaggerOptions) model.Shape {
	return model.Shape{Reads: []string{o.Field}, Writes: []string{"tokens"}}
}

func newTagger(_ context.Context, o *TaggerOptions, s model.Spec) (model.Model, error) {
	m := &taggerModel{field: o.Field}
	var settings []string
	var err error
	m.tagger, settings, err = loadWeights(s.Path(o.Weights), tagger.English, tagger.Load)
	if err != nil {
		return nil, err
	}
	m.name = version("tagger@1", settings...)
	m.pool.New = func() any { return new(tagging) }
	return m, nil
}

func (m *taggerModel) Name() string { return m.name }

func (m *taggerModel) Predict(ctx context.Context, items []model.Item) ([]model.Answer, error) {
	work := m.pool.Get().(*tagging)
	defer m.keep(work)
	work.read(items, m.field)
	// One conversion for the batch: its texts are slices of this string.
	texts := string(work.texts)
	out := newOutput(len(items))
	out.buf = slices.Grow(out.buf, taggedBytes*len(texts))
	start := 0
	for i, end := range work.ends {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		text := texts[start:end]
		start = end
		if work.errs[i] != nil {
			out.end(work.errs[i])
			continue
		}
		work.tokens = token.Append(work.tokens[:0], text)
		work.tags = m.tagger.Append(work.tags[:0], text, work.tokens)
		out.buf = appendTagged(out.buf, text, work.tokens, work.tags)
		out.end(nil)
	}
	return out.answers(), nil
}

// taggedBytes is about how many bytes of answer a byte of text makes.
const taggedBytes = 13

// read gathers the batch's texts; where there is none, errs says why.
func (w *tagging) read(items []model.Item, field string) {
	w.texts, w.ends, w.errs = w.texts[:0], w.ends[:0], w.errs[:0]
	for i := range items {
		var err error
		w.texts, err = appendText(w.texts, items[i].Value, field)
		w.ends = append(w.ends, len(w.texts))
		w.errs = append(w.errs, err)
	}
}

// keep returns what a batch needed to the pool, unless a huge one made it grow.
func (m *taggerModel) keep(work *tagging) {
	if cap(work.texts) <= maxKept && cap(work.tokens) <= maxKept/8 {
		clear(work.errs)
		m.pool.Put(work)
	}
}

// maxKept bounds, in bytes, the buffers that pools keep.
const maxKept = 1 << 20

// appendTagged appends {"tokens":[{"text","tag","start","end"}]}.
func appendTagged(dst []byte, text string, tokens []token.Token, tags []tagger.Tag) []byte {
	dst = append(dst, `{"tokens":[`...)
	for i, t := range tokens {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"text":`...)
		dst = jsontext.AppendString(dst, t.Of(text))
		dst = append(dst, `,"tag":"`...)
		dst = append(dst, tags[i].String()...)
		dst = append(dst, `","start":`...)
		dst = strconv.AppendInt(dst, int64(t.Start), 10)
		dst = append(dst, `,"end":`...)
		dst = strconv.AppendInt(dst, int64(t.End), 10)
		dst = append(dst, '}')
	}
	return append(dst, "]}"...)
}
