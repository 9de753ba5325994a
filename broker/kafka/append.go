// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace-ml/millrace/broker"
)

// Append implements [broker.Driver]. Kafka acknowledges a record when
// min.insync.replicas servers have it.
func (d *driver) Append(ctx context.Context, records []broker.Record, partitions []int32) ([]int64, error) {
	list := copies(records, partitions)
	if err := d.append(ctx, list); err != nil {
		return nil, err
	}
	offsets := make([]int64, len(list))
	for i, r := range list {
		offsets[i] = r.Offset
	}
	return offsets, nil
}

// append sends the records, and again those that were not sent because others
// have given up theirs, and all if their topics were made again.
func (d *driver) append(ctx context.Context, list []*kgo.Record) error {
	acknowledged := 0
	left := list
	for try := 1; ; try++ {
		sent, err := produce(ctx, d.client, left)
		if forgotten(err) && acknowledged+sent.acknowledged == 0 && d.meetAgain(ctx, list) {
			for i, r := range list {
				list[i] = fresh(r)
			}
			left = list
			continue
		}
		if err != nil {
			return d.notAppended(err, acknowledged+sent.acknowledged)
		}
		if len(sent.unsent) == 0 {
			return nil
		}
		acknowledged += sent.acknowledged
		left = nil
		for i, r := range list {
			if sent.unsent[r] {
				list[i] = fresh(r)
				left = append(left, list[i])
			}
		}
		if err := again(ctx, try); err != nil {
			return err
		}
	}
}

// notAppended is the error of an append. When some of the records were appended it
// is none of those that mean that none was.
func (d *driver) notAppended(err error, acknowledged int) error {
	known := d.known(err)
	if acknowledged > 0 && (errors.Is(known, broker.ErrUnknownTopic) || errors.Is(known, broker.ErrTooLarge)) {
		return fmt.Errorf("only %d records were appended: %v", acknowledged, err) //nolint:errorlint // it is not to be matched
	}
	return known
}

// produceOptions are those of clients that produce.
func (d *driver) produceOptions() []kgo.Opt {
	return []kgo.Opt{
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(int32(min(d.batchBytes(), math.MaxInt32))),
		kgo.ProducerLinger(0),
		kgo.UnknownTopicRetries(7), // which is for about as long as [decision]
	}
}

// copies copies the records, each with its partition. The copies share one piece
// of memory; the caller's bytes are free again.
func copies(records []broker.Record, partitions []int32) []*kgo.Record {
	size, headers := 0, 0
	for i := range records {
		size += records[i].Size()
		headers += len(records[i].Headers)
	}
	c := copier{
		bytes:   make([]byte, 0, size),
		headers: make([]kgo.RecordHeader, 0, headers),
	}
	made := make([]kgo.Record, len(records))
	list := make([]*kgo.Record, len(records))
	for i := range records {
		list[i] = &made[i]
		list[i].Partition = partitions[i]
		c.copy(list[i], &records[i])
	}
	return list
}

// fresh is a copy of a record that may have been given to a producer before,
// which writes into it.
func fresh(r *kgo.Record) *kgo.Record {
	return &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Headers: r.Headers}
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

// sent is what became of records that were given to a producer.
type sent struct {
	done chan struct{} // closed when none is left

	mu           sync.Mutex
	left         int
	acknowledged int
	unsent       map[*kgo.Record]bool
	err          error // the first one
}

// produce sends the records and waits until all are acknowledged or one fails.
//
// When ctx ends, franz-go fails all that it holds for the same partitions and has
// not sent, whoever's it is. Such records are unsent to those that wait on.
func produce(ctx context.Context, client *kgo.Client, records []*kgo.Record) (*sent, error) {
	s := &sent{left: len(records), done: make(chan struct{})}
	if len(records) == 0 {
		return s, nil
	}
	for _, r := range records {
		client.Produce(ctx, r, s.promise)
	}
	select {
	case <-s.done:
		return s, s.err
	case <-ctx.Done():
		return &sent{}, ctx.Err()
	}
}

func (s *sent) promise(r *kgo.Record, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.acknowledged++
	case neverSent(err):
		if s.unsent == nil {
			s.unsent = map[*kgo.Record]bool{}
		}
		s.unsent[r] = true
	case s.err == nil:
		s.err = err
	}
	if s.left--; s.left == 0 {
		close(s.done)
	}
}

// neverSent reports whether a record failed before it went to a server: there
// was none, or the context of another record in the same partition ended. What
// may have been sent franz-go does not fail for either.
func neverSent(err error) bool {
	dial, ok := errors.AsType[*net.OpError](err)
	return ok && dial.Op == "dial" || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
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
