// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// Defaults of [broker.Want].
const (
	wantRecords = 1024
	wantBytes   = 16 << 20
)

// consumer implements [broker.Consumer]: a member of a group. Fields below the
// group's mutex are the group's, the others are those of the goroutine that
// uses the consumer.
type consumer struct {
	g       *group
	b       *Broker
	name    string
	topics  []*topic
	watcher *watcher

	fetcher    fetcher
	cursors    map[*partition]*cursor
	assignment broker.Assignment
	open       bool // there is a batch that is not settled
	moves      []position
	closed     atomic.Bool

	mustGive atomic.Bool // a partition is to be handed over

	// Under g.mu.
	fenced   bool // a partition was taken since the last Poll
	lost     bool // a partition was given or taken since the last Poll
	settling bool // a commit has begun
	overdue  bool // a partition is to be taken when it ends
}

func newConsumer(g *group, topics []*topic) *consumer {
	return &consumer{
		g: g, b: g.b, topics: topics,
		name:    fmt.Sprintf("%s-%d", g.name, g.b.members.Add(1)),
		watcher: newWatcher(),
		fetcher: fetcher{b: g.b},
		cursors: map[*partition]*cursor{},
	}
}

// enter begins a call; the caller unlocks b.life for reading when it ends.
func (c *consumer) enter() error {
	if err := c.b.enter(); err != nil {
		return err
	}
	if c.closed.Load() {
		c.b.life.RUnlock()
		return broker.ErrClosed
	}
	return nil
}

// Poll implements [broker.Consumer].
func (c *consumer) Poll(ctx context.Context, w broker.Want) ([]broker.Record, error) {
	if err := c.enter(); err != nil {
		return nil, err
	}
	defer c.b.life.RUnlock()
	if c.open {
		panic("embedded: Poll with a batch that is not settled: Settle or Rewind it first")
	}
	if w.Records <= 0 {
		w.Records = wantRecords
	}
	if w.Bytes <= 0 {
		w.Bytes = wantBytes
	}
	records, err := c.collect(ctx, w)
	if err != nil {
		c.reset()
		return nil, err
	}
	c.open = true
	return records, nil
}

// collect waits for the first record and then up to w.Wait for more.
func (c *consumer) collect(ctx context.Context, w broker.Want) ([]broker.Record, error) {
	var out []broker.Record
	var timeout <-chan time.Time
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if len(out) == 0 {
			c.assign()
			c.pause(w.Pause)
		}
		if n := min(int64(w.Records), c.fetcher.available()); n > 0 {
			if out == nil {
				out = make([]broker.Record, 0, n)
			}
			var err error
			if out, w.Bytes, err = c.fetcher.fetch(out, w.Records, w.Bytes); err != nil {
				return nil, err
			}
		}
		if len(out) > 0 {
			// Who waits for more must not keep others waiting for a partition.
			if len(out) >= w.Records || w.Bytes <= 0 || w.Wait <= 0 || c.mustGive.Load() {
				return out, nil
			}
			if timeout == nil {
				timer := time.NewTimer(w.Wait)
				defer timer.Stop()
				timeout = timer.C
			}
		}
		select {
		case <-c.watcher.ch:
		case <-ctx.Done():
		case <-timeout:
			return out, nil
		case <-c.b.done:
			return nil, c.b.ended()
		}
	}
}

// assign takes part in the group's rebalance: it gives and takes partitions.
func (c *consumer) assign() {
	g := c.g
	g.mu.Lock()
	defer g.mu.Unlock()
	gave := g.release(c)
	took := g.take(c)
	changed := gave || took || c.lost
	c.fenced, c.lost = false, false
	if gave {
		g.handOver()
	}
	if !changed {
		return
	}
	g.epoch++
	var mine []int32
	for p, owner := range g.owner {
		if owner == c {
			mine = append(mine, int32(p))
		}
	}
	c.assignment = broker.Assignment{Partitions: mine, Epoch: g.epoch}
	c.followAssignment()
}

// followAssignment makes a cursor for each partition of each topic, at the
// group's position. The caller holds g.mu.
func (c *consumer) followAssignment() {
	c.fetcher.cursors = c.fetcher.cursors[:0]
	kept := map[*partition]*cursor{}
	for _, i := range c.assignment.Partitions {
		for _, t := range c.topics {
			p := t.partitions[i]
			cur := c.cursors[p]
			if cur == nil {
				cur = &cursor{p: p, limit: math.MaxInt64}
				p.watch(c.watcher)
			}
			cur.from = c.g.at(t)[i]
			cur.seek(cur.from)
			kept[p] = cur
			c.fetcher.cursors = append(c.fetcher.cursors, cur)
		}
	}
	for p := range c.cursors {
		if kept[p] == nil {
			p.unwatch(c.watcher)
		}
	}
	c.cursors = kept
}

func (c *consumer) pause(list []broker.TopicPartition) {
	for _, cur := range c.fetcher.cursors {
		cur.paused = len(list) > 0 && slices.Contains(list, broker.TopicPartition{Topic: cur.p.topic.name, Partition: cur.p.index})
	}
}

// reset goes back to where the batch began.
func (c *consumer) reset() {
	for _, cur := range c.fetcher.cursors {
		if cur.next != cur.from {
			cur.seek(cur.from)
		}
	}
}

// forget ends the batch without settling it.
func (c *consumer) forget() {
	c.open = false
	c.reset()
}

// Settle implements [broker.Consumer].
func (c *consumer) Settle(ctx context.Context, results ...broker.Record) error {
	if err := c.enter(); err != nil {
		return err
	}
	defer c.b.life.RUnlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.b.checkRecords(results); err != nil {
		return fmt.Errorf("settle %s: %w", c.g.name, err)
	}
	if err := c.beginSettle(); err != nil {
		c.forget()
		return fmt.Errorf("settle %s: %w", c.g.name, err)
	}
	c.moves = c.moves[:0]
	if c.open {
		for _, cur := range c.fetcher.cursors {
			if cur.next != cur.from {
				c.moves = append(c.moves, position{c.g.name, cur.p, cur.next})
			}
		}
	}
	err := c.b.commit(results, c.moves, c.settled)
	c.endSettle()
	if err != nil {
		return fmt.Errorf("settle %s: %w", c.g.name, err)
	}
	return nil
}

// beginSettle makes sure that the member keeps its partitions until endSettle.
func (c *consumer) beginSettle() error {
	c.g.mu.Lock()
	defer c.g.mu.Unlock()
	if c.fenced {
		return broker.ErrFenced
	}
	c.settling = true
	return nil
}

// settled shows results and positions together: who sees one of them and then
// asks for the other finds it, because positions are read under the same lock.
func (c *consumer) settled(reveal func()) {
	c.g.mu.Lock()
	reveal()
	c.g.moved(c.moves)
	c.g.mu.Unlock()
	c.open = false
	for _, cur := range c.fetcher.cursors {
		cur.from = cur.next
	}
}

func (c *consumer) endSettle() {
	g := c.g
	g.mu.Lock()
	defer g.mu.Unlock()
	c.settling = false
	if c.overdue {
		c.overdue = false
		g.takeOverdue()
		g.handOver()
	}
}

// Rewind implements [broker.Consumer].
func (c *consumer) Rewind() {
	c.forget()
	if c.enter() != nil {
		return
	}
	defer c.b.life.RUnlock()
	g := c.g
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.release(c) {
		c.fenced = true // until Poll says what is left
		g.handOver()
	}
}

// Assignment implements [broker.Consumer].
func (c *consumer) Assignment() broker.Assignment { return c.assignment }

// Close implements [broker.Consumer].
func (c *consumer) Close(ctx context.Context) error {
	if err := c.enter(); err != nil {
		return err
	}
	defer c.b.life.RUnlock()
	c.closed.Store(true)
	c.open = false
	for p := range c.cursors {
		p.unwatch(c.watcher)
	}
	c.g.mu.Lock()
	defer c.g.mu.Unlock()
	c.g.leave(c)
	return nil
}
