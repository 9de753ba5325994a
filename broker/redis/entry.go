// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/broker"
)

// A record is an entry whose first field named "key" is its key (if it has one)
// and whose first field named "value" is its value. All other fields, in their
// order, are headers. Entries that others add may have them in any order. An
// entry without a value has the JSON object of its fields, but for the key, as
// its value: XADD … * text hello is the record {"text":"hello"}.
const (
	keyField   = "key"
	valueField = "value"
)

// encoder makes the arguments of a script that appends records. What it makes
// is a copy of the records.
type encoder struct {
	keys    []string
	args    []any
	streams map[string]int // place in keys, from 1
	strings []string       // what args points to: a string in an interface would be allocated
}

// newEncoder has room for the records and so many other arguments.
func newEncoder(records []routed, others int) *encoder {
	n := 0
	for i := range records {
		n += 3 + fields(records[i].record)
	}
	return &encoder{
		keys:    make([]string, 0, 8),
		args:    make([]any, 0, n+others),
		strings: make([]string, 0, n),
		streams: make(map[string]int),
	}
}

// sameRun reports whether the first two records are of one run, as
// lua/append.lua has them.
func sameRun(records []routed) bool {
	return records[0].stream == records[1].stream && fields(records[0].record) == fields(records[1].record)
}

// stream is the place of a stream in keys.
func (e *encoder) stream(key string) int {
	i := e.streams[key]
	if i == 0 {
		e.keys = append(e.keys, key)
		i = len(e.keys)
		e.streams[key] = i
	}
	return i
}

// add adds the records as lua/append.lua reads them.
func (e *encoder) add(records []routed) {
	copied := copyBytes(records)
	next := func(n int) *string {
		e.strings = append(e.strings, copied[:n])
		copied = copied[n:]
		return &e.strings[len(e.strings)-1]
	}
	number := func(n int) *string {
		e.strings = append(e.strings, strconv.Itoa(n))
		return &e.strings[len(e.strings)-1]
	}
	for len(records) > 0 {
		run := 1
		for run < len(records) && sameRun(records[run-1:]) {
			run++
		}
		e.args = append(e.args, number(e.stream(records[0].stream)), number(fields(records[0].record)), number(run))
		for i := range run {
			r := records[i].record
			if needsKey(r) {
				e.args = append(e.args, keyField, next(len(r.Key)))
			}
			e.args = append(e.args, valueField, next(len(r.Value)))
			for _, h := range r.Headers {
				e.args = append(e.args, next(len(h.Key)), next(len(h.Value)))
			}
		}
		records = records[run:]
	}
}

// fields is the number of the entry's fields and values.
func fields(r *broker.Record) int {
	n := 2 + 2*len(r.Headers)
	if needsKey(r) {
		n += 2
	}
	return n
}

// needsKey reports whether the entry must have a key: also when it is empty but
// a header would be taken for it.
func needsKey(r *broker.Record) bool {
	if len(r.Key) > 0 {
		return true
	}
	for _, h := range r.Headers {
		if h.Key == keyField {
			return true
		}
	}
	return false
}

func copyBytes(records []routed) string {
	size := 0
	for i := range records {
		size += records[i].record.Size()
	}
	var b strings.Builder
	b.Grow(size)
	for i := range records {
		r := records[i].record
		b.Write(r.Key) // without a key this is nothing
		b.Write(r.Value)
		for _, h := range r.Headers {
			b.WriteString(h.Key)
			b.Write(h.Value)
		}
	}
	return b.String()
}

// names keeps the names of headers, which are few, from being allocated for
// every record.
type names map[string]string

func (n names) of(b []byte) string {
	if s, ok := n[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(n) < 256 {
		n[s] = s
	}
	return s
}

// setFields makes fields, which are names and values in turn, the record's.
func setFields(r *broker.Record, fields [][]byte, n names) {
	key, value := -1, -1
	for i := 0; i+1 < len(fields); i += 2 {
		switch {
		case key < 0 && string(fields[i]) == keyField:
			key = i
		case value < 0 && string(fields[i]) == valueField:
			value = i
		}
	}
	if key >= 0 {
		r.Key = fields[key+1]
	}
	if value < 0 {
		r.Value = object(fields, key)
		return
	}
	r.Value = fields[value+1]
	headers := len(fields)/2 - 1
	if key >= 0 {
		headers--
	}
	if headers <= 0 {
		return
	}
	r.Headers = make([]broker.Header, 0, headers)
	for i := 0; i+1 < len(fields); i += 2 {
		if i != key && i != value {
			r.Headers = append(r.Headers, broker.Header{Key: n.of(fields[i]), Value: fields[i+1]})
		}
	}
}

// object is the JSON object of the fields, except the one at index but.
func object(fields [][]byte, but int) []byte {
	out := []byte{'{'}
	for i := 0; i+1 < len(fields); i += 2 {
		if i == but {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		name, _ := json.Marshal(string(fields[i]))
		text, _ := json.Marshal(string(fields[i+1]))
		out = append(append(append(out, name...), ':'), text...)
	}
	return append(out, '}')
}
