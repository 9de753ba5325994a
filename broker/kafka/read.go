// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace-ml/millrace/broker"
)

// readBytes is what a reader fetches of a partition at a time.
const readBytes = 1 << 20

// Read implements [broker.Driver].
func (d *driver) Read(ctx context.Context, topic string, partitions []int32, from, to broker.Position) (broker.Cursor, error) {
	c, err := d.read(ctx, topic, partitions, from, to)
	return c, d.known(err)
}

func (d *driver) read(ctx context.Context, topic string, partitions []int32, from, to broker.Position) (broker.Cursor, error) {
	var ends []int64
	if !to.IsForever() {
		var err error
		if ends, err = d.resolve(ctx, topic, to); err != nil {
			return nil, err
		}
	}
	begins, err := d.resolve(ctx, topic, from)
	if err != nil {
		return nil, err
	}
	for _, p := range partitions {
		if int(p) >= len(begins) || ends != nil && int(p) >= len(ends) {
			d.topics.forget(topic)
			return nil, fmt.Errorf("partition %d is gone", p)
		}
	}
	if to.IsForever() {
		return d.newTail(topic, partitions, begins)
	}
	r := &reader{d: d}
	for _, p := range partitions {
		r.spans = append(r.spans, &span{topic: topic, partition: p, next: begins[p], end: ends[p]})
	}
	return r, nil
}

// reader reads spans to their ends.
type reader struct {
	d     *driver
	spans []*span
}

// Next implements [broker.Cursor].
func (r *reader) Next(ctx context.Context, atMost int) ([]broker.Record, error) {
	for {
		if records := r.take(atMost); len(records) > 0 {
			return records, nil
		}
		if !slices.ContainsFunc(r.spans, func(s *span) bool { return !s.done() }) {
			return nil, io.EOF
		}
		if err := r.d.fetch(ctx, r.spans, readBytes); err != nil {
			return nil, r.d.known(err)
		}
	}
}

func (r *reader) take(atMost int) []broker.Record {
	var out []broker.Record
	for _, s := range r.spans {
		n := min(len(s.records), atMost-len(out))
		out = append(out, s.records[:n]...)
		if s.records = s.records[n:]; len(s.records) == 0 {
			s.records = nil
		}
	}
	return out
}

// Close implements [broker.Cursor].
func (r *reader) Close() error { return nil }

// tail reads for ever, with a client of its own: its requests wait for records.
type tail struct {
	d      *driver
	client *kgo.Client
}

func (d *driver) newTail(topic string, partitions []int32, begins []int64) (broker.Cursor, error) {
	offsets := map[int32]kgo.Offset{}
	for _, p := range partitions {
		offsets[p] = kgo.NewOffset().At(begins[p])
	}
	client, err := d.newClient(append(fetchOptions(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets}))...)
	if err != nil {
		return nil, err
	}
	t := &tail{d: d, client: client}
	d.opened(t)
	return t, nil
}

// Next implements [broker.Cursor].
func (t *tail) Next(ctx context.Context, atMost int) ([]broker.Record, error) {
	for {
		fetches := t.client.PollRecords(ctx, atMost)
		var records []broker.Record
		for it := fetches.RecordIter(); !it.Done(); {
			records = append(records, received(it.Next()))
		}
		if len(records) > 0 {
			return records, nil
		}
		if err := t.d.fetchError(ctx, fetches); err != nil {
			return nil, t.d.known(err)
		}
	}
}

// Close implements [broker.Cursor].
func (t *tail) Close() error {
	t.d.closed(t)
	t.client.Close()
	return nil
}

func (t *tail) end(context.Context) { t.client.Close() }

// fetchOptions are those of clients that fetch.
func fetchOptions() []kgo.Opt {
	return []kgo.Opt{
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), // where older records have been deleted
		kgo.FetchMaxBytes(16 << 20),
		kgo.FetchMaxPartitionBytes(1 << 20),
		kgo.FetchMaxWait(500e6),
	}
}

// fetchError is the error among fetches that does not heal by itself.
func (d *driver) fetchError(ctx context.Context, fetches kgo.Fetches) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var first error
	fetches.EachError(func(topic string, partition int32, err error) {
		var loss *kgo.ErrDataLoss
		switch {
		case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		case errors.As(err, &loss):
			d.options.Logger.Error("records were lost by the servers", "topic", topic, "partition", partition, "error", err)
		case heals(err):
			d.options.Logger.Info("fetch failed and is tried again", "topic", topic, "partition", partition, "error", err)
		case first == nil:
			first = fmt.Errorf("%s[%d]: %w", topic, partition, err)
		}
	})
	return first
}
