// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"context"
	"io"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

type reader struct {
	b       *Broker
	t       *topic
	cursors []cursor
	forever bool
	skip    bool // the next record (for a fault)
}

// cursor is a range of a partition's offsets.
type cursor struct {
	partition int
	next, end int64
}

// Read implements broker.Driver.
func (b *Broker) Read(_ context.Context, name string, partitions []int32, from, to broker.Position) (broker.Cursor, error) {
	if err := b.enter(); err != nil {
		return nil, err
	}
	defer b.mu.Unlock()
	t := b.topics[name]
	r := &reader{b: b, t: t, forever: to.IsForever()}
	for _, p := range partitions {
		c := cursor{int(p), b.resolve(t, from, int(p)), b.resolve(t, to, int(p))}
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

// Next implements broker.Cursor.
func (r *reader) Next(ctx context.Context, most int) ([]broker.Record, error) {
	b := r.b
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		if b.gone {
			return nil, errGone
		}
		if ctx.Err() != nil {
			r.skip = b.broken(ReadCancelSkips)
			return nil, ctx.Err()
		}
		if r.skip && len(r.take(1)) > 0 {
			r.skip = false
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

// Close implements broker.Cursor.
func (r *reader) Close() error { return nil }
