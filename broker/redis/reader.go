// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/millrace-ml/millrace/broker"
)

// nextRecords and nextBytes limit what Next returns when its caller does not.
const (
	nextRecords = 1024
	nextBytes   = 4 << 20
)

// reader implements [broker.Reader].
type reader struct {
	feed
	topic   string
	forever bool
	close   sync.Once
	closed  chan struct{}
}

// Read implements [broker.Broker]. Between partitions the records that were
// appended first come first, as far as they are there.
func (b *Broker) Read(ctx context.Context, name string, partition int32, from, to broker.Position) (broker.Reader, error) {
	found, err := b.find(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	t := found[0]
	if partition != broker.AllPartitions && (partition < 0 || int(partition) >= len(t.streams)) {
		return nil, fmt.Errorf("read partition %d of topic %s, which has %d", partition, name, len(t.streams))
	}
	if from.IsForever() {
		return nil, fmt.Errorf("read topic %s from %q: a reader cannot begin there", name, from)
	}
	ends, err := b.ends(ctx, t.streams)
	if err != nil {
		return nil, fmt.Errorf("read topic %s: %w", name, err)
	}
	if to.IsZero() {
		to = broker.End()
	}
	r := &reader{feed: newFeed(b), topic: name, forever: to.IsForever(), closed: make(chan struct{})}
	for p := range t.streams {
		if partition != broker.AllPartitions && int32(p) != partition {
			continue
		}
		c := newCursor(t, int32(p), position{last: ends[p].resolve(from)})
		if !r.forever {
			c.limit = ends[p].resolve(to)
			c.more = c.fetched < c.limit
		}
		r.cursors = append(r.cursors, c)
	}
	return r, nil
}

// Next implements [broker.Reader].
func (r *reader) Next(ctx context.Context, most int) ([]broker.Record, error) {
	if most <= 0 || most > nextRecords {
		most = nextRecords
	}
	for {
		if err := r.check(ctx); err != nil {
			return nil, err
		}
		room := nextBytes
		out, held := r.take(nil, most, &room)
		r.settle()
		if len(out) > 0 {
			return out, nil
		}
		if !held && !r.forever {
			return nil, io.EOF
		}
		if err := r.ask(most); err != nil {
			return nil, err
		}
		select {
		case a := <-r.answers:
			if err := r.arrived(ctx, a); err != nil {
				return nil, fmt.Errorf("read topic %s: %w", r.topic, err)
			}
		case <-ctx.Done():
		case <-r.closed:
		case <-r.b.life.Done():
		}
	}
}

func (r *reader) check(ctx context.Context) error {
	select {
	case <-r.closed:
		return broker.ErrClosed
	default:
	}
	return r.b.check(ctx)
}

// ask begins a read unless one that will do is under way.
func (r *reader) ask(most int) error {
	if r.latest != nil && r.latest.covers(r.cursors) || r.reading == mostReads {
		return nil
	}
	q := r.request(most, nextBytes)
	if r.forever {
		q.block = longestBlock
	}
	return r.begin(q)
}

// settle forgets what was returned.
func (r *reader) settle() {
	for _, c := range r.cursors {
		c.settle()
	}
}

// Close implements [broker.Reader]. It may be called while Next waits.
func (r *reader) Close() error {
	r.close.Do(func() { close(r.closed) })
	return nil
}
