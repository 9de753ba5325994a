// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// What is copied of a log at a time, at most about.
const (
	chunkRecords = 4096
	chunkBytes   = 4 << 20
)

// log is a partition of a topic on its way.
type log struct {
	t         *Transfer
	topic     string
	partition int32
	end       int64 // where the source ended when the copying began

	source  *broker.Reader
	hand    []broker.Record // read and not yet rewritten
	drained bool            // there is nothing more to read
	busy    bool            // advance is under way

	next    int64           // the source's offset after the last record rewritten
	pending []broker.Record // rewritten, and not yet known to be in the copy
	from    []int64         // their offsets in the source

	// What an earlier run has copied is read and compared; the rest is appended,
	// and read as well: that tells the offsets that it got.
	found   *broker.Reader
	seen    []broker.Record
	fresh   bool  // all that was there before is compared
	copyEnd int64 // the copy's offset after the last record compared
	offsets offsets
}

// fill reads until there is a chunk at hand, or all there is.
func (l *log) fill(ctx context.Context) error {
	if l.drained {
		return nil
	}
	if l.source == nil {
		r, err := l.t.c.From.Read(ctx, l.topic, l.partition, broker.Start(), broker.Offset(l.end))
		if err != nil {
			return err
		}
		l.source = r
	}
	size := sizeOf(l.hand)
	for len(l.hand) < chunkRecords && size < chunkBytes {
		records, err := l.source.Next(ctx, chunkRecords-len(l.hand))
		if errors.Is(err, io.EOF) {
			l.drained = true
			return l.source.Close()
		}
		if err != nil {
			return fmt.Errorf("read %s[%d]: %w", l.topic, l.partition, err)
		}
		size += sizeOf(records)
		l.hand = append(l.hand, records...)
	}
	return nil
}

func sizeOf(records []broker.Record) (n int) {
	for i := range records {
		n += records[i].Size()
	}
	return n
}

// reach copies at least what stands up to an offset.
func (l *log) reach(ctx context.Context, offset int64) error {
	switch {
	case offset >= l.next && l.busy:
		return nil // it would be named by a record before it: there is no such thing
	case offset >= l.next:
		return l.advance(ctx, time.Time{}, offset)
	case len(l.from) > 0 && offset >= l.from[0]:
		return l.flush(ctx)
	}
	return nil
}

// advance copies the records at hand that were appended until a time, and
// whatever stands up to an offset.
func (l *log) advance(ctx context.Context, until time.Time, offset int64) error {
	l.busy = true
	defer func() { l.busy = false }()
	for {
		if err := l.fill(ctx); err != nil {
			return err
		}
		for len(l.hand) > 0 && (!l.hand[0].Time.After(until) || l.hand[0].Offset <= offset) {
			r := &l.hand[0]
			made, err := l.t.rewrite(ctx, r)
			if err != nil {
				return err
			}
			l.pending, l.from = append(l.pending, made), append(l.from, r.Offset)
			l.next, l.hand = r.Offset+1, l.hand[1:]
		}
		if err := l.flush(ctx); err != nil {
			return err
		}
		if l.drained || len(l.hand) > 0 || l.next > offset {
			if l.drained && len(l.hand) == 0 {
				l.next = math.MaxInt64
			}
			return nil
		}
	}
}

// flush makes the copy hold what is pending.
func (l *log) flush(ctx context.Context) error {
	if err := l.compareFound(ctx); err != nil || len(l.pending) == 0 {
		return err
	}
	if _, err := l.t.c.To.Publish(ctx, l.pending...); err != nil {
		return fmt.Errorf("copy %s[%d]: %w", l.topic, l.partition, l.named(err))
	}
	l.t.progress.Copied += int64(len(l.pending))
	l.t.copied[l.topic] += int64(len(l.pending))
	r, err := l.t.c.To.Read(ctx, l.topic, l.partition, broker.Offset(l.copyEnd), broker.Position{})
	if err != nil {
		return fmt.Errorf("read what was copied: %w", err)
	}
	defer r.Close()
	for len(l.pending) > 0 {
		records, err := r.Next(ctx, len(l.pending))
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%d records that were copied to %s[%d] are not there: does its retention delete them?", len(l.pending), l.topic, l.partition)
		}
		if err != nil {
			return fmt.Errorf("read what was copied: %w", err)
		}
		for i := range records {
			if err := l.compare(&records[i]); err != nil {
				return err
			}
		}
	}
	return l.t.report(ctx)
}

// named adds to an error which record it is about.
func (l *log) named(err error) error {
	if large, ok := errors.AsType[*broker.TooLargeError](err); ok && large.Index >= 0 && large.Index < len(l.from) {
		return fmt.Errorf("the record at offset %d: %w", l.from[large.Index], err)
	}
	return err
}

// compareFound compares what is pending with what an earlier run has copied.
func (l *log) compareFound(ctx context.Context) error {
	for len(l.pending) > 0 && !l.fresh {
		r, err := l.nextFound(ctx)
		if err != nil {
			return err
		}
		if r == nil {
			l.fresh = true
			break
		}
		if err := l.compare(r); err != nil {
			return err
		}
		l.t.progress.There++
	}
	return l.t.report(ctx)
}

// nextFound is the next record that was in the copy before, or nil.
func (l *log) nextFound(ctx context.Context) (*broker.Record, error) {
	if l.found == nil {
		r, err := l.t.c.To.Read(ctx, l.topic, l.partition, broker.Offset(l.copyEnd), broker.Position{})
		if err != nil {
			return nil, fmt.Errorf("read what is copied: %w", err)
		}
		l.found = r
	}
	if len(l.seen) == 0 {
		records, err := l.found.Next(ctx, 0)
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read what is copied: %w", err)
		}
		l.seen = records
	}
	r := &l.seen[0]
	l.seen = l.seen[1:]
	return r, nil
}

// compare notes where the first pending record is in the copy.
func (l *log) compare(r *broker.Record) error {
	if len(l.pending) == 0 || !same(r, &l.pending[0]) {
		return fmt.Errorf("%w: %s[%d] has another record at offset %d", ErrOccupied, l.topic, l.partition, r.Offset)
	}
	l.offsets.add(l.from[0], r.Offset)
	l.copyEnd = r.Offset + 1
	l.pending, l.from = l.pending[1:], l.from[1:]
	return nil
}

func same(a, b *broker.Record) bool {
	return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value) && slices.EqualFunc(a.Headers, b.Headers, func(x, y broker.Header) bool {
		return x.Key == y.Key && bytes.Equal(x.Value, y.Value)
	})
}

// finish checks that the copy has nothing beside what was copied: neither from
// before, nor from somebody who writes to it at the same time.
func (l *log) finish(ctx context.Context) error {
	l.close()
	l.found, l.seen = nil, nil
	r, err := l.nextFound(ctx)
	if err == nil && r != nil {
		err = fmt.Errorf("%w: %s[%d] has more records, from offset %d on", ErrOccupied, l.topic, l.partition, r.Offset)
	}
	l.close()
	return err
}

func (l *log) close() {
	for _, r := range []*broker.Reader{l.source, l.found} {
		if r != nil {
			r.Close()
		}
	}
	l.hand, l.pending, l.from, l.seen = nil, nil, nil, nil
}
