// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace-ml/millrace/broker"
)

// Publish implements [broker.Broker]. Kafka acknowledges a record when
// min.insync.replicas servers have it.
func (b *Broker) Publish(ctx context.Context, records ...broker.Record) error {
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	list, err := b.addressed(ctx, records)
	if err != nil {
		return fmt.Errorf("publish: %w", b.failed(err))
	}
	if err := b.publish(ctx, list); err != nil {
		return fmt.Errorf("publish: %w", b.failed(err))
	}
	return nil
}

// publish sends the records, and again those that were not sent because others
// have given up theirs.
func (b *Broker) publish(ctx context.Context, records []*kgo.Record) error {
	for try := 1; ; try++ {
		unsent, err := produce(ctx, b.client, records)
		if err != nil || len(unsent) == 0 {
			return err
		}
		records = fresh(unsent)
		if err := sleep(ctx, backoff(try)); err != nil {
			return err
		}
	}
}

// addressed checks the records and copies them, each with its partition. The
// copies share one piece of memory; the caller's bytes are free again.
func (b *Broker) addressed(ctx context.Context, records []broker.Record) ([]*kgo.Record, error) {
	size, headers := 0, 0
	for i := range records {
		n := records[i].Size()
		if n > b.options.MaxRecordBytes {
			return nil, &broker.TooLargeError{Index: i, Size: n, Limit: b.options.MaxRecordBytes}
		}
		size += n
		headers += len(records[i].Headers)
	}
	c := copier{
		bytes:   make([]byte, 0, size),
		headers: make([]kgo.RecordHeader, 0, headers),
	}
	copies := make([]kgo.Record, len(records))
	list := make([]*kgo.Record, len(records))
	var last *topic
	var anywhere int32
	for i := range records {
		if last == nil || last.name != records[i].Topic {
			t, err := b.topics.get(ctx, records[i].Topic)
			if err != nil {
				return nil, err
			}
			last, anywhere = t, rand.Int32N(int32(len(t.leaders)))
		}
		p, err := partitionOf(&records[i], len(last.leaders), anywhere)
		if err != nil {
			return nil, err
		}
		c.copy(&copies[i], &records[i])
		copies[i].Partition = p
		list[i] = &copies[i]
	}
	return list, nil
}

// partitionOf is where a record goes among n partitions; without a key it goes
// anywhere.
func partitionOf(r *broker.Record, n int, anywhere int32) (int32, error) {
	switch {
	case r.Pinned && (r.Partition < 0 || int(r.Partition) >= n):
		return 0, fmt.Errorf("topic %s has no partition %d: it has %d", r.Topic, r.Partition, n)
	case r.Pinned:
		return r.Partition, nil
	case len(r.Key) > 0:
		return broker.PartitionOf(r.Key, n), nil
	}
	return anywhere, nil
}

// copier copies records into memory that was made in one piece.
type copier struct {
	bytes   []byte
	headers []kgo.RecordHeader
}

func (c *copier) copy(to *kgo.Record, from *broker.Record) {
	to.Topic, to.Key, to.Value = from.Topic, c.take(from.Key), c.take(from.Value)
	if len(from.Headers) == 0 {
		return
	}
	begin := len(c.headers)
	for _, h := range from.Headers {
		c.headers = append(c.headers, kgo.RecordHeader{Key: h.Key, Value: c.take(h.Value)})
	}
	to.Headers = c.headers[begin:len(c.headers):len(c.headers)]
}

func (c *copier) take(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	begin := len(c.bytes)
	c.bytes = append(c.bytes, b...)
	return c.bytes[begin:len(c.bytes):len(c.bytes)]
}

// produce sends the records and waits until all are acknowledged or one fails.
//
// When ctx ends, franz-go fails all that it holds for the same partitions and has
// not sent, whoever's it is. Such records are returned as unsent to those that
// wait on.
func produce(ctx context.Context, client *kgo.Client, records []*kgo.Record) (unsent []*kgo.Record, err error) {
	if len(records) == 0 {
		return nil, nil
	}
	w := &waiter{left: len(records), done: make(chan struct{})}
	for _, r := range records {
		client.Produce(ctx, r, w.promise)
	}
	select {
	case <-w.done:
		return w.unsent, w.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// neverSent reports whether a record failed before it went to a server: there
// was none, or the context of another record in the same partition ended. What
// may have been sent franz-go does not fail for either.
func neverSent(err error) bool {
	dial, ok := errors.AsType[*net.OpError](err)
	return ok && dial.Op == "dial" || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// waiter waits for the answers to several records.
type waiter struct {
	done chan struct{} // closed when none is left

	mu     sync.Mutex
	left   int
	err    error // the first one
	unsent []*kgo.Record
}

func (w *waiter) promise(r *kgo.Record, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil:
	case neverSent(err):
		w.unsent = append(w.unsent, r)
	case w.err == nil:
		w.err = err
	}
	if w.left--; w.left == 0 {
		close(w.done)
	}
}

// received is a record as it is read.
func received(r *kgo.Record) broker.Record {
	record := broker.Record{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset,
		Time: time.UnixMilli(r.Timestamp.UnixMilli()).UTC(),
		Key:  r.Key, Value: r.Value,
	}
	if len(r.Headers) > 0 {
		record.Headers = make([]broker.Header, len(r.Headers))
		for i, h := range r.Headers {
			record.Headers[i] = broker.Header{Key: h.Key, Value: h.Value}
		}
	}
	return record
}
