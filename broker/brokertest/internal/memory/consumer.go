// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

type consumer struct {
	b        *Broker
	g        *group
	id       string
	topics   []string
	assigned broker.Assignment
	batch    map[string][]int64 // positions after the polled batch; nil for none
	fenced   bool               // lost a partition since the last Poll
	gained   bool               // got partitions in this Poll (for a fault)
	atEnd    bool               // begins at the end in the next Poll (for a fault)
	polled   time.Time          // when the last Poll returned (for a fault)
	buffer   []byte             // what Poll returns records in (for a fault)
	closed   bool
}

// Poll implements broker.Consumer.
func (c *consumer) Poll(ctx context.Context, w broker.Want) ([]broker.Record, error) {
	if w.Records == 0 {
		w.Records = 1024
	}
	if w.Bytes == 0 {
		w.Bytes = 16 << 20
	}
	b := c.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.batch != nil && !b.broken(PollsOverOpenBatch) {
		panic("broker: Poll while a batch is not settled")
	}
	if c.atEnd {
		c.g.positions[c.topics[0]] = b.offsets(c.topics[0], broker.End())
		c.atEnd = false
	}
	var first time.Time            // when there was a record
	var handedOver []broker.Record // what was at hand then (for a fault)
	for {
		if b.closed || c.closed {
			return nil, broker.ErrClosed
		}
		b.rebalance(c)
		records, after, full := c.take(w)
		if ctx.Err() != nil {
			if b.broken(CancelReturnsBatch) && len(records) > 0 {
				c.batch = after
				return records, nil
			}
			if b.broken(CancelSkips) && len(records) > 0 {
				c.g.positions = after
			}
			return nil, ctx.Err()
		}
		if len(records) > 0 && first.IsZero() {
			first = time.Now()
			handedOver = records
		}
		if b.broken(WaitsTooLong) && w.Wait > 0 {
			full = false
		}
		waited := len(records) > 0 && !time.Now().Before(first.Add(w.Wait))
		if full || waited || b.broken(IgnoresWait) && len(records) > 0 {
			c.batch = after
			if b.broken(PollReorders) || b.broken(ReordersAfterRebalance) && c.gained {
				slices.Reverse(records)
			}
			if b.broken(ReturnsHandedOver) {
				kept := func(r broker.Record) bool { return slices.Contains(c.assigned.Partitions, r.Partition) }
				records = append(slices.DeleteFunc(handedOver, kept), records...)
			}
			c.gained = false
			c.polled = time.Now()
			return records, nil
		}
		var until time.Time
		if len(records) > 0 {
			until = first.Add(w.Wait)
		}
		if at, ok := c.waitsForPartition(); ok && (until.IsZero() || at.Before(until)) {
			until = at
		}
		if len(records) == 0 && (b.broken(SilentKeepPartitions) || b.broken(PartitionsOrphaned)) {
			until = time.Time{}
		}
		b.wait(ctx, until)
	}
}

// take collects the oldest records of c's partitions, the positions after them,
// and whether w allows no more.
func (c *consumer) take(w broker.Want) (records []broker.Record, after map[string][]int64, full bool) {
	b := c.b
	after = clonePositions(c.g.positions)
	bytes := 0
	for {
		topic, p := c.oldest(after, w.Pause)
		if topic == "" {
			return records, after, false
		}
		r := b.topics[topic].logs[p][after[topic][p]].Record
		tooMany := len(records) >= w.Records && !b.broken(IgnoresWantRecords)
		tooBig := len(records) > 0 && bytes+r.Size() > w.Bytes && !b.broken(IgnoresWantBytes)
		if tooMany || tooBig {
			return records, after, true
		}
		if r.Size() > w.Bytes && b.broken(HugeNeverFits) {
			return records, after, len(records) > 0
		}
		if b.broken(ReusesBuffers) {
			c.buffer = append(c.buffer[:0], r.Value...)
			r.Value = c.buffer
		}
		records = append(records, r)
		bytes += r.Size()
		after[topic][p]++
		if len(records) == w.Records && !b.broken(IgnoresWantRecords) {
			return records, after, true
		}
	}
}

// oldest is where the next record stands: the one that was appended first.
func (c *consumer) oldest(from map[string][]int64, pause []broker.TopicPartition) (topic string, partition int32) {
	var first int64
	for i, name := range c.topics {
		if c.b.broken(TopicsInTurn) && topic != "" {
			break
		}
		for _, p := range c.assigned.Partitions {
			if c.b.broken(SplitsCoPartitions) {
				p = (p + int32(i)) % int32(len(c.g.owner))
			}
			if slices.Contains(pause, broker.TopicPartition{Topic: name, Partition: p}) && !c.b.broken(IgnoresPause) {
				continue
			}
			log := c.b.topics[name].logs[p]
			if at := from[name][p]; at < int64(len(log)) && (topic == "" || log[at].seq < first) {
				topic, partition, first = name, p, log[at].seq
			}
		}
	}
	return topic, partition
}

// Settle implements broker.Consumer.
func (c *consumer) Settle(ctx context.Context, results ...broker.Record) error {
	b := c.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || c.closed {
		return broker.ErrClosed
	}
	if b.broken(FencesLoneMembers) && time.Since(c.polled) > b.opts.HandoverTimeout {
		c.fenced = true
	}
	if c.fenced && !b.broken(IgnoresFencing) && (c.batch != nil || !b.broken(FencesBatchesOnly)) {
		c.batch = nil
		c.fenced = !b.broken(FencesOnce)
		return fmt.Errorf("settle: %w", broker.ErrFenced)
	}
	if c.batch == nil && b.broken(SettleNeedsBatch) && len(results) > 0 {
		return fmt.Errorf("settle: no batch")
	}
	switch {
	case b.broken(SettleLosesResults):
		results = results[:max(0, len(results)-1)]
	case b.broken(LargeSettleTruncated):
		results = results[:min(len(results), 10_000)]
	}
	if err := b.append(results); err != nil {
		if b.broken(ErrorClosesBatch) && c.batch != nil {
			c.move()
		}
		return err
	}
	for i := range results {
		b.topics[results[i].Topic].marked = true
	}
	if b.broken(CancelledSettleHalf) && ctx.Err() != nil {
		return ctx.Err()
	}
	if b.broken(PositionsLater) {
		b.mu.Unlock()
		time.Sleep(2 * time.Millisecond)
		b.mu.Lock()
	}
	if c.batch != nil {
		c.move()
	}
	return nil
}

// move puts the group behind the batch.
func (c *consumer) move() {
	g := c.g
	g.before = clonePositions(g.positions)
	if !c.b.broken(SettleKeepsPositions) {
		for _, topic := range c.topics {
			for p, offset := range c.batch[topic] {
				if c.b.broken(SettleMovesToEnd) {
					offset = int64(len(c.b.topics[topic].logs[p]))
				}
				if g.owner[p] == c || c.b.broken(SplitsCoPartitions) {
					g.positions[topic][p] = offset
				}
			}
		}
	}
	c.batch = nil
}

// Rewind implements broker.Consumer.
func (c *consumer) Rewind() {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if c.b.broken(RewindLoses) && c.batch != nil {
		c.move()
	}
	c.batch = nil
}

// Assignment implements broker.Consumer.
func (c *consumer) Assignment() broker.Assignment {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	return c.assigned
}

// Close implements broker.Consumer.
func (c *consumer) Close(context.Context) error {
	b := c.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.closed {
		return nil
	}
	if b.broken(CloseSkipsBatch) && c.batch != nil {
		c.move()
	}
	c.closed, c.batch = true, nil
	c.g.members = slices.DeleteFunc(c.g.members, func(m *consumer) bool { return m == c })
	for p, owner := range c.g.owner {
		if owner == c && !b.broken(CloseKeepsPartitions) && !b.broken(PartitionsOrphaned) {
			c.g.owner[p] = nil
		}
	}
	if b.broken(FencingForgotten) {
		for _, m := range c.g.members {
			m.fenced = false
		}
	}
	b.membersChanged(c.g)
	return nil
}
