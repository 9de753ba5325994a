// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/jsontext"
	"github.com/millrace-ml/millrace/internal/sanitize"
	"github.com/millrace-ml/millrace/lineage"
)

// writer makes the gathered records of one settle.
type writer struct {
	g       *Gather
	ctx     context.Context
	out     []broker.Record
	buf     []byte // their values and headers, one after the other
	headers []broker.Header
	spans   []trace.Span
	brief   bool // texts are cut off
}

func (w *writer) begin(ctx context.Context) {
	w.ctx, w.out, w.buf, w.headers, w.spans = ctx, w.out[:0], w.buf[:0], w.headers[:0], w.spans[:0]
}

func (w *writer) results() []broker.Record { return w.out }

func (w *writer) end() {
	for _, s := range w.spans {
		s.End()
	}
	clear(w.out)
}

// add writes the first answer to a source and reports whether it is complete, and
// whether something is left out of it for lack of room.
func (w *writer) add(win *window, j *join) (complete, cut bool) {
	complete = true
	fit := false
	for i := range j.parts {
		complete = complete && (j.parts[i].status == ok || j.parts[i].status == skipped)
	}
	at, source := len(w.buf), &j.source
	key := source.Key
	small := w.g.b.Options().MaxRecordBytes / (len(j.parts) + 2) / 2
	for _, try := range []struct {
		limit int
		brief bool
	}{
		{w.g.b.Options().MaxRecordBytes, false},
		{small, false}, // large values are left out
		{small, true},  // a large key or id is cut off
		{0, true},      // values may take more room in JSON
	} {
		w.buf, w.brief = w.buf[:at], try.brief
		w.value(j, complete, try.limit)
		if try.brief {
			key = nil // the record goes to the partition of its source without one
		}
		if fit = w.fits(key, w.buf[at:]); fit {
			cut = cut || try.brief
			break
		}
		cut = true
	}
	w.brief = false
	w.record(win, key, w.buf[at:len(w.buf):len(w.buf)], answerOf{
		of:       lineage.PlaceOf(source).AppendTo(nil),
		at:       source.Time.UTC().AppendFormat(nil, time.RFC3339Nano),
		revision: 1, complete: complete, parent: w.span(source),
	})
	if !fit {
		w.least(len(w.out) - 1)
	}
	w.remember(win, source.Offset, complete)
	return complete, cut
}

// least makes an answer say no more than whose it is, and why.
func (w *writer) least(i int) {
	r := &w.out[i]
	b := append([]byte(`{"id":`), jsontext.AppendString(nil, r.Header(lineage.JoinOf))...)
	b = append(append(b, `,"key":null,"status":"`...), r.Header(lineage.JoinStatus)...)
	b = append(append(b, `","revision":`...), r.Header(lineage.JoinRevision)...)
	b = append(b, `,"error":`...)
	b = jsontext.AppendString(b, "the answer is too large for the broker: read its source and parts in their topics")
	r.Key, r.Value = nil, append(b, `,"source":null,"parts":{}}`...)
}

// tooLarge makes an answer that the broker refuses say no more than it must, and
// reports whether that can help.
func (m *member) tooLarge(refused error) bool {
	w := &m.writer
	i := w.largest()
	if e, ok := errors.AsType[*broker.TooLargeError](refused); ok { // else a topic has a limit of its own
		i = e.Index
	}
	if i < 0 || i >= len(w.out) || w.out[i].Topic != m.g.c.To || bytes.HasSuffix(w.out[i].Value, []byte(`"parts":{}}`)) {
		return false
	}
	m.cut("an answer leaves out everything, as the broker refuses it for its size", &w.out[i])
	w.least(i)
	r := &w.out[i]
	if _, source, ok := lineage.SourceIn(r.Header(lineage.JoinOf), m.g.c.Of); ok && m.windows[r.Partition] != nil {
		m.windows[r.Partition].recent.drop(source)
	}
	return true
}

// largest is the index of the largest record, or -1.
func (w *writer) largest() int {
	largest, size := -1, -1
	for i := range w.out {
		if n := w.out[i].Size(); n > size {
			largest, size = i, n
		}
	}
	return largest
}

const (
	headerRoom = 1024 // what the headers of a gathered record take at most
	maxParent  = 256  // of a traceparent, which has 55 bytes in the version of today
)

// fits reports whether a record of this key and value is within the limit.
func (w *writer) fits(key, value []byte) bool {
	return len(key)+len(value) <= w.g.b.Options().MaxRecordBytes-headerRoom
}

// maxBrief bounds texts in a record that would be too large with all of them.
const maxBrief = 1024

// text appends a JSON string, cut off where there is no room for all of it.
func (w *writer) text(b []byte, s string) []byte {
	if w.brief {
		s = sanitize.Cut(s, maxBrief)
	}
	return jsontext.AppendString(b, s)
}

// answerOf says what an answer's headers say.
type answerOf struct {
	of, at   []byte // id and time of its source
	revision int
	complete bool
	parent   []byte // traceparent, or nil
}

// record appends a result to those of the settle.
func (w *writer) record(win *window, key, value []byte, a answerOf) {
	from := len(w.headers)
	w.headers = append(w.headers,
		broker.Header{Key: lineage.JoinOf, Value: a.of},
		broker.Header{Key: lineage.JoinRevision, Value: strconv.AppendInt(nil, int64(a.revision), 10)},
		broker.Header{Key: lineage.JoinStatus, Value: []byte(joined(a.complete))},
		broker.Header{Key: lineage.JoinLow, Value: strconv.AppendInt(nil, win.low, 10)},
		broker.Header{Key: lineage.JoinTime, Value: a.at})
	if a.parent != nil && len(a.parent) <= maxParent {
		w.headers = append(w.headers, broker.Header{Key: lineage.Traceparent, Value: a.parent})
	}
	w.out = append(w.out, broker.Record{
		Topic: w.g.c.To, Partition: win.partition, Pinned: true,
		Key: key, Value: value, Headers: w.headers[from:len(w.headers):len(w.headers)],
	})
}

// joined is an answer's status.
func joined(complete bool) string {
	if complete {
		return lineage.JoinComplete
	}
	return lineage.JoinPartial
}

// span begins the trace of this answer and returns the traceparent that it carries.
func (w *writer) span(source *broker.Record) []byte {
	if w.g.c.Tracer == nil {
		return source.Header(lineage.Traceparent)
	}
	parent := lineage.TraceContext(w.ctx, source)
	if !trace.SpanContextFromContext(parent).IsValid() {
		return nil
	}
	ctx, span := w.g.c.Tracer.Start(parent, w.g.c.Name, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithTimestamp(source.Time))
	w.spans = append(w.spans, span)
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return []byte(carrier.Get(lineage.Traceparent))
}

// value appends the gathered record of a source. Values of more than limit
// bytes are left out, and it says so.
func (w *writer) value(j *join, complete bool, limit int) {
	source := &j.source
	b := w.prefix(w.buf, source, complete)
	if len(source.Value) > limit {
		b = append(b, `,"error":`...)
		b = jsontext.AppendString(b, fmt.Sprintf("the source has %d bytes and does not fit in: read it in its topic", len(source.Value)))
	}
	b = append(b, `,"source":`...)
	if len(source.Value) > limit {
		b = append(b, "null"...)
	} else {
		b = appendJSON(b, source.Value)
	}
	b = append(b, `,"parts":{`...)
	for i := range j.parts {
		if i > 0 {
			b = append(b, ',')
		}
		b = jsontext.AppendString(b, w.g.c.Parts[i].Name)
		b = append(b, ':')
		b = w.part(b, i, &j.parts[i], source.Time, limit)
	}
	w.buf = append(b, "}}"...)
}

// prefix appends what comes before the source.
func (w *writer) prefix(b []byte, source *broker.Record, complete bool) []byte {
	b = append(b, `{"id":`...)
	b = w.id(b, source)
	b = append(b, `,"key":`...)
	b = w.text(b, string(source.Key))
	b = append(b, `,"status":"`...)
	b = append(b, joined(complete)...)
	return append(b, `","revision":1`...)
}

// id appends the source's own id if it has one, else its place.
func (w *writer) id(b []byte, source *broker.Record) []byte {
	if id := source.Header(lineage.SourceID); id != nil {
		return w.text(b, string(id))
	}
	id := jsontext.Field(source.Value, "id")
	if text, is := jsontext.String(id); is {
		return w.text(b, text)
	}
	if number, is := jsontext.Number(id); is {
		return w.text(b, number)
	}
	return jsontext.AppendString(b, lineage.PlaceOf(source).String())
}

// part appends a part as it is at the source's first answer.
func (w *writer) part(b []byte, i int, p *part, sourced time.Time, limit int) []byte {
	b = append(b, `{"status":"`...)
	b = append(b, p.status.String()...)
	b = append(b, '"')
	switch p.status {
	case ok, late:
		b = appendValues(b, p.values, limit)
	case failed:
		b = append(b, `,"error":`...)
		b = w.text(b, string(p.err))
	case missing:
		b = append(b, `,"error":`...)
		b = jsontext.AppendString(b, fmt.Sprintf("no answer within %v", w.g.c.Deadline))
	}
	b = append(b, `,"service":`...)
	b = jsontext.AppendString(b, w.g.c.Parts[i].Name)
	if p.status == missing {
		return append(b, '}')
	}
	if p.model != nil {
		b = append(b, `,"model":`...)
		b = w.text(b, string(p.model))
	}
	b = append(b, `,"attempts":`...)
	if n, err := strconv.Atoi(string(p.attempts)); err == nil {
		b = strconv.AppendInt(b, int64(n), 10)
	} else {
		b = append(b, '1')
	}
	b = append(b, `,"latency_ms":`...)
	b = strconv.AppendInt(b, max(0, p.time.Sub(sourced).Milliseconds()), 10)
	return append(b, '}')
}

// appendValues appends a part's value, or a list when its service gave several.
func appendValues(b []byte, values [][]byte, limit int) []byte {
	size := 0
	for _, v := range values {
		size += len(v)
	}
	if size > limit {
		b = append(b, `,"value":null,"error":`...)
		return jsontext.AppendString(b, fmt.Sprintf("the value has %d bytes and does not fit in with the others: read it in the service's topic", size))
	}
	b = append(b, `,"value":`...)
	if len(values) == 1 {
		return appendJSON(b, values[0])
	}
	b = append(b, '[')
	for n, v := range values {
		if n > 0 {
			b = append(b, ',')
		}
		b = appendJSON(b, v)
	}
	return append(b, ']')
}

// around is how many arrays and objects an answer puts around a value: itself, its
// parts, the part, and the list of several values.
const around = 4

// appendJSON appends a value on one line: JSON as it is, other text as a
// string, and other bytes as {"base64": …}. JSON that would make the answer deeper
// than what any part of Millrace reads is text.
func appendJSON(b, v []byte) []byte {
	switch {
	case jsontext.Within(v, jsontext.MaxDepth-around):
		return jsontext.AppendLine(b, v)
	case utf8.Valid(v):
		return jsontext.AppendString(b, v)
	}
	b = append(b, `{"base64":"`...)
	b = base64.StdEncoding.AppendEncode(b, v)
	return append(b, `"}`...)
}
