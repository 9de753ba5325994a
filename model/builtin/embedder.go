// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"context"
	"fmt"
	"sync"

	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/text/embed"
)

// embedder answers with a vector that says what a text is about. A text without
// words is answered with zeros.
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

// vectorDecimals are enough for cosines that are right to the fourth decimal.
const vectorDecimals = 4

// newEmbedder reads the option
//
//	field: the ticket's field that holds the text (default: text)
func newEmbedder(o *options, _ string) (model.Model, error) {
	m := &embedder{name: version("embedder@1"), field: o.text("field", "text"), model: embed.Default()}
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
	for i := range items {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		text, err := work.texts.text(i)
		if err == nil {
			m.model.Embed(work.vector, text)
			out.buf = appendVector(out.buf, work.vector)
		}
		out.end(err)
	}
	return out.answers(), nil
}

// appendVector appends {"vector":[…]}.
func appendVector(dst []byte, vector []float32) []byte {
	dst = append(dst, `{"vector":[`...)
	for i, x := range vector {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendFloat(dst, float64(x), vectorDecimals)
	}
	return append(dst, "]}"...)
}

// readVector reads an embedder's answer into vector, which has the length that
// is expected. Errors match model.ErrInvalid.
func readVector(vector []float32, value []byte) error {
	if err := scanVector(vector, value); err != nil {
		return model.Invalid(err)
	}
	return nil
}

func scanVector(vector []float32, value []byte) error {
	s := scanner{data: value}
	if len(value) == 0 {
		return errEmpty
	}
	if s.peek() != '{' {
		return fmt.Errorf(`the value is %s, expected an embedder's answer, {"vector": […]}`, s.kind())
	}
	found := false
	err := s.object(func(name []byte) error {
		if string(name) != "vector" {
			return s.skip(2)
		}
		if found {
			return fmt.Errorf(`field "vector" is there twice`)
		}
		found = true
		if s.peek() != '[' {
			return fmt.Errorf(`field "vector" is %s, expected an array`, s.kind())
		}
		n := 0
		err := s.array(func() error {
			x, err := s.float()
			if err == nil && n < len(vector) {
				vector[n] = float32(x)
			}
			n++
			return err
		})
		if err == nil && n != len(vector) {
			err = fmt.Errorf("the vector has %d numbers, expected %d: was it made by another embedder?", n, len(vector))
		}
		return err
	})
	if err == nil && !found {
		err = fmt.Errorf(`there is no field "vector", which an embedder's answer has; %s`, fieldsOf(value))
	}
	if err == nil {
		err = s.finish()
	}
	return err
}
