// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"io"

	"github.com/millrace-ml/millrace/broker"
)

// nextBytes limits what Next returns.
const nextBytes = 4 << 20

// reader implements [broker.Cursor].
type reader struct {
	feed
	forever bool
}

// Read implements [broker.Driver].
func (d *driver) Read(ctx context.Context, name string, partitions []int32, from, to broker.Position) (broker.Cursor, error) {
	t, err := d.find(ctx, name)
	if err != nil {
		return nil, err
	}
	streams := make([]string, len(partitions))
	for i, p := range partitions {
		streams[i] = t.streams[p]
	}
	ends, err := d.ends(ctx, streams)
	if err != nil {
		return nil, err
	}
	r := &reader{feed: newFeed(d), forever: to.IsForever()}
	for i, p := range partitions {
		c := newCursor(t, p, position{last: ends[i].resolve(from)})
		if !r.forever {
			c.limit = ends[i].resolve(to)
			c.more = c.fetched < c.limit
		}
		r.cursors = append(r.cursors, c)
	}
	return r, nil
}

// Next implements [broker.Cursor].
func (r *reader) Next(ctx context.Context, most int) ([]broker.Record, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		room := nextBytes
		out, unread := r.cursors.take(nil, most, &room)
		if len(out) > 0 {
			for _, c := range r.cursors {
				c.pass()
			}
			return out, nil
		}
		if !unread && !r.forever {
			return nil, io.EOF
		}
		if !r.covered() && r.reading < mostReads {
			q := r.request(most, nextBytes)
			if r.forever {
				q.block = longestBlock
			}
			r.begin(q)
		}
		select {
		case a := <-r.answers:
			if err := r.arrived(ctx, a); err != nil {
				return nil, err
			}
		case <-ctx.Done():
		}
	}
}

// Close implements [broker.Cursor]. A read that is under way ends by itself.
func (r *reader) Close() error { return nil }
