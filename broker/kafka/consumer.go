// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/backoff"
)

// handBytes is how much a consumer has at hand before it fetches only what
// nothing is at hand of. Franz-go holds up to a fetch of each server besides.
const handBytes = 32 << 20

// consumer implements [broker.Member]: it polls the shares that the membership
// has gained, and settles.
//
// Poll adopts the membership's shares, which can change at any time, and returns
// records only if they are still the same then; so what it returns belongs to the
// assignment. Records are pushed, taken and settled under the member's mutex.
type consumer struct {
	d *driver
	m *member

	// Of the goroutine that polls.
	queue      queue
	shares     []*share // that the queue is of, by partition
	assignment broker.Assignment
	unknown    *settling // that was under way when Rewind came; nil for none

	// Of the goroutine that settles.
	txn     *transactions
	pending *settling // whose outcome its caller did not wait for; nil for none
}

func newConsumer(d *driver, m *member) *consumer {
	return &consumer{d: d, m: m, txn: newTransactions(d, m)}
}

// joined waits until the member is in the group and every partition has a
// position, which is then where the group begins whatever happens.
func (c *consumer) joined(ctx context.Context) error {
	var failure error
	err := c.m.await(ctx, func() bool {
		failure = c.m.failure
		return c.m.joined || failure != nil
	})
	if err != nil || failure != nil {
		return cmp.Or(err, failure)
	}
	for try := 0; ; try++ {
		at, err := c.d.committed(ctx, c.m.group, false)
		if err != nil {
			return err
		}
		if c.m.everywhere(at) {
			return nil
		}
		if err := backoff.Sleep(ctx, time.Duration(min(try+1, 20))*time.Millisecond); err != nil {
			return err
		}
	}
}

// Poll implements [broker.Member].
func (c *consumer) Poll(ctx context.Context, w broker.Want) (broker.Polled, error) {
	c.m.mu.Lock()
	c.m.polling = true
	c.m.letGo()
	c.m.mu.Unlock()
	polled, err := c.poll(ctx, w)
	if err != nil {
		c.m.mu.Lock()
		defer c.m.mu.Unlock()
		c.endPoll()
		return broker.Polled{}, c.d.known(err)
	}
	return polled, nil
}

// poll waits for the first record and then up to w.Wait for more. Records are
// taken only when they are returned, so those of partitions that go meanwhile go
// with them.
func (c *consumer) poll(ctx context.Context, w broker.Want) (broker.Polled, error) {
	if err := c.findOut(ctx); err != nil {
		return broker.Polled{}, err
	}
	var until time.Time // when to return what there is; zero while there is nothing
	for first := true; ; first = false {
		if err := c.adopt(); err != nil {
			return broker.Polled{}, err
		}
		c.queue.pause(w.Pause)
		n, bytes, room := c.available()
		if first && room {
			if err := c.receive(ctx, c.m.client.PollFetches(nil)); err != nil { //nolint:staticcheck // nil takes what is there, without waiting (kgo.Client.PollFetches)
				return broker.Polled{}, err
			}
			n, bytes, _ = c.available()
		}
		switch {
		case n == 0:
			until = time.Time{}
		case until.IsZero():
			until = time.Now().Add(w.Wait)
		}
		if err := ctx.Err(); err != nil {
			return broker.Polled{}, err
		}
		if n >= w.Records || bytes >= w.Bytes || n > 0 && !time.Now().Before(until) {
			if polled, ok := c.take(w); ok {
				return polled, nil
			}
			continue // a rebalance came in between
		}
		if err := c.await(ctx, until); err != nil {
			return broker.Polled{}, err
		}
	}
}

// available is how much can be polled, and whether there is room for more.
func (c *consumer) available() (records, bytes int, room bool) {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	records, bytes = c.queue.available()
	return records, bytes, c.queue.bytes() < handBytes
}

// take takes a batch, unless the queue is stale or what was there has to be
// another member's by now.
func (c *consumer) take(w broker.Want) (broker.Polled, bool) {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	if c.stale() {
		return broker.Polled{}, false
	}
	polled := c.queue.poll(w.Records, w.Bytes)
	if len(polled.Records) == 0 {
		return broker.Polled{}, false
	}
	c.endPoll()
	return polled, true
}

// endPoll ends a Poll: what it has adopted is the assignment, if that is still what
// the member owns. The caller holds m.mu.
func (c *consumer) endPoll() {
	c.m.polling = false
	if c.stale() {
		return
	}
	c.m.lost = false
	if c.assignment.Epoch == c.m.epoch {
		return
	}
	c.assignment = broker.Assignment{Epoch: c.m.epoch}
	for _, s := range c.shares {
		s.assigned = true
		c.assignment.Partitions = append(c.assignment.Partitions, s.partition)
		c.assignment.Since = append(c.assignment.Since, s.since)
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
	if c.m.failure != nil || len(c.shares) != len(c.m.shares) {
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
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		cur := c.cursor(p.Topic, p.Partition)
		if cur == nil || len(p.Records) == 0 {
			return
		}
		records := make([]broker.Record, 0, len(p.Records))
		for _, r := range p.Records {
			if !r.Attrs.IsControl() { // which say how far the fetch went
				records = append(records, received(r))
			}
		}
		c.m.mu.Lock()
		defer c.m.mu.Unlock()
		cur.push(records, p.Records[len(p.Records)-1].Offset+1, p.LastStableOffset)
	})
	err := c.d.fetchError(ctx, fetches)
	if forgotten(err) {
		return c.m.whyForgotten(ctx, err)
	}
	return err
}

func (c *consumer) cursor(topic string, partition int32) *cursor {
	for _, cur := range c.queue.cursors {
		if cur.at.Partition == partition && cur.at.Topic == topic {
			return cur
		}
	}
	return nil
}

// hold stops fetching what is at hand while there is much of it, so that what
// others are paused for can come.
func (c *consumer) hold() {
	held, released := map[string][]int32{}, map[string][]int32{}
	c.m.mu.Lock()
	enough := c.queue.bytes() >= handBytes
	for _, cur := range c.queue.cursors {
		hold := enough && cur.bytes > 0
		switch {
		case hold && !cur.held:
			held[cur.at.Topic] = append(held[cur.at.Topic], cur.at.Partition)
		case !hold && cur.held:
			released[cur.at.Topic] = append(released[cur.at.Topic], cur.at.Partition)
		}
		cur.held = hold
	}
	c.m.mu.Unlock()
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
		shares = append(shares, s)
	}
	c.m.mu.Unlock()
	slices.SortFunc(shares, func(x, y *share) int { return int(x.partition - y.partition) })
	c.follow(shares)
	return nil
}

// follow fetches these shares and no others.
func (c *consumer) follow(shares []*share) {
	removed, resumed := map[string][]int32{}, map[string][]int32{}
	for _, cur := range c.queue.cursors {
		if slices.Contains(shares, cur.share) {
			continue
		}
		removed[cur.at.Topic] = append(removed[cur.at.Topic], cur.at.Partition)
		if cur.held {
			resumed[cur.at.Topic] = append(resumed[cur.at.Topic], cur.at.Partition)
		}
	}
	added := map[string]map[int32]kgo.Offset{}
	var cursors []*cursor
	for _, s := range shares {
		cursors = append(cursors, s.cursors...)
		if slices.Contains(c.shares, s) {
			continue
		}
		for _, cur := range s.cursors {
			if added[cur.at.Topic] == nil {
				added[cur.at.Topic] = map[int32]kgo.Offset{}
			}
			added[cur.at.Topic][s.partition] = kgo.NewOffset().At(cur.fetched)
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
}

// Rewind implements [broker.Member]. A settle that goes on without its caller, or
// beside this call, may move the same partitions; the next Poll waits for its
// outcome and begins after it.
func (c *consumer) Rewind(partitions []int32) {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	for _, p := range partitions {
		if s := c.m.shares[p]; s != nil {
			for _, cur := range s.cursors {
				cur.rewind()
			}
		}
	}
	c.unknown = c.m.settling
}

// findOut waits until it is known what became of the settle that was under way
// when Rewind came.
func (c *consumer) findOut(ctx context.Context) error {
	if c.unknown == nil {
		return nil
	}
	if err := c.unknown.await(ctx); err != nil {
		return err
	}
	c.unknown = nil
	return nil
}

// Assignment implements [broker.Member].
func (c *consumer) Assignment() broker.Assignment { return c.assignment }

// Close implements [broker.Member].
func (c *consumer) Close(ctx context.Context) error {
	c.d.closed(c)
	if c.pending != nil {
		_ = c.pending.await(ctx) // the results show sooner when it ends by itself
	}
	c.end(ctx)
	return nil
}

// end ends the consumer and the membership.
func (c *consumer) end(ctx context.Context) {
	c.txn.close(ctx)
	c.m.end(ctx)
}
