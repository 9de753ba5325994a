// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/lineage"
)

// A part that comes after its source was answered makes a revision: the answer
// as it stands in the output topic, with that part amended. Of the answers that may
// still be amended only the newest are kept in memory, which would have to hold an
// hour of them when a service is away for an hour; the others are found again in
// the topic.

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

// maxIndexed bounds an index.
const maxIndexed = 1 << 20

// lateIndex tells where the partial answers stand in the output topic, for the
// sources from first on, up to end. One that is full ends there, and is made
// anew for sources after that.
type lateIndex struct {
	answers    map[int64]int64 // source offset → offset of its newest answer; nil: not begun
	first, end int64
	next       int64 // the answer after the last one looked at
}

// late groups the records that came late for one source.
type lateGroup struct {
	source  int64 // its offset
	answer  int64 // offset of its newest answer
	records []lateRecord
}

// revise writes a revision for every source that a late record came for, and
// returns how many.
func (m *member) revise(ctx context.Context, w *window) (int, error) {
	late := w.late
	w.late = nil
	slices.SortStableFunc(late, func(a, b lateRecord) int { return cmp.Compare(a.offset, b.offset) })
	revised := 0
	var others []lateRecord // whose answers are to be found in the topic
	for len(late) > 0 {
		n := 1
		for n < len(late) && late[n].offset == late[0].offset {
			n++
		}
		if old := w.recent.get(late[0].offset); old != nil {
			done, err := m.amend(ctx, w, old, late[:n])
			if err != nil {
				return revised, m.amending(w, late[0].offset, err)
			}
			if done {
				revised++
			}
		} else {
			others = append(others, late[:n]...)
		}
		late = late[n:]
	}
	n, err := m.reviseOthers(ctx, w, others)
	return revised + n, err
}

func (m *member) amending(w *window, source int64, err error) error {
	return fmt.Errorf("amend the answer to %s/%d/%d: %w", m.g.c.Of, w.partition, source, err)
}

// reviseOthers amends answers that are to be found in the topic, in the sources'
// order.
func (m *member) reviseOthers(ctx context.Context, w *window, late []lateRecord) (int, error) {
	revised := 0
	for len(late) > 0 {
		met, err := m.index(ctx, w, late)
		if err != nil {
			return revised, fmt.Errorf("look for the answers to amend: %w", err)
		}
		n := 1
		for n < len(late) && (late[n].offset < w.index.end || late[n].offset == late[0].offset) {
			n++
		}
		amended, err := m.amendAll(ctx, w, late[:n], met)
		if err != nil {
			return revised, err
		}
		revised += amended
		late = late[n:]
	}
	return revised, nil
}

// amendAll writes the revisions of sources that are in the index. Met are the
// answers that were met when it was made, by offset.
func (m *member) amendAll(ctx context.Context, w *window, late []lateRecord, met map[int64]*broker.Record) (int, error) {
	var groups []lateGroup
	var answers []int64
	for _, l := range late {
		if n := len(groups); n > 0 && groups[n-1].source == l.offset {
			groups[n-1].records = append(groups[n-1].records, l)
		} else if answer, known := w.index.answers[l.offset]; known {
			groups = append(groups, lateGroup{l.offset, answer, []lateRecord{l}})
			if met[answer] == nil {
				answers = append(answers, answer)
			}
		}
	}
	old, err := m.fetch(ctx, m.g.c.To, w.partition, answers)
	if err != nil {
		return 0, fmt.Errorf("read the answers to amend: %w", err)
	}
	revised := 0
	for _, g := range groups {
		done, err := m.amend(ctx, w, cmp.Or(met[g.answer], old[g.answer]), g.records)
		if err != nil {
			return revised, m.amending(w, g.source, err)
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

// index brings the window's index up to date for the sources of late records and
// those between. It returns those of their answers that it met, by offset.
func (m *member) index(ctx context.Context, w *window, late []lateRecord) (met map[int64]*broker.Record, err error) {
	x, oldest := &w.index, late[0].offset
	from := broker.Offset(x.next)
	if x.answers == nil || oldest < x.first || oldest >= x.end {
		source, err := broker.First(ctx, m.g.b, m.g.c.Of, w.partition, broker.Offset(oldest))
		if err != nil {
			return nil, err
		}
		*x = lateIndex{answers: map[int64]int64{}, first: oldest, end: math.MaxInt64}
		from = broker.Start()
		if source != nil {
			from = since(source)
		}
	}
	wanted := make(map[int64]bool, len(late))
	for _, l := range late {
		wanted[l.offset] = true
	}
	met = map[int64]*broker.Record{}
	for r, err := range broker.Records(ctx, m.g.b, m.g.c.To, w.partition, from, broker.Position{}) {
		if err != nil {
			return nil, err
		}
		x.next = r.Offset + 1
		if _, source, ok := lineage.SourceIn(r.Header(lineage.JoinOf), m.g.c.Of); ok {
			x.note(source, r.Offset, string(r.Header(lineage.JoinStatus)) == lineage.JoinPartial, m.g.maxIndexed)
			if wanted[source] {
				met[r.Offset] = r
			}
		}
	}
	return met, nil
}

// note takes in an answer. First answers stand in the order of their sources, so
// one that is too many belongs to the last source so far.
func (x *lateIndex) note(source, at int64, partial bool, limit int) {
	switch {
	case source < x.first || source >= x.end:
	case !partial:
		delete(x.answers, source)
	default:
		x.answers[source] = at
		if len(x.answers) > limit {
			delete(x.answers, source)
			x.end = source
		}
	}
}

// amend writes a revision of an answer with the late records of its source. It
// reports false when they tell nothing that the answer does not say.
func (m *member) amend(ctx context.Context, w *window, old *broker.Record, late []lateRecord) (bool, error) {
	if old == nil {
		return false, nil
	}
	sourced, err := time.Parse(time.RFC3339Nano, string(old.Header(lineage.JoinTime)))
	if err != nil {
		sourced = old.Time
	}
	answer, readable := m.g.readAnswer(old)
	amended := make([]*part, len(answer.parts))
	news := false
	for _, l := range late {
		if amended[l.part] != nil || !worse(answer.parts[l.part], l.status()) {
			continue
		}
		p, err := m.latePart(ctx, w, l)
		if err != nil {
			return false, err
		}
		amended[l.part] = p
		news = news || p != nil
	}
	if !news {
		return false, nil
	}
	if !readable {
		m.cut("an answer that cannot be read is written anew with what came late", old)
	}
	if !m.writer.amend(w, old, &answer, amended, sourced) {
		m.cut("an answer leaves out what is too large with what came late", old)
	}
	return true, nil
}

// cut counts an answer that leaves something out, and says so, and logs one in a
// while.
func (m *member) cut(why string, of *broker.Record) {
	m.seen.Cut++
	now := time.Now()
	if now.Sub(m.cuts) < time.Minute {
		return
	}
	m.cuts = now
	source := of.Place().String()
	if id := of.Header(lineage.JoinOf); id != nil {
		source = shown(id)
	}
	m.g.c.Logger.Warn(why, "source", source, "bytes", of.Size())
}

// status is what the record makes of its part.
func (l *lateRecord) status() status {
	switch string(l.record.Header(lineage.Status)) {
	case lineage.StatusFailed:
		return failed
	case lineage.StatusSkipped:
		return skipped
	}
	return late
}

// latePart reads the whole answer of a service of which a record came late. The
// values of an item are settled together, so they stand in a row; those before
// this one may have come in time for nothing, as not all of them did.
func (m *member) latePart(ctx context.Context, w *window, l lateRecord) (*part, error) {
	p := &part{}
	id := l.record.Header(lineage.ID)
	index, count := 0, 1
	if path, err := lineage.Parse(string(id)); err == nil {
		_, index, count = path.Service()
	}
	if count == 1 {
		p.take(l.record)
	} else {
		from := broker.Offset(max(0, l.record.Offset-int64(index)))
		for r, err := range broker.Records(ctx, m.g.b, l.record.Topic, w.partition, from, broker.Position{}) {
			if err != nil {
				return nil, err
			}
			if !bytes.Equal(itemOf(r.Header(lineage.ID)), itemOf(id)) || p.take(r) {
				break
			}
		}
	}
	switch p.status {
	case missing:
		return nil, nil // some of the values were deleted
	case ok:
		p.status = late
	}
	return p, nil
}

// itemOf is what the ids of an item's several values have in common.
func itemOf(id []byte) []byte {
	if i := bytes.LastIndexByte(id, ':'); i > bytes.LastIndexByte(id, '/') {
		return id[:i]
	}
	return id
}
