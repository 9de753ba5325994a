// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"cmp"
	"context"
	"io"
	"math"

	"github.com/millrace-ml/millrace/broker"
)

// readBytes is about how much Next returns at most.
const readBytes = 4 << 20

// reader implements [broker.Cursor].
type reader struct {
	d       *driver
	fetcher fetcher
	wake    *watcher
	forever bool
}

// Read implements [broker.Driver]. Between partitions the records that were
// appended first come first, as far as they are there.
func (d *driver) Read(_ context.Context, topic string, partitions []int32, from, to broker.Position) (broker.Cursor, error) {
	if err := d.failure.get(); err != nil {
		return nil, err
	}
	t, err := d.topic(topic)
	if err != nil {
		return nil, err
	}
	r := &reader{d: d, wake: newWatcher(), forever: to.IsForever(), fetcher: fetcher{d: d}}
	for _, i := range partitions {
		c := &cursor{p: t.partitions[i], limit: math.MaxInt64}
		if c.p.damaged != nil {
			return nil, c.p.damaged
		}
		if c.next, err = d.resolve(c.p, from); err != nil {
			return nil, err
		}
		if !r.forever {
			if c.limit, err = d.resolve(c.p, to); err != nil {
				return nil, err
			}
		}
		r.fetcher.cursors = append(r.fetcher.cursors, c)
	}
	if r.forever {
		for _, c := range r.fetcher.cursors {
			c.p.watch(r.wake)
		}
	}
	return r, nil
}

// Next implements [broker.Cursor].
func (r *reader) Next(ctx context.Context, atMost int) ([]broker.Record, error) {
	for {
		if err := cmp.Or(ctx.Err(), r.d.failure.get()); err != nil {
			return nil, err
		}
		if n := min(int64(atMost), r.fetcher.available()); n > 0 {
			out, _, err := r.fetcher.fetch(make([]broker.Record, 0, n), atMost, readBytes)
			if err != nil {
				return nil, err
			}
			if len(out) > 0 {
				return out, nil
			}
		}
		if !r.forever {
			return nil, io.EOF
		}
		select {
		case <-r.wake.ch:
		case <-ctx.Done():
		case <-r.d.failure.failed:
		}
	}
}

// Close implements [broker.Cursor].
func (r *reader) Close() error {
	if r.forever {
		for _, c := range r.fetcher.cursors {
			c.p.unwatch(r.wake)
		}
	}
	return nil
}
