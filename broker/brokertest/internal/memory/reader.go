// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

type reader struct {
	b       *Broker
	t       *topic
	cursors []cursor
	forever bool
	closed  bool
}

// cursor is a range of a partition's offsets.
type cursor struct {
	partition int
	next, end int64
}

// Read implements broker.Broker.
func (b *Broker) Read(_ context.Context, name string, partition int32, from, to broker.Position) (broker.Reader, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, broker.ErrClosed
	}
	t := b.topics[name]
	if t == nil && b.broken(ReadsUnknownTopic) {
		return &reader{b: b, t: &topic{}}, nil
	}
	if t == nil {
		return nil, fmt.Errorf("read %s: %w", name, broker.ErrUnknownTopic)
	}
	if partition < broker.AllPartitions || int(partition) >= t.Partitions {
		return nil, fmt.Errorf("read %s[%d]: the topic has %d partitions", name, partition, t.Partitions)
	}
	if to.IsZero() {
		to = broker.End()
	}
	r := &reader{b: b, t: t, forever: to.IsForever()}
	for p := range t.logs {
		if partition != broker.AllPartitions && int(partition) != p {
			continue
		}
		c := cursor{p, b.resolve(t, from, p), b.resolve(t, to, p)}
		if b.broken(ReadFromOffByOne) && !from.IsStart() {
			c.next++
		}
		if _, ok := to.Offset(); ok && b.broken(ReadToIncluded) {
			c.end++
		}
		if to.IsEnd() && b.broken(ReadEndMoves) {
			c.end = 1 << 60
		}
		r.cursors = append(r.cursors, c)
	}
	if b.broken(ReadMissesPartition) && len(r.cursors) > 1 {
		r.cursors = r.cursors[1:]
	}
	return r, nil
}

// Next implements broker.Reader.
func (r *reader) Next(ctx context.Context, most int) ([]broker.Record, error) {
	b := r.b
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		if b.closed || r.closed {
			return nil, broker.ErrClosed
		}
		if ctx.Err() != nil {
			if b.broken(ReadCancelSkips) {
				r.take(1)
			}
			return nil, ctx.Err()
		}
		if records := r.take(most); len(records) > 0 {
			return records, nil
		}
		if !r.forever {
			return nil, io.EOF
		}
		b.wait(ctx, time.Time{})
	}
}

func (r *reader) take(most int) []broker.Record {
	if r.b.broken(NextIgnoresMax) {
		most = 0
	}
	var records []broker.Record
	for i := range r.cursors {
		c := &r.cursors[i]
		log := r.t.logs[c.partition]
		end := int64(len(log))
		if !r.forever {
			end = min(end, c.end)
		}
		for ; c.next < end && (most == 0 || len(records) < most); c.next++ {
			records = append(records, log[c.next].Record)
		}
	}
	return records
}

// Close implements broker.Reader.
func (r *reader) Close() error {
	r.b.mu.Lock()
	defer r.b.mu.Unlock()
	r.closed = true
	r.b.wake()
	return nil
}
