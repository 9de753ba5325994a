// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/backoff"
)

// span is a range of a partition that is being read.
type span struct {
	topic     string
	partition int32
	next, end int64 // the offsets that are left
	records   []broker.Record
}

func (s *span) done() bool { return s.next >= s.end }

// fetch reads on in each span that is not done, about maxBytes at most in each.
// Ranges without records are skipped, so next can move without a record. It
// returns when something came or moved: a span whose next transaction is not
// decided is waited for, as what comes after it would be missing otherwise.
func (d *driver) fetch(ctx context.Context, spans []*span, maxBytes int32) error {
	began, warned := time.Now(), false
	for try := 1; ; try++ {
		byLeader, err := d.byLeader(ctx, spans)
		if err != nil || len(byLeader) == 0 {
			return err
		}
		moved, err := d.fetchFrom(ctx, byLeader, maxBytes)
		if err != nil || moved {
			return err
		}
		if waited := time.Since(began); waited > 5*time.Second && !warned {
			d.options.Logger.Warn("still waiting for records: servers are gone, or a transaction is not decided yet", "topic", spans[0].topic, "since", began)
			warned = true
		}
		if err := backoff.Sleep(ctx, min(wait(try), 100*time.Millisecond)); err != nil {
			return err
		}
	}
}

// byLeader sorts the spans by the server that has their partitions.
func (d *driver) byLeader(ctx context.Context, spans []*span) (map[int32][]*span, error) {
	byLeader := map[int32][]*span{}
	for _, s := range spans {
		if s.done() {
			continue
		}
		t, err := d.topics.get(ctx, s.topic)
		if err == nil && (int(s.partition) >= len(t.leaders) || t.leaders[s.partition] < 0) {
			t, err = d.topics.refresh(ctx, s.topic)
		}
		if err != nil {
			return nil, err
		}
		if int(s.partition) >= len(t.leaders) {
			return nil, fmt.Errorf("topic %s has no partition %d: %w", s.topic, s.partition, broker.ErrUnknownTopic)
		}
		byLeader[t.leaders[s.partition]] = append(byLeader[t.leaders[s.partition]], s)
	}
	return byLeader, nil
}

// fetchFrom asks all servers at once. It reports whether any span moved.
func (d *driver) fetchFrom(ctx context.Context, byLeader map[int32][]*span, maxBytes int32) (bool, error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var first error
	any := false
	for leader, spans := range byLeader {
		wg.Go(func() {
			moved, err := d.fetchOne(ctx, leader, spans, maxBytes)
			mu.Lock()
			defer mu.Unlock()
			any = any || moved
			if err != nil && first == nil {
				first = err
			}
		})
	}
	wg.Wait()
	return any, first
}

func (d *driver) fetchOne(ctx context.Context, leader int32, spans []*span, maxBytes int32) (moved bool, err error) {
	req, err := d.fetchRequest(ctx, spans, maxBytes)
	if err != nil {
		return false, err
	}
	resp, err := d.client.Broker(int(leader)).RetriableRequest(ctx, req)
	if err != nil {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		d.forget(spans)
		return false, nil // the server is gone: another one leads, or it comes back
	}
	f := resp.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(f.ErrorCode); err != nil {
		return false, fmt.Errorf("fetch: %w", err)
	}
	for i := range f.Topics {
		for j := range f.Topics[i].Partitions {
			p := &f.Topics[i].Partitions[j]
			s, err := d.spanOf(ctx, spans, &f.Topics[i], p.Partition)
			if err != nil {
				return moved, err
			}
			if s == nil {
				continue
			}
			did, err := d.advance(ctx, s, p)
			if err != nil {
				return moved, err
			}
			moved = moved || did
		}
	}
	return moved, nil
}

func (d *driver) fetchRequest(ctx context.Context, spans []*span, maxBytes int32) (*kmsg.FetchRequest, error) {
	req := kmsg.NewPtrFetchRequest()
	req.MinBytes, req.MaxWaitMillis = 1, 100
	req.MaxBytes = 16 << 20
	req.IsolationLevel = 1 // committed records only
	req.SessionEpoch = -1  // no session
	byTopic := map[string]int{}
	for _, s := range spans {
		at, ok := byTopic[s.topic]
		if !ok {
			t, err := d.topics.get(ctx, s.topic)
			if err != nil {
				return nil, err
			}
			rt := kmsg.NewFetchRequestTopic()
			rt.Topic, rt.TopicID = t.name, t.id
			at = len(req.Topics)
			byTopic[s.topic] = at
			req.Topics = append(req.Topics, rt)
		}
		rp := kmsg.NewFetchRequestTopicPartition()
		rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes = s.partition, s.next, maxBytes
		req.Topics[at].Partitions = append(req.Topics[at].Partitions, rp)
	}
	return req, nil
}

// spanOf finds the span that a part of the answer is for. Newer servers name
// topics by id only.
func (d *driver) spanOf(ctx context.Context, spans []*span, t *kmsg.FetchResponseTopic, partition int32) (*span, error) {
	for _, s := range spans {
		if s.partition != partition {
			continue
		}
		if t.Topic == s.topic {
			return s, nil
		}
		if t.Topic == "" {
			known, err := d.topics.get(ctx, s.topic)
			if err != nil {
				return nil, err
			}
			if known.id == t.TopicID {
				return s, nil
			}
		}
	}
	return nil, nil
}

// advance takes over what came for a span.
func (d *driver) advance(ctx context.Context, s *span, p *kmsg.FetchResponseTopicPartition) (moved bool, err error) {
	switch err := kerr.ErrorForCode(p.ErrorCode); {
	case errors.Is(err, kerr.OffsetOutOfRange):
		return true, d.jump(ctx, s)
	case errors.Is(err, kerr.UnknownTopicOrPartition) || kerr.IsRetriable(err):
		d.topics.forget(s.topic)
		return false, nil
	case err != nil:
		return false, fmt.Errorf("fetch %s[%d]: %w", s.topic, s.partition, err)
	}
	fetched, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: s.next, IsolationLevel: kgo.ReadCommitted(), Topic: s.topic, Partition: s.partition,
	}, p, d.decompressor, nil)
	if fetched.Err != nil {
		return false, fmt.Errorf("fetch %s[%d] at %d: %w", s.topic, s.partition, s.next, fetched.Err)
	}
	for _, r := range fetched.Records {
		if r.Offset >= s.end {
			next = s.end
			break
		}
		s.records = append(s.records, received(r))
	}
	moved = next > s.next
	s.next = next
	return moved, nil
}

// jump moves a span that is out of range to what is left of it: nothing if the
// log was cut, or a new one has its name.
func (d *driver) jump(ctx context.Context, s *span) error {
	starts, err := d.resolve(ctx, s.topic, broker.Start())
	if err != nil {
		return err
	}
	if int(s.partition) < len(starts) && starts[s.partition] > s.next {
		s.next = starts[s.partition] // older records have been deleted
	} else {
		s.next = s.end
	}
	return nil
}

func (d *driver) forget(spans []*span) {
	for _, s := range spans {
		d.topics.forget(s.topic)
	}
}
