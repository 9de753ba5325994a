// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/millrace-ml/millrace/internal/jsontext"
	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/text/embed"
)

// embedder answers with a vector that says what a text is about, and the text, for
// models that read both. A text without words is answered with zeros.
type embedder struct {
	name  string
	field string
	model *embed.Model
	pool  sync.Pool // of *embedding
}

type embedding struct {
	texts  texts
	vector []float32
}

// EmbedderOptions are the options of the model embedder.
type EmbedderOptions struct {
	Field string `json:"field,omitempty" example:"body" default:"text" jsonschema:"The record's field that holds the text"`
}

func embedderShape(o *EmbedderOptions) model.Shape {
	return model.Shape{Reads: []string{o.Field}, Writes: []string{"vector", "text"}}
}

func newEmbedder(_ context.Context, o *EmbedderOptions, _ model.Spec) (model.Model, error) {
	m := &embedder{name: version("embedder@1"), field: o.Field, model: embed.Default()}
	m.pool.New = func() any { return &embedding{vector: make([]float32, m.model.Dim())} }
	return m, nil
}

func (m *embedder) Name() string { return m.name }

func (m *embedder) Predict(ctx context.Context, items []model.Item) ([]model.Answer, error) {
	work := m.pool.Get().(*embedding)
	defer func() {
		if work.texts.small() {
			m.pool.Put(work)
		}
	}()
	work.texts.read(items, m.field)
	out := newOutput(len(items))
	out.buf = make([]byte, 0, len(items)*(numberBytes*m.model.Dim()+len(`{"vector":[],"text":""}`))+len(work.texts.all))
	for i := range items {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		text, err := work.texts.text(i)
		if err == nil {
			m.model.Embed(work.vector, text)
			out.buf = appendEmbedding(out.buf, work.vector, text)
		}
		out.end(err)
	}
	return out.answers(), nil
}

// numberBytes is the most that a number of a vector and its comma take.
const numberBytes = len("-0.1234,")

// appendEmbedding appends {"vector":[…],"text":"…"}.
func appendEmbedding(dst []byte, vector []float32, text string) []byte {
	dst = append(dst, `{"vector":[`...)
	for i, x := range vector {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendShort(dst, x)
	}
	dst = jsontext.AppendString(append(dst, `],"text":`...), text)
	return append(dst, '}')
}

// appendShort appends a number from -1 to 1 with four decimals, which is enough
// for cosines that are right to the third. There are hundreds of them a record,
// so it does less than strconv.
func appendShort(dst []byte, x float32) []byte {
	n := int32(math.Round(float64(x) * 10_000))
	if n < 0 {
		dst, n = append(dst, '-'), -n
	}
	dst = append(dst, '0'+byte(n/10_000))
	if n %= 10_000; n == 0 {
		return dst
	}
	dst = append(dst, '.', '0'+byte(n/1000), '0'+byte(n/100%10), '0'+byte(n/10%10), '0'+byte(n%10))
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	return dst
}

// embeddedText is a text that the embedder's topic brings back. It is read into
// again and again; vector has the length that is expected.
type embeddedText struct {
	vector []float32
	text   []byte
}

// read reads an embedder's answer. The text is needed only if it is asked for.
// Errors match model.ErrInvalid.
func (e *embeddedText) read(value []byte, needText bool) error {
	e.text = e.text[:0]
	if err := e.scan(value, needText); err != nil {
		return model.Invalid(err)
	}
	return nil
}

func (e *embeddedText) scan(value []byte, needText bool) error {
	s := scanner{data: value}
	if len(value) == 0 {
		return errEmpty
	}
	if s.peek() != '{' {
		return fmt.Errorf(`the value is %s, expected an embedder's answer, {"vector": […], "text": "…"}`, s.kind())
	}
	hasVector, hasText := false, false
	err := s.object(func(name []byte) error {
		switch {
		case string(name) == "vector" && hasVector, string(name) == "text" && hasText && needText:
			return fmt.Errorf("field %q is there twice", name)
		case string(name) == "vector":
			hasVector = true
			return e.numbers(&s)
		case string(name) == "text" && needText:
			hasText = true
			if s.peek() != '"' {
				return fmt.Errorf(`field "text" is %s, expected a string`, s.kind())
			}
			var err error
			e.text, err = s.text(e.text)
			return err
		}
		return s.skip(2)
	})
	switch {
	case err != nil:
		return err
	case !hasVector:
		return fmt.Errorf(`there is no field "vector", which an embedder's answer has; %s`, fieldsOf(value))
	case needText && !hasText:
		return fmt.Errorf(`there is no field "text", which an embedder's answer has and a model with examples reads; %s`, fieldsOf(value))
	}
	return s.finish()
}

func (e *embeddedText) numbers(s *scanner) error {
	if s.peek() != '[' {
		return fmt.Errorf(`field "vector" is %s, expected an array`, s.kind())
	}
	n := 0
	err := s.array(func() error {
		x, err := s.short()
		if err == nil && n < len(e.vector) {
			e.vector[n] = x
		}
		n++
		return err
	})
	if err == nil && n != len(e.vector) {
		err = fmt.Errorf("the vector has %d numbers, expected %d: was it made by another embedder?", n, len(e.vector))
	}
	return err
}

// short returns the number that is next. Those of a few digits, as appendShort
// writes them, are exact quotients of whole numbers and need no strconv.
func (s *scanner) short() (float32, error) {
	from := s.pos
	digits, err := s.number()
	if err != nil {
		return 0, err
	}
	n, after, point := 0, 0, false
	for i, c := range digits {
		switch {
		case c == '-' && i == 0:
		case c == '.':
			point = true
		case '0' <= c && c <= '9' && i < 8:
			n = n*10 + int(c-'0')
			if point {
				after++
			}
		default:
			s.pos = from
			x, err := s.float()
			return float32(x), err
		}
	}
	x := float32(float64(n) / tens[after])
	if digits[0] == '-' {
		x = -x
	}
	return x, nil
}

var tens = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8}
