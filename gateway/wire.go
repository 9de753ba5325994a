// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/jsontext"
)

// Media types.
const (
	typeJSON   = "application/json"
	typeNDJSON = "application/x-ndjson"
)

// The ways in which a record's value is written in JSON.
const (
	EncodingJSON   = ""       // the value is JSON and stands there as it is
	EncodingText   = "text"   // it is other text, written as a JSON string
	EncodingBase64 = "base64" // it is not UTF-8, written as a string of base64 (RFC 4648, padded)
)

// Record is a record as it is read, one on a line. It may be published as it
// was read, in the enveloped form; its place and time are then ignored.
type Record struct {
	Topic     string          `json:"topic" jsonschema:"the topic's name"`
	Partition int32           `json:"partition" jsonschema:"from 0"`
	Offset    int64           `json:"offset" jsonschema:"its place in the partition"`
	Time      time.Time       `json:"time,omitzero" jsonschema:"when it was appended"`
	Key       Text            `json:"key,omitempty" jsonschema:"records with one key are in one partition"`
	Headers   Headers         `json:"headers,omitempty" jsonschema:"names and values"`
	Value     json.RawMessage `json:"value" jsonschema:"any JSON; or, with an encoding, a string"`
	Encoding  string          `json:"encoding,omitempty" jsonschema:"of the value: text (not JSON) or base64 (not UTF-8); left out: it is JSON"`
}

// NewRecord is the wire form of a broker's record.
func NewRecord(r *broker.Record) Record {
	out := Record{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Time: r.Time.UTC(),
		Key: Text(r.Key), Headers: Headers(r.Headers),
	}
	switch {
	case jsontext.Valid(r.Value):
		out.Value = r.Value
	case utf8.Valid(r.Value):
		out.Encoding = EncodingText
		out.Value = jsontext.AppendString(nil, r.Value)
	default:
		out.Encoding = EncodingBase64
		out.Value = jsontext.AppendString(nil, base64.StdEncoding.EncodeToString(r.Value))
	}
	return out
}

// Bytes is the value as the broker has it.
func (r *Record) Bytes() ([]byte, error) { return decode(r.Value, r.Encoding) }

// Text is written as a JSON string, or as {"base64": …} if it is not UTF-8.
type Text []byte

type base64Text struct {
	Base64 []byte `json:"base64"`
}

// MarshalJSON implements [json.Marshaler].
func (t Text) MarshalJSON() ([]byte, error) {
	if !utf8.Valid(t) {
		return json.Marshal(base64Text{t})
	}
	return jsontext.AppendString(nil, t), nil
}

// UnmarshalJSON implements [json.Unmarshaler].
func (t *Text) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		var v base64Text
		if err := strict(b, &v); err != nil {
			return err
		}
		*t = v.Base64
		return nil
	}
	if string(b) == "null" {
		*t = nil
		return nil
	}
	text, is := jsontext.Unquote(b)
	if !is {
		return fmt.Errorf("it is a text, or {\"base64\": …}, not of the type %s", jsontext.Kind(b))
	}
	*t = bytes.Clone(text)
	return nil
}

// Headers are written as an object. A name that repeats has a list of values,
// so the order of headers of different names is not kept.
type Headers []broker.Header

// MarshalJSON implements [json.Marshaler].
func (h Headers) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i := range h {
		if first(h, h[i].Key) < i {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(jsontext.AppendString(b, h[i].Key), ':')
		var values []Text
		for _, other := range h[i:] {
			if other.Key == h[i].Key {
				values = append(values, other.Value)
			}
		}
		var value any = values
		if len(values) == 1 {
			value = values[0]
		}
		v, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		b = append(b, v...)
	}
	return append(b, '}'), nil
}

func first(h Headers, name string) int {
	for i := range h {
		if h[i].Key == name {
			return i
		}
	}
	return -1
}

// UnmarshalJSON implements [json.Unmarshaler]. The names' order is kept.
func (h *Headers) UnmarshalJSON(b []byte) error {
	*h = nil
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("headers are an object of names and texts")
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return err
		}
		values := make([]Text, 1)
		if raw[0] == '[' {
			err = json.Unmarshal(raw, &values)
		} else {
			err = json.Unmarshal(raw, &values[0])
		}
		if err != nil {
			return fmt.Errorf("header %v is not a text: %w", name, err)
		}
		for _, v := range values {
			*h = append(*h, broker.Header{Key: name.(string), Value: v})
		}
	}
	return nil
}

// Published is the answer to a publish.
type Published struct {
	Published int `json:"published" jsonschema:"records that are durable"`
}

// Topic describes a topic.
type Topic struct {
	Name             string      `json:"name" jsonschema:"the topic's name"`
	Source           bool        `json:"source" jsonschema:"whether it may be published to here"`
	Records          int64       `json:"records" jsonschema:"that are kept"`
	RetentionSeconds int64       `json:"retention_seconds,omitempty" jsonschema:"how long records are kept; left out: for ever"`
	RetentionBytes   int64       `json:"retention_bytes,omitempty" jsonschema:"how much of a partition is kept; left out: all"`
	Partitions       []Partition `json:"partitions" jsonschema:"from partition 0"`
}

// Partition is where the log of a partition starts and ends. Offsets may have gaps.
type Partition struct {
	Start   int64 `json:"start" jsonschema:"offset of the first record that is kept"`
	End     int64 `json:"end" jsonschema:"greater than the offset of the last record"`
	Records int64 `json:"records" jsonschema:"that are kept; offsets may have gaps"`
}

// Group describes a consumer group. Partitions are left out in the list of groups.
type Group struct {
	Name       string   `json:"name" jsonschema:"the group's name"`
	Topics     []string `json:"topics" jsonschema:"that it reads"`
	Members    int      `json:"members" jsonschema:"consumers that share the partitions"`
	Lag        int64    `json:"lag" jsonschema:"records that it has not settled yet"`
	Partitions []Place  `json:"partitions,omitempty" jsonschema:"where it stands; left out in the list of groups"`
}

// Place is where a group stands in a partition.
type Place struct {
	Topic     string `json:"topic" jsonschema:"the topic's name"`
	Partition int32  `json:"partition" jsonschema:"from 0"`
	Position  int64  `json:"position" jsonschema:"offset of the next record it takes"`
	End       int64  `json:"end" jsonschema:"greater than the offset of the last record"`
	Lag       int64  `json:"lag" jsonschema:"records that it has not settled yet"`
	Member    string `json:"member,omitempty" jsonschema:"the consumer that has the partition"`
}
