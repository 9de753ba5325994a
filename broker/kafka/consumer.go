// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace-ml/millrace/broker"
)

// Defaults of [broker.Want].
const (
	wantRecords = 1024
	wantBytes   = 16 << 20
)

// handBytes is how much a consumer has at hand before it fetches only what
// nothing is at hand of. Franz-go holds up to a fetch of each server besides.
const handBytes = 32 << 20

// consumer implements [broker.Consumer]. Its fields are those of the goroutine
// that uses it; what it shares with the membership's is in member.
type consumer struct {
	b *Broker
	m *member

	queue      queue
	shares     []*share // that the queue is of
	assignment broker.Assignment
	open       bool // there is a batch that is not settled

	txn     *transactions
	pending *settling // a settle whose outcome its caller does not know
	closed  atomic.Bool
}

func newConsumer(b *Broker, m *member) *consumer {
	c := &consumer{b: b, m: m}
	c.txn = newTransactions(b, m)
	return c
}

// joined waits until the member is in the group and every partition has a
// position, which is then where the group begins whatever happens.
func (c *consumer) joined(ctx context.Context) error {
	err := c.m.await(ctx, func() bool { return c.m.joined || c.m.failure != nil })
	if err != nil {
		return err
	}
	if err := c.m.failed(); err != nil {
		return err
	}
	for try := 0; ; try++ {
		at, err := c.b.committed(ctx, c.m.group, false)
		if err != nil {
			return err
		}
		if c.m.everywhere(at) {
			return nil
		}
		if err := sleep(ctx, time.Duration(min(try+1, 20))*time.Millisecond); err != nil {
			return err
		}
	}
}

func (m *member) failed() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failure
}

// everywhere reports whether there is a position for each partition.
func (m *member) everywhere(at map[broker.TopicPartition]position) bool {
	for _, t := range m.topics {
		for p := range m.count {
			if _, ok := at[broker.TopicPartition{Topic: t, Partition: int32(p)}]; !ok {
				return false
			}
		}
	}
	return true
}

// enter begins a call, as Broker.enter does.
func (c *consumer) enter(ctx context.Context) (context.Context, func(), error) {
	if c.closed.Load() {
		return nil, nil, broker.ErrClosed
	}
	return c.b.enter(ctx)
}

// Poll implements [broker.Consumer].
func (c *consumer) Poll(ctx context.Context, w broker.Want) ([]broker.Record, error) {
	inner, leave, err := c.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if c.open {
		panic("kafka: Poll with a batch that is not settled: Settle or Rewind it first")
	}
	w.Records, w.Bytes = cmp.Or(max(0, w.Records), wantRecords), cmp.Or(max(0, w.Bytes), wantBytes)
	if err := c.findOut(inner); err != nil {
		return nil, c.b.failed(err)
	}
	records, err := c.collect(inner, w)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("poll %s: %w", c.m.group, c.b.failed(err))
	}
	return records, nil
}

// collect waits for the first record and then up to w.Wait for more. Records
// are taken only when they are returned, so those of partitions that go
// meanwhile go with them.
func (c *consumer) collect(ctx context.Context, w broker.Want) ([]broker.Record, error) {
	var until time.Time // when to return what there is; zero while there is nothing
	for first := true; ; first = false {
		if err := c.adopt(); err != nil {
			return nil, err
		}
		c.queue.pause(w.Pause)
		if first && c.queue.bytes() < handBytes {
			if err := c.receive(ctx, c.m.client.PollFetches(nil)); err != nil { //nolint:staticcheck // nil takes what is there, without waiting (kgo.Client.PollFetches)
				return nil, err
			}
		}
		n, bytes := c.queue.available()
		switch {
		case n == 0:
			until = time.Time{}
		case until.IsZero():
			until = time.Now().Add(w.Wait)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if n >= w.Records || bytes >= w.Bytes || n > 0 && !time.Now().Before(until) {
			if records := c.takeOpen(w); records != nil {
				return records, nil
			}
			continue // a rebalance came in between
		}
		if err := c.await(ctx, until); err != nil {
			return nil, err
		}
	}
}

// await waits for records, a rebalance, or the time.
func (c *consumer) await(ctx context.Context, until time.Time) error {
	c.hold()
	waiting, cancel := context.WithCancel(ctx)
	if !until.IsZero() {
		cancel()
		waiting, cancel = context.WithDeadline(ctx, until)
	}
	defer cancel()
	c.m.mu.Lock()
	c.m.wake = cancel
	stale := c.stale()
	c.m.mu.Unlock()
	if stale {
		return nil
	}
	fetches := c.m.client.PollFetches(waiting)
	c.m.mu.Lock()
	c.m.wake = nil
	c.m.mu.Unlock()
	return c.receive(ctx, fetches)
}

// stale reports whether the queue is not that of the member's shares. The caller
// holds m.mu.
func (c *consumer) stale() bool {
	if c.m.failure != nil || c.m.lost || len(c.shares) != len(c.m.shares) {
		return true
	}
	for _, s := range c.shares {
		if c.m.shares[s.partition] != s {
			return true
		}
	}
	return false
}

// receive adds what was fetched to the queue.
func (c *consumer) receive(ctx context.Context, fetches kgo.Fetches) error {
	var last *cursor
	fetches.EachRecord(func(r *kgo.Record) {
		if last == nil || last.at.Partition != r.Partition || last.at.Topic != r.Topic {
			last = c.cursor(r.Topic, r.Partition)
		}
		if last != nil && r.Offset >= last.expected() {
			last.push(received(r))
		}
	})
	return c.b.fetchError(ctx, fetches)
}

func (c *consumer) cursor(topic string, partition int32) *cursor {
	for _, cur := range c.queue.cursors {
		if cur.at.Partition == partition && cur.at.Topic == topic {
			return cur
		}
	}
	return nil
}

// takeOpen takes a batch and opens it, unless the queue is stale.
func (c *consumer) takeOpen(w broker.Want) []broker.Record {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	if c.stale() {
		return nil
	}
	records := c.queue.take(w.Records, w.Bytes)
	c.open, c.m.busy = true, true
	return records
}

// hold stops fetching what is at hand while there is much of it, so that what
// others are paused for can come.
func (c *consumer) hold() {
	enough := c.queue.bytes() >= handBytes
	held, released := map[string][]int32{}, map[string][]int32{}
	for _, cur := range c.queue.cursors {
		hold := enough && len(cur.records) > 0
		switch {
		case hold && !cur.held:
			held[cur.at.Topic] = append(held[cur.at.Topic], cur.at.Partition)
		case !hold && cur.held:
			released[cur.at.Topic] = append(released[cur.at.Topic], cur.at.Partition)
		}
		cur.held = hold
	}
	if len(held) > 0 {
		c.m.client.PauseFetchPartitions(held)
	}
	if len(released) > 0 {
		c.m.client.ResumeFetchPartitions(released)
	}
}

// adopt takes over what the member gained and lost.
func (c *consumer) adopt() error {
	c.m.mu.Lock()
	if c.m.failure != nil || !c.stale() {
		defer c.m.mu.Unlock()
		return c.m.failure
	}
	var shares []*share
	for _, s := range c.m.shares {
		s.taken = true
		shares = append(shares, s)
	}
	c.m.lost = false
	c.m.mu.Unlock()
	slices.SortFunc(shares, func(x, y *share) int { return int(x.partition - y.partition) })
	c.follow(shares)
	return nil
}

// follow fetches these shares and no others.
func (c *consumer) follow(shares []*share) {
	removed, added := map[string][]int32{}, map[string]map[int32]kgo.Offset{}
	resumed := map[string][]int32{}
	var cursors []*cursor
	for _, cur := range c.queue.cursors {
		if slices.ContainsFunc(shares, func(s *share) bool {
			return s.partition == cur.at.Partition && slices.Contains(c.shares, s)
		}) {
			cursors = append(cursors, cur)
			continue
		}
		removed[cur.at.Topic] = append(removed[cur.at.Topic], cur.at.Partition)
		if cur.held {
			resumed[cur.at.Topic] = append(resumed[cur.at.Topic], cur.at.Partition)
		}
	}
	for _, s := range shares {
		if slices.Contains(c.shares, s) {
			continue
		}
		for _, t := range c.m.topics {
			at := s.positions[t]
			cursors = append(cursors, &cursor{at: broker.TopicPartition{Topic: t, Partition: s.partition}, position: at})
			if added[t] == nil {
				added[t] = map[int32]kgo.Offset{}
			}
			added[t][s.partition] = kgo.NewOffset().At(at)
		}
	}
	if len(removed) > 0 {
		c.m.client.RemoveConsumePartitions(removed)
		c.m.client.ResumeFetchPartitions(resumed)
	}
	if len(added) > 0 {
		c.m.client.AddConsumePartitions(added)
	}
	c.queue.cursors, c.shares = cursors, shares
	partitions := make([]int32, len(shares))
	for i, s := range shares {
		partitions[i] = s.partition
	}
	c.assignment = broker.Assignment{Partitions: partitions, Epoch: c.assignment.Epoch + 1}
}

// forget ends the batch without settling it. The caller knows that no settle of
// it is under way.
func (c *consumer) forget() {
	c.queue.rewind()
	c.release()
}

// release lets the member hand over again.
func (c *consumer) release() {
	c.open = false
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	c.m.busy = false
	c.m.notify()
}

// Rewind implements [broker.Consumer].
func (c *consumer) Rewind() {
	if c.pending != nil {
		c.release() // Poll finds out what became of it
		return
	}
	c.forget()
}

// Assignment implements [broker.Consumer].
func (c *consumer) Assignment() broker.Assignment { return c.assignment }

// Close implements [broker.Consumer].
func (c *consumer) Close(ctx context.Context) error {
	if !c.closed.CompareAndSwap(false, true) {
		return nil
	}
	c.b.unregister(c)
	if c.pending != nil {
		_ = c.pending.await(ctx)
	}
	c.end(ctx)
	return nil
}

// shut closes the consumer with its broker.
func (c *consumer) shut() {
	if !c.closed.CompareAndSwap(false, true) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c.end(ctx)
}

func (c *consumer) end(ctx context.Context) {
	c.txn.close(ctx)
	c.m.end(ctx)
}
