// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"bytes"
	"strconv"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/jsontext"
	"github.com/millrace-ml/millrace/lineage"
)

// answer is a gathered record, taken apart. What is in it is JSON.
type answer struct {
	id, key, source []byte
	note            []byte // why something is left out, if it is
	revision        int
	parts           [][]byte // by index in Config.Parts; nil where there is none
}

// readAnswer takes an answer apart. Of one that cannot be read, as this gather did
// not write it, what it returns holds no part, and says so.
func (g *Gather) readAnswer(r *broker.Record) (a answer, readable bool) {
	a.parts = make([][]byte, len(g.c.Parts))
	if g.parseAnswer(r.Value, &a) {
		return a, true
	}
	a = answer{parts: make([][]byte, len(g.c.Parts))}
	a.id = jsontext.AppendString(nil, r.Header(lineage.JoinOf))
	a.key = jsontext.AppendString(nil, r.Key)
	a.source = []byte("null")
	a.note = jsontext.AppendString(nil, "the answer before this one, "+r.Place().String()+", cannot be read")
	a.revision, _ = strconv.Atoi(string(r.Header(lineage.JoinRevision)))
	return a, false
}

func (g *Gather) parseAnswer(value []byte, a *answer) bool {
	m := jsontext.MembersOf(value)
	for m.Next() {
		switch {
		case m.Is("id"):
			a.id = m.Value()
		case m.Is("key"):
			a.key = m.Value()
		case m.Is("source"):
			a.source = m.Value()
		case m.Is("error"):
			a.note = m.Value()
		case m.Is("revision"):
			a.revision, _ = strconv.Atoi(string(m.Value()))
		case m.Is("parts"):
			if !g.parseParts(m.Value(), a) {
				return false
			}
		}
	}
	return m.Whole() && a.id != nil && a.key != nil && a.source != nil
}

func (g *Gather) parseParts(value []byte, a *answer) bool {
	m := jsontext.MembersOf(value)
	for m.Next() {
		for i := range g.c.Parts {
			if m.Is(g.c.Parts[i].Name) {
				a.parts[i] = m.Value()
				break
			}
		}
	}
	return m.Whole()
}

// worse reports whether a part of an answer says less than one with the status:
// a missing part can be amended by anything, a failed one by a value.
func worse(old []byte, by status) bool {
	switch statusOf(old) {
	case "", missing.String():
		return true
	case failed.String():
		return by != failed
	}
	return false
}

// statusOf is the status of a part of an answer, empty if it says none.
func statusOf(part []byte) string {
	const begin = `{"status":"` // as writer.part begins, so that the value need not be gone through
	if rest, is := bytes.CutPrefix(part, []byte(begin)); is {
		if end := bytes.IndexByte(rest, '"'); end >= 0 {
			return string(rest[:end])
		}
	}
	s, _ := jsontext.String(jsontext.Field(part, "status"))
	return s
}

// amend writes an answer with parts that came late. It reports false when it had
// to leave out more than their values, for lack of room.
func (w *writer) amend(win *window, old *broker.Record, a *answer, parts []*part, sourced time.Time) bool {
	at := len(w.buf)
	a.revision++
	key := old.Key
	for _, try := range []struct {
		limit int
		brief bool
	}{{w.g.b.Options().MaxRecordBytes / 8, false}, {0, false}, {0, true}} {
		if try.brief {
			a.shorten()
			key = nil // the record goes to the partition of its source without one
		}
		w.buf, w.brief = w.buf[:at], try.brief
		complete := w.revision(a, parts, sourced, try.limit)
		w.brief = false
		if w.fits(key, w.buf[at:]) {
			w.revised(win, old, a, key, w.buf[at:len(w.buf):len(w.buf)], complete)
			w.rememberRevision(win, old, complete)
			return !try.brief
		}
	}
	w.buf = w.buf[:at]
	w.revised(win, old, a, nil, nil, false)
	w.least(len(w.out) - 1)
	w.rememberRevision(win, old, false)
	return false
}

func (w *writer) revised(win *window, old *broker.Record, a *answer, key, value []byte, complete bool) {
	w.record(win, key, value, answerOf{
		of: old.Header(lineage.JoinOf), at: old.Header(lineage.JoinTime), revision: a.revision, complete: complete, parent: old.Header(lineage.Traceparent),
	})
}

func (w *writer) rememberRevision(win *window, old *broker.Record, complete bool) {
	if _, source, ok := lineage.SourceIn(old.Header(lineage.JoinOf), w.g.c.Of); ok {
		w.remember(win, source, complete)
	}
}

// shorten leaves out of an answer what may be long.
func (a *answer) shorten() {
	for _, v := range []*[]byte{&a.id, &a.key, &a.source, &a.note} {
		if len(*v) > maxBrief {
			*v = []byte("null")
		}
	}
	for i, p := range a.parts {
		if len(p) > maxBrief {
			b := append([]byte(`{"status":`), jsontext.AppendString(nil, statusOf(p))...)
			a.parts[i] = append(b, `,"value":null,"error":"left out, as the answer was too large with it: read it in the service's topic"}`...)
		}
	}
}

// revision appends an amended answer and reports whether it is complete.
func (w *writer) revision(a *answer, parts []*part, sourced time.Time, limit int) bool {
	complete := true
	for i := range w.g.c.Parts {
		complete = complete && (parts[i] != nil && (parts[i].status == late || parts[i].status == skipped) || parts[i] == nil && !worse(a.parts[i], late))
	}
	b := append(append(w.buf, `{"id":`...), a.id...)
	b = append(append(b, `,"key":`...), a.key...)
	b = append(append(b, `,"status":"`...), joined(complete)...)
	b = strconv.AppendInt(append(b, `","revision":`...), int64(a.revision), 10)
	if a.note != nil {
		b = append(append(b, `,"error":`...), a.note...)
	}
	b = append(append(b, `,"source":`...), a.source...)
	b = append(b, `,"parts":{`...)
	for i, p := range w.g.c.Parts {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(jsontext.AppendString(b, p.Name), ':')
		switch {
		case parts[i] != nil:
			b = w.part(b, i, parts[i], sourced, limit)
		case a.parts[i] != nil:
			b = append(b, a.parts[i]...)
		default:
			b = w.part(b, i, &part{}, time.Time{}, 0)
		}
	}
	w.buf = append(b, "}}"...)
	return complete
}
