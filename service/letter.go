// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/sanitize"
	"github.com/millrace-ml/millrace/lineage"
)

// Letter is a dead letter, taken apart.
type Letter struct {
	Service  string
	Model    string // and version
	Attempts int    // predictions so far, those of earlier letters about the record too
	Error    string
	Stack    string // empty unless the model panicked
	Cut      bool   // Record's value, and perhaps its key and headers, are left out: they stand at its place only

	// Record is what the service failed on, as it came, with its place and
	// without its time.
	Record broker.Record
}

// ReadLetter takes a record of a dead-letter topic apart.
func ReadLetter(r *broker.Record) (Letter, error) {
	l := Letter{
		Service: string(r.Header(lineage.DeadService)),
		Model:   string(r.Header(lineage.DeadModel)),
		Error:   string(r.Header(lineage.Error)),
		Stack:   string(r.Header(lineage.DeadStack)),
		Cut:     r.Header(lineage.DeadCut) != nil,
	}
	place, err := lineage.Parse(string(r.Header(lineage.DeadRecord)))
	if l.Service == "" || err != nil || place.Steps != "" {
		return Letter{}, fmt.Errorf("%s[%d] offset %d is not a dead letter: its headers do not tell which record a service failed on", r.Topic, r.Partition, r.Offset)
	}
	l.Attempts, _ = strconv.Atoi(string(r.Header(lineage.Attempts))) // 0 where it says nothing
	s := place.Source
	l.Record = broker.Record{Topic: s.Topic, Partition: s.Partition, Offset: s.Offset, Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		if lineage.OfDeadLetter(h.Key) || h.Key == lineage.ID && string(h.Value) == s.String() {
			continue
		}
		l.Record.Headers = append(l.Record.Headers, h)
	}
	return l, nil
}

// bury makes a dead letter: the record as it came, with what went wrong.
func (b *batch) bury(i int, r *broker.Record, o *outcome) {
	own := []broker.Header{
		{Key: lineage.DeadService, Value: []byte(b.s.c.Name)},
		{Key: lineage.DeadRecord, Value: []byte(lineage.PlaceOf(r).String())},
		{Key: lineage.DeadModel, Value: b.s.model},
		{Key: lineage.Error, Value: []byte(o.err.text)},
		{Key: lineage.Attempts, Value: strconv.AppendInt(nil, int64(o.attempts), 10)},
	}
	if o.err.stack != nil {
		own = append(own, broker.Header{Key: lineage.DeadStack, Value: []byte(sanitize.Cut(string(o.err.stack), maxText))})
	}
	b.addLetter(i, r, own)
}

// logLetters says which dead letters there are now.
func (b *batch) logLetters() {
	for i := range b.records {
		if b.item[i] < 0 || b.out[b.item[i]].err == nil {
			continue
		}
		place, o := lineage.PlaceOf(&b.records[i]).String(), &b.out[b.item[i]]
		if b.cuts[i] == cutAll {
			b.s.c.Logger.Error("a record has no answer and no dead letter: the broker takes neither", "record", place, "error", o.err.text)
			continue
		}
		b.s.c.Logger.Warn("dead letter", "record", place, "attempts", o.attempts, "error", o.err.text)
	}
}

// Retry predicts again on dead letters of this service, outside of its group and
// with the same number of attempts, as many at once as a batch has records at
// most, and hands settle what follows, all of it at once: for each letter its answer, with the lineage that it would have had, or a new letter
// when the model fails again. The topic has the marker of the failure already
// and gets no second one. Settle is called again, with less, when it refuses a
// record ([broker.ErrTooLarge]); Retry returns its last error. When the model is to
// blame, as it answers nothing or says so, the error is a [model.ErrUnavailable],
// and settle is not called.
func (s *Service) Retry(ctx context.Context, letters []Letter, settle func(results []broker.Record) error) (Observation, error) {
	if err := s.fits(ctx); err != nil {
		return Observation{}, fmt.Errorf("service %s: %w", s.c.Name, err)
	}
	batch := newBatch(s)
	batch.again, batch.hasty = true, true
	records := make([]broker.Record, len(letters))
	for i := range letters {
		records[i] = letters[i].Record
	}
	batch.begin(records)
	batch.seen.Queueing = 0 // when the records came is not known
	for i := range batch.out {
		batch.out[i].attempts = letters[i].Attempts
	}
	if err := batch.predict(ctx); err != nil {
		return Observation{}, fmt.Errorf("service %s: %w", s.c.Name, err)
	}
	defer batch.endSpans()
	for {
		err := settle(batch.results())
		if errors.Is(err, broker.ErrTooLarge) && batch.tooLarge(err) {
			continue
		}
		if err == nil {
			batch.logLetters()
		}
		return batch.seen, err
	}
}
