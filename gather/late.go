// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/lineage"
)

// A part that comes after its source was answered makes a revision: the answer
// as it stands in the output topic, with that part mended. Answers that may
// still be mended are not kept in memory, which would have to hold an hour of
// them when a service is away for an hour; they are found again in the topic.

// lateRecord is a part of a source that is answered already.
type lateRecord struct {
	offset int64 // of the source
	part   int
	record *broker.Record
}

// maxAnswered bounds the answers that are remembered as needing no look-up.
const maxAnswered = 1 << 16

// answered remembers which parts the partial answers given last hold, so that a
// marker that arrives after all needs no look-up.
type answered struct {
	parts map[int64]uint64 // source offset → bit set of parts that are not missing
	order []int64
}

func (a *answered) put(j *join) {
	if a.parts == nil {
		a.parts = map[int64]uint64{}
	}
	if len(a.order) >= maxAnswered {
		for _, old := range a.order[:maxAnswered/4] {
			delete(a.parts, old)
		}
		a.order = append(a.order[:0], a.order[maxAnswered/4:]...)
	}
	var there uint64
	for i := range j.parts {
		if j.parts[i].status != missing {
			there |= 1 << i
		}
	}
	a.parts[j.source.Offset] = there
	a.order = append(a.order, j.source.Offset)
}

func (a *answered) has(offset int64, part int) bool { return a.parts[offset]&(1<<part) != 0 }

// maxIndexed bounds an index. Beyond it the oldest half is let go of.
const maxIndexed = 1 << 20

// lateIndex tells where the partial answers stand in the output topic.
type lateIndex struct {
	answers map[int64]int64 // source offset → offset of its newest answer
	from    time.Time       // answers appended since are in it
	next    int64           // the answer after the last one looked at
	begun   bool
}

// late groups the records that came late for one source.
type lateGroup struct {
	source  int64 // its offset
	answer  int64 // offset of its newest answer
	records []lateRecord
}

// revise writes a revision for every source that a late record came for, in the
// sources' order, and returns how many.
func (m *member) revise(ctx context.Context, w *window) (int, error) {
	late := w.late
	w.late = nil
	slices.SortStableFunc(late, func(a, b lateRecord) int { return cmp.Compare(a.offset, b.offset) })
	if err := m.index(ctx, w, late[0].offset); err != nil {
		return 0, fmt.Errorf("look for the answers to mend: %w", err)
	}
	var groups []lateGroup
	var answers []int64
	for _, l := range late {
		if n := len(groups); n > 0 && groups[n-1].source == l.offset {
			groups[n-1].records = append(groups[n-1].records, l)
		} else if answer, known := w.index.answers[l.offset]; known {
			groups = append(groups, lateGroup{l.offset, answer, []lateRecord{l}})
			answers = append(answers, answer)
		}
	}
	old, err := m.fetch(ctx, m.g.c.To, w.partition, answers)
	if err != nil {
		return 0, fmt.Errorf("read the answers to mend: %w", err)
	}
	revised := 0
	for _, g := range groups {
		done, err := m.mend(ctx, w, old[g.answer], g.records)
		if err != nil {
			return revised, fmt.Errorf("mend the answer to %s/%d/%d: %w", m.g.c.Of, w.partition, g.source, err)
		}
		if done {
			revised++
		}
	}
	return revised, nil
}

// near is how many records it is cheaper to read on than to seek.
const near = 4096

// fetch reads the records at the offsets, with as few seeks as are worth while.
// Records that are no longer there are left out.
func (m *member) fetch(ctx context.Context, topic string, partition int32, offsets []int64) (map[int64]*broker.Record, error) {
	slices.Sort(offsets)
	found := make(map[int64]*broker.Record, len(offsets))
	for len(offsets) > 0 {
		from := broker.Offset(offsets[0])
		for r, err := range broker.Records(ctx, m.g.b, topic, partition, from, broker.Offset(offsets[len(offsets)-1]+1)) {
			if err != nil {
				return nil, err
			}
			for len(offsets) > 0 && offsets[0] < r.Offset {
				offsets = offsets[1:]
			}
			if len(offsets) == 0 || offsets[0]-r.Offset > near {
				break
			}
			if offsets[0] == r.Offset {
				found[r.Offset] = r
				offsets = offsets[1:]
			}
		}
		if len(offsets) > 0 && broker.Offset(offsets[0]) == from {
			offsets = offsets[1:] // nothing is there or after it
		}
	}
	return found, nil
}

// index brings the window's index up to date for sources from oldest on.
func (m *member) index(ctx context.Context, w *window, oldest int64) error {
	source, err := broker.First(ctx, m.g.b, m.g.c.Of, w.partition, broker.Offset(oldest))
	if err != nil || source == nil {
		return err
	}
	since := source.Time
	x := &w.index
	from := broker.Offset(x.next)
	if !x.begun || since.Before(x.from) {
		*x = lateIndex{answers: map[int64]int64{}, from: since, begun: true}
		from = broker.At(since)
	}
	for r, err := range broker.Records(ctx, m.g.b, m.g.c.To, w.partition, from, broker.Position{}) {
		if err != nil {
			return err
		}
		x.next = r.Offset + 1
		_, source, ok := lineage.SourceIn(r.Header(HeaderOf), m.g.c.Of)
		switch {
		case !ok:
		case string(r.Header(HeaderStatus)) == "partial":
			x.answers[source] = r.Offset
			x.bound(source)
		default:
			delete(x.answers, source)
		}
	}
	return nil
}

func (x *lateIndex) bound(newest int64) {
	if len(x.answers) <= maxIndexed {
		return
	}
	for source := range x.answers {
		if source < newest-maxIndexed/2 {
			delete(x.answers, source)
		}
	}
}

// answerJSON is a gathered record.
type answerJSON struct {
	ID       json.RawMessage            `json:"id"`
	Key      json.RawMessage            `json:"key"`
	Status   string                     `json:"status"`
	Revision int                        `json:"revision"`
	Source   json.RawMessage            `json:"source"`
	Parts    map[string]json.RawMessage `json:"parts"`
}

// mend writes a revision of an answer with the late records of its source. It
// reports false when they tell nothing that the answer does not say.
func (m *member) mend(ctx context.Context, w *window, old *broker.Record, late []lateRecord) (bool, error) {
	if old == nil {
		return false, nil
	}
	sourced, err := time.Parse(time.RFC3339Nano, string(old.Header(headerTime)))
	if err != nil {
		return false, fmt.Errorf("the answer at offset %d has no time of its source: %w", old.Offset, err)
	}
	var answer answerJSON
	if err := json.Unmarshal(old.Value, &answer); err != nil {
		return false, fmt.Errorf("the answer at offset %d: %w", old.Offset, err)
	}
	changed := false
	for _, l := range late {
		p, err := m.latePart(ctx, w, l)
		if err != nil {
			return false, err
		}
		name := m.g.c.Parts[l.part].Name
		if p == nil || !worse(answer.Parts[name], p.status) {
			continue
		}
		answer.Parts[name] = m.writer.part(nil, l.part, p, sourced, m.g.c.MaxRecordBytes/8)
		changed = true
	}
	if !changed {
		return false, nil
	}
	m.writer.revision(w, old, &answer)
	return true, nil
}

// latePart reads the whole answer of a service whose first record came late.
func (m *member) latePart(ctx context.Context, w *window, l lateRecord) (*part, error) {
	p := &part{}
	if path, err := lineage.Of(l.record); err == nil {
		if _, index, _ := path.Service(); index > 0 {
			return nil, nil // the first of the values has brought this one along
		}
	}
	// The values of an item are settled together, so the others are there.
	done := p.take(l.record)
	if !done {
		for r, err := range broker.Records(ctx, m.g.b, l.record.Topic, w.partition, broker.Offset(l.record.Offset+1), broker.Position{}) {
			if err != nil {
				return nil, err
			}
			if done = p.take(r); done {
				break
			}
		}
	}
	if !done {
		return nil, nil
	}
	if p.status == ok {
		p.status = late
	}
	return p, nil
}

// worse reports whether a part of an answer says less than one with the status:
// a missing part can be mended by anything, a failed one by a value.
func worse(old json.RawMessage, by status) bool {
	var part struct {
		Status string `json:"status"`
	}
	if json.Unmarshal(old, &part) != nil {
		return true
	}
	switch part.Status {
	case missing.String():
		return true
	case failed.String():
		return by != failed
	}
	return false
}

// revision writes a mended answer.
func (w *writer) revision(win *window, old *broker.Record, a *answerJSON) {
	complete := true
	for _, p := range w.g.c.Parts {
		if raw, there := a.Parts[p.Name]; !there || worse(raw, late) {
			complete = false
		}
	}
	status := "partial"
	if complete {
		status = "complete"
	}
	a.Revision++
	at := len(w.buf)
	b := append(w.buf, `{"id":`...)
	b = append(b, a.ID...)
	b = append(b, `,"key":`...)
	b = append(b, a.Key...)
	b = fmt.Appendf(b, `,"status":%q,"revision":%d,"source":`, status, a.Revision)
	b = append(b, a.Source...)
	b = append(b, `,"parts":{`...)
	for i, p := range w.g.c.Parts {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, p.Name)
		b = append(b, ':')
		if raw, there := a.Parts[p.Name]; there {
			b = append(b, raw...)
		} else {
			b = w.part(b, i, &part{}, time.Time{}, 0)
		}
	}
	w.buf = append(b, "}}"...)
	w.record(win, old.Key, w.buf[at:len(w.buf):len(w.buf)], answerOf{
		of: old.Header(HeaderOf), at: old.Header(headerTime), revision: a.Revision, complete: complete, parent: old.Header(lineage.Traceparent),
	})
}
