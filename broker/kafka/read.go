// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace-ml/millrace/broker"
)

// readBytes is what a reader fetches of a partition at a time.
const readBytes = 1 << 20

// Read implements [broker.Broker].
func (b *Broker) Read(ctx context.Context, topic string, partition int32, from, to broker.Position) (broker.Reader, error) {
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	r, err := b.read(ctx, topic, partition, from, to)
	if err != nil {
		return nil, fmt.Errorf("read %s from %v to %v: %w", topic, from, to, b.failed(err))
	}
	return r, nil
}

func (b *Broker) read(ctx context.Context, topic string, partition int32, from, to broker.Position) (broker.Reader, error) {
	t, err := b.topics.get(ctx, topic)
	if err != nil {
		return nil, err
	}
	if partition != broker.AllPartitions && (partition < 0 || int(partition) >= len(t.leaders)) {
		return nil, fmt.Errorf("it has no partition %d: it has %d", partition, len(t.leaders))
	}
	if to.IsZero() {
		to = broker.End()
	}
	var ends []int64
	if !to.IsForever() {
		if ends, err = b.resolve(ctx, topic, to); err != nil {
			return nil, err
		}
	}
	begins, err := b.resolve(ctx, topic, from)
	if err != nil {
		return nil, err
	}
	if to.IsForever() {
		return b.newTail(topic, partition, begins)
	}
	r := &reader{b: b}
	for p := range begins {
		if partition != broker.AllPartitions && partition != int32(p) || p >= len(ends) {
			continue
		}
		r.spans = append(r.spans, &span{topic: topic, partition: int32(p), next: begins[p], end: ends[p]})
	}
	return r, nil
}

// reader reads spans to their ends.
type reader struct {
	b      *Broker
	spans  []*span
	closed bool
}

// Next implements [broker.Reader].
func (r *reader) Next(ctx context.Context, most int) ([]broker.Record, error) {
	ctx, leave, err := r.b.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	for {
		if r.closed {
			return nil, broker.ErrClosed
		}
		if records := r.take(most); len(records) > 0 {
			return records, nil
		}
		if r.atEnd() {
			return nil, io.EOF
		}
		if err := r.b.fetch(ctx, r.spans, readBytes); err != nil {
			return nil, fmt.Errorf("read: %w", r.b.failed(err))
		}
	}
}

func (r *reader) take(most int) []broker.Record {
	var out []broker.Record
	for _, s := range r.spans {
		n := len(s.records)
		if most > 0 {
			n = min(n, most-len(out))
		}
		if n == 0 {
			continue
		}
		out = append(out, s.records[:n]...)
		if s.records = s.records[n:]; len(s.records) == 0 {
			s.records = nil
		}
	}
	return out
}

func (r *reader) atEnd() bool {
	for _, s := range r.spans {
		if !s.done() {
			return false
		}
	}
	return true
}

// Close implements [broker.Reader].
func (r *reader) Close() error {
	r.closed, r.spans = true, nil
	return nil
}

// tail reads for ever, with a client of its own: its requests wait for records.
type tail struct {
	b      *Broker
	client *kgo.Client
	once   sync.Once
}

func (b *Broker) newTail(topic string, partition int32, begins []int64) (*tail, error) {
	offsets := map[int32]kgo.Offset{}
	for p, at := range begins {
		if partition == broker.AllPartitions || partition == int32(p) {
			offsets[int32(p)] = kgo.NewOffset().At(at)
		}
	}
	client, err := b.newClient(append(fetchOptions(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets}))...)
	if err != nil {
		return nil, err
	}
	t := &tail{b: b, client: client}
	if err := b.register(t); err != nil {
		client.Close()
		return nil, err
	}
	return t, nil
}

// Next implements [broker.Reader].
func (t *tail) Next(ctx context.Context, most int) ([]broker.Record, error) {
	ctx, leave, err := t.b.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	for {
		fetches := t.client.PollRecords(ctx, most)
		var records []broker.Record
		for it := fetches.RecordIter(); !it.Done(); {
			records = append(records, received(it.Next()))
		}
		if len(records) > 0 {
			return records, nil
		}
		if err := t.b.fetchError(ctx, fetches); err != nil {
			return nil, fmt.Errorf("read: %w", t.b.failed(err))
		}
	}
}

// Close implements [broker.Reader].
func (t *tail) Close() error {
	t.b.unregister(t)
	t.shut()
	return nil
}

func (t *tail) shut() { t.once.Do(t.client.Close) }

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
func (b *Broker) fetchError(ctx context.Context, fetches kgo.Fetches) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var first error
	fetches.EachError(func(topic string, partition int32, err error) {
		var loss *kgo.ErrDataLoss
		switch {
		case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		case errors.As(err, &loss):
			b.options.Logger.Error("records were lost by the servers", "topic", topic, "partition", partition, "error", err)
		case heals(err):
			b.options.Logger.Info("fetch failed and is tried again", "topic", topic, "partition", partition, "error", err)
		case first == nil:
			first = fmt.Errorf("%s[%d]: %w", topic, partition, err)
		}
	})
	return first
}
