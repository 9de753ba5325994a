// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/sanitize"
	"github.com/millrace-ml/millrace/lineage"
	"github.com/millrace-ml/millrace/model"
)

// batch turns polled records into results. It is reused: its buffers grow to
// the size of the largest batch and then stay.
type batch struct {
	s       *Service
	handle  *broker.Batch
	records []broker.Record
	seen    Observation
	predictor
	item  []int // record → index of its item, or -1 for a marker
	cuts  []cut // record → what its marker and dead letter go without, for lack of room
	again bool  // they are dead letters: a failure is marked in the topic already

	spans   []span
	made    []broker.Record
	madeBy  []int // result → record, to find who made one too large
	headers []broker.Header
	ids     []byte
}

func newBatch(s *Service) *batch { return &batch{s: s, predictor: predictor{s: s}} }

// begin takes polled records.
func (b *batch) begin(records []broker.Record) {
	b.records = b.s.received(records)
	b.seen = Observation{Records: len(records)}
	b.items, b.item, b.spans = b.items[:0], b.item[:0], b.spans[:0]
	b.cuts = append(b.cuts[:0], make([]cut, len(records))...)
	oldest := time.Time{}
	for i := range records {
		r := &b.records[i]
		b.seen.Bytes += r.Size()
		if oldest.IsZero() || r.Time.Before(oldest) {
			oldest = r.Time
		}
		if r.Header(lineage.Status) != nil {
			b.item = append(b.item, -1)
			continue
		}
		b.item = append(b.item, len(b.items))
		b.items = append(b.items, model.Item{Key: r.Key, Value: r.Value, Headers: r.Headers})
	}
	b.seen.Queueing = max(0, time.Since(oldest))
	b.out = append(b.out[:0], make([]outcome, len(b.items))...)
}

// received returns polled records as the service takes them: those of its sources
// without what their headers say of a lineage, which is anyone's to write.
func (s *Service) received(records []broker.Record) []broker.Record {
	if len(s.c.Sources) == 0 {
		return records
	}
	owned := false
	for i := range records {
		if !slices.Contains(s.c.Sources, records[i].Topic) || !slices.ContainsFunc(records[i].Headers, reserved) {
			continue
		}
		if !owned {
			records, owned = slices.Clone(records), true // what was polled is not to be changed
		}
		records[i].Headers = slices.DeleteFunc(slices.Clone(records[i].Headers), reserved)
	}
	return records
}

func reserved(h broker.Header) bool { return lineage.Reserved(h.Key) }

// predict fills the outcomes. Errors are those of [predictor.run].
func (b *batch) predict(ctx context.Context) error {
	b.startSpans(ctx)
	began := time.Now()
	b.calls = 0
	err := b.run(ctx)
	b.seen.Predict = time.Since(began)
	b.seen.Retries = max(0, b.calls-1)
	return err
}

// results are the records to publish: for each input its values or a marker,
// and the dead letters. They are valid until the next call.
func (b *batch) results() []broker.Record {
	b.made, b.madeBy, b.headers, b.ids = b.made[:0], b.madeBy[:0], b.headers[:0], b.ids[:0]
	b.seen.Values, b.seen.Failed, b.seen.Skipped, b.seen.Passed = 0, 0, 0, 0
	for i := range b.records {
		r := &b.records[i]
		if b.item[i] < 0 {
			b.seen.Passed++
			b.pass(i, r)
			continue
		}
		switch o := &b.out[b.item[i]]; {
		case o.err != nil:
			b.seen.Failed++
			if !b.again {
				b.mark(i, r, lineage.StatusFailed, b.s.c.Name+": "+o.err.text, o.attempts)
			}
			b.bury(i, r, o)
		case len(o.values) == 0:
			b.seen.Skipped++
			b.mark(i, r, lineage.StatusSkipped, "", o.attempts)
		default:
			b.seen.Values += len(o.values)
			for n, v := range o.values {
				b.add(i, broker.Record{
					Topic: b.s.c.To, Partition: r.Partition, Pinned: true,
					Key: r.Key, Value: v, Headers: b.head(i, r, n, len(o.values), o.attempts),
				})
			}
		}
	}
	return b.made
}

// add takes a record that is made of record i.
func (b *batch) add(i int, made broker.Record) {
	b.made = append(b.made, made)
	b.madeBy = append(b.madeBy, i)
}

// head begins the headers of a result: who it is and who made it.
func (b *batch) head(i int, r *broker.Record, index, count, attempts int) []broker.Header {
	from := len(b.ids)
	b.ids = lineage.AppendChild(b.ids, r, b.s.c.Name, index, count)
	start := len(b.headers)
	b.headers = append(b.headers,
		broker.Header{Key: lineage.ID, Value: b.ids[from:len(b.ids):len(b.ids)]},
		broker.Header{Key: lineage.Model, Value: b.s.model})
	if attempts > 1 {
		b.headers = append(b.headers, broker.Header{Key: lineage.Attempts, Value: strconv.AppendInt(nil, int64(attempts), 10)})
	}
	if parent := b.traceparent(i, r); parent != nil {
		b.headers = append(b.headers, broker.Header{Key: lineage.Traceparent, Value: parent})
	}
	return b.headers[start:len(b.headers):len(b.headers)]
}

// mark says downstream that there is no value, and why.
func (b *batch) mark(i int, r *broker.Record, status, why string, attempts int) {
	headers := append(b.head(i, r, 0, 1, attempts), broker.Header{Key: lineage.Status, Value: []byte(status)})
	if why != "" {
		headers = append(headers, broker.Header{Key: lineage.Error, Value: []byte(sanitize.Cut(why, maxText))})
	}
	b.addMarker(i, r, headers)
}

// pass hands a marker on: what failed or was skipped upstream is so here.
func (b *batch) pass(i int, r *broker.Record) {
	headers := append(b.head(i, r, 0, 1, 1), broker.Header{Key: lineage.Status, Value: bounded(r.Header(lineage.Status), maxStatus)})
	if why := r.Header(lineage.Error); why != nil {
		headers = append(headers, broker.Header{Key: lineage.Error, Value: bounded(why, maxText)})
	}
	b.addMarker(i, r, headers)
}

// end lets go of the records.
func (b *batch) end() {
	b.handle, b.records = nil, nil
	clear(b.items)
	clear(b.out)
	clear(b.made)
}
