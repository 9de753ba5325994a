// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/jsontext"
	"github.com/millrace-ml/millrace/lineage"
)

// open takes a record out of its envelope, valid JSON, without copying more than it
// must. Headers that Millrace sets tell how the record that was read came to be;
// they are not true of the new one.
func (p *parser) open(b []byte) (broker.Record, error) {
	e := envelope{record: broker.Record{Topic: p.topic}}
	if kind := jsontext.Kind(b); kind != "object" {
		return e.record, fmt.Errorf("the envelope is not an object but of the type %s", kind)
	}
	for m := jsontext.MembersOf(b); m.Next(); {
		if err := e.member(&m); err != nil {
			return e.record, err
		}
	}
	if e.value == nil {
		return e.record, errors.New("the envelope has no value")
	}
	var err error
	e.record.Value, err = decode(e.value, e.encoding)
	return e.record, err
}

// envelope is a record that is being read. It is kept small and on the stack: a body
// may have a million of them.
type envelope struct {
	record   broker.Record
	value    []byte // JSON
	encoding string
	seen     uint // a bit for each of envelopeFields
}

// envelopeFields are the fields of an envelope, with what those have to be that are
// ignored.
var envelopeFields = [...]struct {
	name  string
	valid func(value []byte) error
}{
	{"value", nil},
	{"key", nil},
	{"headers", nil},
	{"encoding", nil},
	{"topic", is[string]},
	{"partition", is[int32]},
	{"offset", is[int64]},
	{"time", is[time.Time]},
}

// is finds out whether a value is of a type.
func is[T any](value []byte) error { return json.Unmarshal(value, new(T)) }

// member takes in a member of the envelope's object.
func (e *envelope) member(m *jsontext.Members) (err error) {
	at := 0
	for at < len(envelopeFields) && !m.Is(envelopeFields[at].name) {
		at++
	}
	if at == len(envelopeFields) {
		return fmt.Errorf("the envelope is not one: unknown field %.40q", m.Name())
	}
	value := m.Value()
	field := envelopeFields[at]
	if e.seen&(1<<at) != 0 {
		return fmt.Errorf("the envelope has %s twice", field.name)
	}
	e.seen |= 1 << at
	switch field.name {
	case "value":
		e.value = value
	case "headers":
		return e.headers(value)
	case "key":
		e.record.Key, err = textOf(value)
	case "encoding":
		var text []byte
		text, err = textOf(value)
		e.encoding = string(text)
	default:
		err = field.valid(value)
	}
	if err != nil {
		return fmt.Errorf("the envelope is not one: %s: %w", field.name, err)
	}
	return nil
}

// textOf is the bytes that a [Text] stands for.
func textOf(value []byte) (Text, error) {
	var text Text
	err := text.UnmarshalJSON(value)
	return text, err
}

// headers takes in the headers, in their order.
func (e *envelope) headers(object []byte) error {
	switch jsontext.Kind(object) {
	case "null":
		return nil
	case "object":
	default:
		return errors.New("headers are an object of names and texts")
	}
	for m := jsontext.MembersOf(object); m.Next(); {
		name, value := m.Name(), m.Value()
		if jsontext.Kind(value) != "array" {
			if err := e.header(name, value); err != nil {
				return err
			}
			continue
		}
		for one := range jsontext.Elements(value) {
			if err := e.header(name, one); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *envelope) header(name string, value []byte) error {
	if lineage.Reserved(name) {
		return nil
	}
	if len(e.record.Headers) == broker.MaxHeaders { // each takes many times the bytes that it is written in
		return fmt.Errorf("the envelope has more than %d headers", broker.MaxHeaders)
	}
	text, err := textOf(value)
	if err != nil {
		return fmt.Errorf("header %.40q is not a text: %w", name, err)
	}
	e.record.Headers = append(e.record.Headers, broker.Header{Key: name, Value: text})
	return nil
}

// decode is the value that JSON stands for in an encoding.
func decode(value []byte, encoding string) ([]byte, error) {
	switch encoding {
	case EncodingJSON:
		return value, nil
	case EncodingText, EncodingBase64:
	default:
		return nil, fmt.Errorf("encoding %.40q: use %q, %q, or none for JSON", encoding, EncodingText, EncodingBase64)
	}
	text, is := jsontext.Unquote(value)
	if !is {
		return nil, fmt.Errorf("a value with encoding %q is a string", encoding)
	}
	if encoding == EncodingText {
		return text, nil
	}
	b, err := base64.StdEncoding.AppendDecode(make([]byte, 0, base64.StdEncoding.DecodedLen(len(text))), text)
	if err != nil {
		return nil, fmt.Errorf("value: %w", err)
	}
	return b, nil
}
