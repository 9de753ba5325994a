// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Want says how much Poll may return. The zero value is a good default.
type Want struct {
	Records int           // at most this many; 0 means 1024
	Bytes   int           // at most about this many bytes, but at least one record; 0 means 16 MiB
	Wait    time.Duration // how long to wait for more once there is a record; 0 takes what is there

	// Pause names partitions of single topics not to take from this time. A join
	// that has too much of one topic at hand waits for the others with it.
	Pause []TopicPartition
}

// Defaults of [Want].
const (
	wantRecords = 1024
	wantBytes   = 16 << 20
)

// Consumer is one member of a consumer group. It may have several batches open:
// polled, and neither settled nor forgotten. Poll, Rewind, Settle and Assignment
// are used by one goroutine; batches may be settled by others meanwhile.
//
// The order of a partition is kept whatever is settled first: a batch waits for
// those polled before it that share a partition with it, and batches that have
// waited together are settled as one unit. How a batch can end otherwise:
//
//   - It is fenced when the group gave one of its partitions to another member,
//     which happens to members that keep a batch for too long while others wait
//     for the partition. Its Settle returns [ErrFenced] and changes nothing.
//   - The batches polled later from any of a fenced batch's partitions are fenced
//     with it, and those after them: they would leave a hole.
//   - Rewind and Close forget all batches.
//
// What was polled and not settled comes again, at the partition's next owner or
// here, where it waits for the end of the open batches before it. So model calls
// are at least once, and results exactly once.
type Consumer struct {
	b      *Broker
	group  string
	topics []string
	m      Member
	*life

	mu         sync.Mutex
	assignment Assignment
	open       []*Batch       // in the order of the polls
	rewind     map[int32]bool // partitions to poll again from where the group stands, when nothing of them is open
	polling    *call          // of the driver's Poll, to end it; nil while there is none
	fenced     bool           // Consumer.Settle is, until the next Poll
	settling   bool           // somebody has the lead: settles, is about to, or keeps others from it
	idle       sync.Cond      // for settling: nobody has the lead any more
	rewinding  bool           // the lead is not to be passed on: who goes back waits for it
	all        *Batch         // a Consumer.Settle that waits for its turn; nil for none
	doubt      *settle        // what failed without it being known whether it took place; nil for none
}

func newConsumer(b *Broker, group string, topics []string, m Member) *Consumer {
	c := &Consumer{b: b, group: group, topics: topics, m: m, life: newLife(b.life), rewind: map[int32]bool{}}
	c.idle.L = &c.mu
	return c
}

// errInterrupted ends a driver's Poll that has to begin again somewhere else.
var errInterrupted = errors.New("batches were forgotten")

// Poll blocks until there is at least one record for this member, waits up to
// w.Wait for more, and returns them. Within a partition they come in offset
// order, after those polled before. Between the topics of a partition the record
// that was appended first comes first, as far as the broker has them at hand. The
// records' bytes are not changed by anyone afterwards and may be kept.
//
// When ctx ends Poll returns its error and no records, even if there are some;
// nothing is skipped. Assignment may change only in Poll, and what Poll returns
// belongs to the assignment then. A partition that another member waits for is
// not polled any more; it is handed over by the Poll that finds its batches
// settled.
func (c *Consumer) Poll(ctx context.Context, w Want) (*Batch, error) {
	call, err := c.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer call.leave()
	if w.Records <= 0 {
		w.Records = wantRecords
	}
	if w.Bytes <= 0 {
		w.Bytes = wantBytes
	}
	for {
		batch, err := c.poll(call, w)
		if err != nil && !errors.Is(err, errInterrupted) {
			return nil, fmt.Errorf("poll %s: %w", c.group, call.failed(err))
		}
		if batch != nil {
			return batch, nil
		}
	}
}

// poll polls once, unless it is interrupted.
func (c *Consumer) poll(ctx context.Context, w Want) (*Batch, error) {
	polling := &call{caller: ctx, life: c.life}
	defer polling.release()
	c.mu.Lock()
	if err := ctx.Err(); err != nil {
		c.mu.Unlock()
		return nil, err
	}
	c.fenced = false
	if err := c.goBack(ctx); err != nil {
		c.mu.Unlock()
		return nil, err
	}
	w.Pause = c.pause(w.Pause)
	c.polling = polling
	c.mu.Unlock()

	polled, err := c.m.Poll(polling, w)

	c.mu.Lock()
	defer c.mu.Unlock()
	c.polling = nil
	c.adopt(c.m.Assignment())
	if err != nil {
		if polling.reason() == errInterrupted { //nolint:errorlint // it is this very error
			return nil, errInterrupted
		}
		return nil, err
	}
	return c.opened(polled), nil
}

// goBack lets the driver poll again what was forgotten. A partition of which an
// earlier batch is open is polled again when that has ended, or it would come
// twice. No settle runs then, and none is in doubt: the driver could not take it
// again. The caller holds c.mu.
func (c *Consumer) goBack(ctx context.Context) error {
	if len(c.due()) == 0 {
		return nil
	}
	if err := c.takeLead(ctx); err != nil {
		return err
	}
	defer c.passOn()
	for c.doubt != nil {
		if err := c.carryOut(ctx, c.doubt); err != nil {
			return err
		}
	}
	c.rewindMember()
	return nil
}

// rewindMember lets the driver go back. The caller holds c.mu and the lead.
func (c *Consumer) rewindMember() {
	due := c.due()
	for _, p := range due {
		delete(c.rewind, p)
	}
	c.m.Rewind(due)
}

// due are the partitions to poll again of which nothing is open. The caller holds
// c.mu.
func (c *Consumer) due() []int32 {
	var due []int32
	for p := range c.rewind {
		if !slices.ContainsFunc(c.open, func(b *Batch) bool { return slices.Contains(b.partitions, p) }) {
			due = append(due, p)
		}
	}
	return due
}

// pause adds the partitions that are not to be polled before the driver has gone
// back in them. The caller holds c.mu.
func (c *Consumer) pause(list []TopicPartition) []TopicPartition {
	list = slices.Clip(list)
	for p := range c.rewind {
		for _, topic := range c.topics {
			list = append(list, TopicPartition{topic, p})
		}
	}
	return list
}

// takeLead waits for the settle that is under way and keeps others from beginning
// until passOn is called. The caller holds c.mu.
func (c *Consumer) takeLead(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.idle.Broadcast()
	})
	defer stop()
	c.rewinding = true
	for c.settling && ctx.Err() == nil {
		c.idle.Wait()
	}
	c.rewinding = false
	if c.settling {
		return ctx.Err()
	}
	c.settling = true
	return nil
}

// adopt takes over the assignment, and fences the batches that are lost with it.
// The caller holds c.mu.
func (c *Consumer) adopt(a Assignment) {
	if a.Epoch == c.assignment.Epoch {
		return
	}
	before := c.assignment
	c.assignment = a
	c.fenceLost()
	for p := range c.rewind {
		epoch, owned := a.since(p)
		if was, _ := before.since(p); !owned || epoch != was {
			delete(c.rewind, p) // the driver begins where the group stands
		}
	}
}

// fenceLost fences the batches whose partitions are not the member's any more or
// have not been all the time. The caller holds c.mu.
func (c *Consumer) fenceLost() {
	for _, b := range c.open {
		if b.busy || b.over {
			continue // if its settle does not end it, it is seen to then
		}
		for i, p := range b.partitions {
			if epoch, owned := c.assignment.since(p); !owned || epoch != b.since[i] {
				c.fence(b)
				break
			}
		}
	}
	c.dropEnded()
}

// opened makes a batch of what was polled, or returns nil when it belongs behind
// one that was forgotten meanwhile. The caller holds c.mu.
func (c *Consumer) opened(polled Polled) *Batch {
	b := c.newBatch()
	b.Records, b.Backlog, b.moves = polled.Records, polled.Backlog, polled.Moves
	for _, m := range polled.Moves {
		b.touch(m.Partition)
	}
	for _, p := range b.partitions {
		if c.rewind[p] {
			c.forget(b)
			return nil
		}
		epoch, _ := c.assignment.since(p)
		b.since = append(b.since, epoch)
	}
	c.open = append(c.open, b)
	return b
}

// Assignment tells which partitions this member owned when Poll last returned.
func (c *Consumer) Assignment() Assignment {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.assignment
}

// Rewind forgets all open batches; Poll returns their records again. A settle
// that is under way is waited for.
func (c *Consumer) Rewind() {
	if c.begin() != nil {
		return // Close has forgotten them
	}
	defer c.done()
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.takeLead(context.Background()) // which does not end
	defer c.passOn()
	inDoubt := c.doubt != nil
	c.doubt = nil
	c.forgetAll()
	if inDoubt || len(c.rewind) > 0 {
		c.rewindMember()
	}
}

// Close forgets the open batches, leaves the group and hands its partitions over
// at once. A second Close does nothing.
func (c *Consumer) Close(ctx context.Context) error {
	if !c.end() {
		return nil
	}
	if err := c.parent.begin(); err != nil {
		return err // the broker's Close has ended it
	}
	defer c.parent.done()
	call := &call{caller: ctx, life: c.parent}
	defer call.release()
	c.mu.Lock()
	c.forgetAll()
	c.mu.Unlock()
	if err := c.m.Close(call); err != nil {
		return fmt.Errorf("leave group %s: %w", c.group, call.failed(err))
	}
	return nil
}
