// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Batch is what a Poll returned: a handle by which its records are settled. Its
// methods may be called by any goroutine, by one at a time.
type Batch struct {
	Records []Record // at least one, not to be changed
	Backlog int64    // further records that could have been polled, as well as the broker knows

	c          *Consumer
	moves      []Move
	partitions []int32 // of the records
	since      []int64 // the epoch in which the member had gained each of them

	// Under c.mu.
	all     bool // stands for all open batches: a Consumer.Settle
	inside  bool // a Settle has not returned
	ready   bool // it waits, with what follows
	results []Record
	routed  []int32 // the results' partitions
	busy    bool    // part of a settle that is under way or in doubt
	over    bool    // settled or forgotten
	err     error   // how it ended

	wake  chan error    // to the Settle that waits: nil for its turn to lead, else how it failed
	ended chan struct{} // closed when it is over
}

func (c *Consumer) newBatch() *Batch {
	return &Batch{c: c, wake: make(chan error, 1), ended: make(chan struct{})}
}

// Oldest is when the oldest of the records was appended.
func (b *Batch) Oldest() time.Time {
	oldest := b.Records[0].Time
	for i := range b.Records {
		if t := b.Records[i].Time; t.Before(oldest) {
			oldest = t
		}
	}
	return oldest
}

func (b *Batch) touch(partition int32) {
	if !slices.Contains(b.partitions, partition) {
		b.partitions = append(b.partitions, partition)
	}
}

// Settle appends the results and moves the group past the batch, as one unit, and
// returns when both are durable. It waits for the batches that were polled before
// this one from the same partitions.
//
// [ErrFenced] means that the batch was fenced or forgotten: nothing was changed,
// and its records come again. [ErrTooLarge], [ErrUnknownTopic] and [ErrFull] mean
// that nothing was changed and the batch is still open. After any other error, such
// as the context's, it is not known whether the settle took place; Settle may be
// called again with the same results, and takes place once; until then, or until Rewind or
// Close, the results may still be read. A batch that is
// settled stays so: a further Settle does nothing.
func (b *Batch) Settle(ctx context.Context, results ...Record) error {
	c := b.c
	call, err := c.enter(ctx)
	if err != nil {
		return err
	}
	defer call.leave()
	routed, err := c.b.route(call, results)
	if err == nil {
		err = c.settle(call, b, results, routed)
	}
	if err != nil {
		return fmt.Errorf("settle %s: %w", c.group, call.failed(err))
	}
	return nil
}

// Settle appends the results and moves the group past all that was polled and is
// not settled, as one unit; without an open batch it appends the results only. It
// is fenced when the group has taken any partition from this member since Poll
// returned last: a join, whose results are about more than the last records, is
// safe with it. No batch may be in a Settle of its own. Errors are as in
// [Batch.Settle]; after [ErrFenced] every Settle is fenced until the next Poll.
func (c *Consumer) Settle(ctx context.Context, results ...Record) error {
	call, err := c.enter(ctx)
	if err != nil {
		return err
	}
	defer call.leave()
	routed, err := c.b.route(call, results)
	if err == nil {
		err = c.settleAll(call, results, routed)
	}
	if err != nil {
		return fmt.Errorf("settle %s: %w", c.group, call.failed(err))
	}
	return nil
}

func (c *Consumer) settleAll(ctx context.Context, results []Record, routed []int32) error {
	c.mu.Lock()
	if c.fenced {
		c.mu.Unlock()
		return ErrFenced
	}
	if slices.ContainsFunc(c.open, func(b *Batch) bool { return b.inside && !b.busy }) {
		c.mu.Unlock()
		return errTwice
	}
	b := c.all // of an earlier call that does not know what became of it
	if b == nil {
		b = c.newBatch()
		b.all = true
		c.all = b
	}
	c.mu.Unlock()
	return c.settle(ctx, b, results, routed)
}
