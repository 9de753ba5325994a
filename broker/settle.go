// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"errors"
	"slices"
)

// Settling is led: of the Settles that wait, one calls the driver for all that
// can be settled now, and then passes the lead on. So a member has one settle
// under way at a time, and the more batches become ready meanwhile, the more the
// next one takes.

// Limits of what is settled at once, beyond the first batch.
const (
	settleBatches = 1024
	settleBytes   = 16 << 20
)

// settle is one call of the driver's Settle, for these batches.
type settle struct {
	Settlement
	batches []*Batch
	covers  []*Batch // by a Consumer.Settle: what was open then
}

// errTwice is for a second Settle of a batch beside the first, and for one of all
// open batches beside that of one of them.
var errTwice = errors.New("another Settle of this is under way")

// settle waits until the batch is settled or cannot be.
func (c *Consumer) settle(ctx context.Context, b *Batch, results []Record, routed []int32) error {
	c.mu.Lock()
	if b.inside || !b.all && c.all != nil && c.all.inside {
		defer c.mu.Unlock()
		return errTwice
	}
	if b.over {
		defer c.mu.Unlock()
		return b.err
	}
	b.inside = true
	defer func() {
		c.mu.Lock()
		b.inside = false
		c.mu.Unlock()
	}()
	b.results, b.routed = results, routed // a settle under way or in doubt has its own
	b.ready = true
	lead := !c.settling
	c.settling = c.settling || lead
	c.mu.Unlock()
	for {
		if lead {
			c.lead(ctx, b)
			select { // the most common end, without asking ctx for its channel
			case <-b.ended:
				return c.giveUp(ctx, b)
			default:
			}
		}
		select {
		case <-b.ended:
			return c.giveUp(ctx, b)
		case err := <-b.wake:
			if err != nil {
				return err
			}
			lead = true
		case <-ctx.Done():
			return c.giveUp(ctx, b)
		}
	}
}

// giveUp ends the wait of a Settle whose batch is over or whose context has
// ended. If it has just been its turn to lead, it passes that on.
func (c *Consumer) giveUp(ctx context.Context, b *Batch) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	b.ready = false
	select {
	case err := <-b.wake:
		if err == nil {
			c.passOn()
		}
	default:
	}
	if b.over {
		return b.err
	}
	return ctx.Err()
}

// lead settles what can be settled, as long as the batch waits for it. Its Settle
// learns the end as all others do.
func (c *Consumer) lead(ctx context.Context, b *Batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.passOn()
	for b.ready && !c.rewinding && ctx.Err() == nil {
		s := c.doubt
		if s == nil {
			s = c.collect()
		}
		if s == nil {
			return // it is not the batch's turn
		}
		if err := c.carryOut(ctx, s); err != nil && ctx.Err() == nil {
			c.fail(b, err)
		}
	}
	if ctx.Err() != nil {
		b.ready = false // it leads no more
	}
}

// carryOut calls the driver and does what follows. An error means that it is not
// known whether the settle took place: it is in doubt then, and the next to be
// given to the driver. The caller holds c.mu, which is given up during the call.
func (c *Consumer) carryOut(ctx context.Context, s *settle) error {
	c.doubt = nil
	s.busy(true)
	c.mu.Unlock()
	err := c.m.Settle(ctx, &s.Settlement)
	c.mu.Lock()
	s.busy(false)
	if err == nil {
		c.settled(s)
		return nil
	}
	if !refused(err) && !errors.Is(err, ErrFull) {
		s.busy(true)
		c.doubt = s
		if ctx.Err() == nil {
			for _, b := range s.batches {
				c.fail(b, err)
			}
		}
		return err
	}
	c.fenceLost() // what Poll has left alone meanwhile
	switch {
	case errors.Is(err, ErrFull):
		for _, b := range s.batches {
			c.fail(b, err)
		}
	case refused(err) && len(s.batches) > 1:
		return c.oneByOne(ctx, s)
	case errors.Is(err, ErrFenced):
		c.fenceSettle(s.batches[0])
	default:
		c.fail(s.batches[0], err)
	}
	return nil
}

// refused reports whether the driver has changed nothing, for a reason that lies
// in the batches.
func refused(err error) bool {
	return errors.Is(err, ErrFenced) || errors.Is(err, ErrUnknownTopic) || errors.Is(err, ErrTooLarge)
}

func (s *settle) busy(is bool) {
	for _, b := range s.batches {
		b.busy = is
	}
	for _, b := range s.covers {
		b.busy = is
	}
}

// oneByOne finds out which of several batches is refused. Those behind one that
// stays open wait for it. The caller holds c.mu.
func (c *Consumer) oneByOne(ctx context.Context, s *settle) error {
	blocked := map[int32]bool{}
	for _, b := range s.batches {
		if b.ready && b.free(blocked) {
			if err := c.carryOut(ctx, merge([]*Batch{b})); err != nil {
				return err
			}
		}
		if !b.over {
			b.block(blocked)
		}
	}
	return nil
}

// fail wakes the Settle that waits for the batch. The caller holds c.mu.
func (c *Consumer) fail(b *Batch, err error) {
	if b.ready {
		b.ready = false
		b.wake <- err // there is room: who is woken is not ready any more
	}
}

// settled ends the batches of a settle that took place. The caller holds c.mu.
func (c *Consumer) settled(s *settle) {
	for _, b := range s.covers {
		b.end(nil)
	}
	for _, b := range s.batches {
		if b.all {
			c.all = nil
		}
		b.end(nil)
	}
	c.dropEnded()
}

// fenceSettle is for a batch that the driver has fenced. The caller holds c.mu.
func (c *Consumer) fenceSettle(b *Batch) {
	if !b.all {
		c.fence(b)
		c.dropEnded()
		return
	}
	c.all, c.fenced = nil, true
	b.end(ErrFenced)
	c.forgetAll()
}

// passOn lets the next one lead, if there is one. The caller holds c.mu.
func (c *Consumer) passOn() {
	if b := c.next(); b != nil && !c.rewinding {
		b.wake <- nil // there is room: nobody else is to lead
		return
	}
	c.settling = false
	c.idle.Broadcast()
}

// next is a batch whose Settle can lead now: any if a settle is in doubt. The
// caller holds c.mu.
func (c *Consumer) next() *Batch {
	blocked := map[int32]bool{}
	for _, b := range c.open {
		if b.ready && (c.doubt != nil || b.free(blocked)) {
			return b
		}
		b.block(blocked)
	}
	if c.all != nil && c.all.ready {
		return c.all
	}
	return nil
}

func (b *Batch) free(blocked map[int32]bool) bool {
	for _, p := range b.partitions {
		if blocked[p] {
			return false
		}
	}
	return true
}

func (b *Batch) block(blocked map[int32]bool) {
	for _, p := range b.partitions {
		blocked[p] = true
	}
}

// collect makes a settle of the batches that can be settled now, or returns nil.
// The caller holds c.mu.
func (c *Consumer) collect() *settle {
	var list []*Batch
	bytes := 0
	blocked := map[int32]bool{}
	for _, b := range c.open {
		if !b.ready || !b.free(blocked) || len(list) == settleBatches || bytes > settleBytes {
			b.block(blocked)
			continue
		}
		list = append(list, b)
		for i := range b.results {
			bytes += b.results[i].Size()
		}
	}
	if len(list) > 0 {
		return merge(list)
	}
	if c.all != nil && c.all.ready {
		s := merge([]*Batch{c.all})
		s.All = true
		s.covers = append(s.covers, c.open...)
		s.addMoves(s.covers)
		return s
	}
	return nil
}

// merge makes one settle of batches.
func merge(list []*Batch) *settle {
	s := &settle{batches: list}
	if len(list) == 1 {
		s.Moves, s.Records, s.Partitions = list[0].moves, list[0].results, list[0].routed
		return s
	}
	s.addMoves(list)
	for _, b := range list {
		s.Records = append(s.Records, b.results...)
		s.Partitions = append(s.Partitions, b.routed...)
	}
	return s
}

// addMoves adds the moves of batches, which follow each other in each partition.
func (s *settle) addMoves(list []*Batch) {
	at := map[TopicPartition]int{}
	for _, b := range list {
		for _, m := range b.moves {
			if i, known := at[m.TopicPartition]; known {
				s.Moves[i].To = m.To
				continue
			}
			at[m.TopicPartition] = len(s.Moves)
			s.Moves = append(s.Moves, m)
		}
	}
}

// fence forgets a batch and those that would leave a hole without it. The caller
// holds c.mu and calls dropEnded.
func (c *Consumer) fence(b *Batch) {
	if b.over {
		return
	}
	lost := map[int32]bool{}
	b.block(lost)
	c.forget(b)
	later := false
	for _, other := range c.open {
		if later && !other.over && !other.free(lost) {
			other.block(lost)
			c.forget(other)
		}
		later = later || other == b
	}
}

// forgetAll forgets every open batch. The caller holds c.mu.
func (c *Consumer) forgetAll() {
	for _, b := range c.open {
		c.forget(b)
	}
	c.dropEnded()
	if c.all != nil {
		c.all.end(ErrFenced)
		c.all = nil
	}
}

// forget ends a batch without settling it: its records are polled again. The
// caller holds c.mu.
func (c *Consumer) forget(b *Batch) {
	for _, p := range b.partitions {
		c.rewind[p] = true
	}
	b.end(ErrFenced)
}

// end ends a batch. A Poll under way begins again if it is in the way of going
// back. The caller holds c.mu.
func (b *Batch) end(err error) {
	if b.over {
		return
	}
	b.over, b.err, b.ready, b.busy = true, err, false, false
	b.results, b.routed = nil, nil
	close(b.ended)
	if b.c.polling != nil && slices.ContainsFunc(b.partitions, func(p int32) bool { return b.c.rewind[p] }) {
		b.c.polling.interrupt(errInterrupted)
	}
}

// dropEnded forgets the batches that are over. The caller holds c.mu.
func (c *Consumer) dropEnded() {
	left := c.open[:0]
	for _, b := range c.open {
		if !b.over {
			left = append(left, b)
		}
	}
	clear(c.open[len(left):])
	c.open = left
}
