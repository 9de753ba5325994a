// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"fmt"
	"io"
	"math"
	"sync/atomic"

	"github.com/millrace-ml/millrace/broker"
)

// readMax and readBytes limit what Next returns when its caller does not.
const (
	readMax   = 1024
	readBytes = 4 << 20
)

// reader implements [broker.Reader].
type reader struct {
	b       *Broker
	fetcher fetcher
	wake    *watcher
	forever bool
	closed  atomic.Bool
}

// Read implements [broker.Broker]. Between partitions the records that were
// appended first come first, as far as they are there.
func (b *Broker) Read(ctx context.Context, topic string, partition int32, from, to broker.Position) (broker.Reader, error) {
	if err := b.enter(); err != nil {
		return nil, err
	}
	defer b.life.RUnlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t, err := b.topic(topic)
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	partitions := t.partitions
	if partition != broker.AllPartitions {
		if partition < 0 || int(partition) >= len(t.partitions) {
			return nil, fmt.Errorf("read partition %d of topic %s, which has %d", partition, topic, len(t.partitions))
		}
		partitions = partitions[partition : partition+1]
	}
	if from.IsForever() {
		return nil, fmt.Errorf("read topic %s from %q: a reader cannot begin there", topic, from)
	}
	r := &reader{b: b, wake: newWatcher(), forever: to.IsForever(), fetcher: fetcher{b: b}}
	if to.IsZero() {
		to = broker.End()
	}
	for _, p := range partitions {
		c := &cursor{p: p, limit: math.MaxInt64}
		if c.next, err = b.resolve(p, from); err != nil {
			return nil, err
		}
		if !r.forever {
			if c.limit, err = b.resolve(p, to); err != nil {
				return nil, err
			}
		}
		r.fetcher.cursors = append(r.fetcher.cursors, c)
	}
	if r.forever {
		for _, p := range partitions {
			p.watch(r.wake)
		}
	}
	return r, nil
}

// Next implements [broker.Reader].
func (r *reader) Next(ctx context.Context, max int) ([]broker.Record, error) {
	if err := r.b.enter(); err != nil {
		return nil, err
	}
	defer r.b.life.RUnlock()
	if max <= 0 || max > readMax {
		max = readMax
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if r.closed.Load() {
			return nil, broker.ErrClosed
		}
		n := min(int64(max), r.fetcher.available())
		if n > 0 {
			out, _, err := r.fetcher.fetch(make([]broker.Record, 0, n), max, readBytes)
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
		case <-r.b.done:
			return nil, r.b.ended()
		}
	}
}

// Close implements [broker.Reader]. It may be called while Next waits.
func (r *reader) Close() error {
	if r.closed.Swap(true) {
		return nil
	}
	for _, c := range r.fetcher.cursors {
		c.p.unwatch(r.wake)
	}
	r.wake.wake()
	return nil
}
