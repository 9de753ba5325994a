// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace-ml/millrace/broker"
)

// settling is a settle. Once begun it goes on until its outcome is known, even
// when its caller has gone: whoever comes next finds out from it.
type settling struct {
	results []*kgo.Record
	moves   map[broker.TopicPartition]int64
	note    string // marks the moves, so that they are known again

	abandoned <-chan struct{} // closed when the caller has gone
	done      chan struct{}   // closed when the outcome is known
	err       error           // the outcome; nil: it took place
}

// await waits for the outcome.
func (s *settling) await(ctx context.Context) error {
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Settle implements [broker.Consumer].
func (c *consumer) Settle(ctx context.Context, results ...broker.Record) error {
	inner, leave, err := c.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := c.settle(inner, results); err != nil {
		if ctx.Err() != nil && !errors.Is(err, broker.ErrFenced) {
			err = ctx.Err()
		}
		return fmt.Errorf("settle %s: %w", c.m.group, c.b.failed(err))
	}
	return nil
}

func (c *consumer) settle(ctx context.Context, results []broker.Record) error {
	if c.pending != nil {
		took, err := c.outcome(ctx)
		if took || err != nil {
			return err
		}
	}
	list, err := c.b.addressed(ctx, results)
	if err != nil {
		return err
	}
	s := &settling{results: list, abandoned: ctx.Done(), done: make(chan struct{})}
	if err := c.begin(s); err != nil {
		c.forget()
		return err
	}
	c.pending = s
	c.txn.runs.Go(func() { c.txn.run(s) })
	took, err := c.outcome(ctx)
	if !took && err == nil {
		err = errAbandoned
	}
	return err
}

// begin fixes what the settle moves, and keeps the member's partitions until its
// outcome is known.
func (c *consumer) begin(s *settling) error {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	if c.m.failure != nil {
		return c.m.failure
	}
	if c.m.lost {
		return broker.ErrFenced
	}
	s.moves = map[broker.TopicPartition]int64{}
	if c.open {
		for _, cur := range c.queue.cursors {
			if cur.taken > 0 {
				s.moves[cur.at] = cur.next()
			}
		}
	} else if len(s.results) > 0 {
		c.stand(s.moves)
	}
	c.m.settling = true
	return nil
}

// stand moves one partition to where it is: the coordinator then checks the
// member, and remembers the settle. The caller holds m.mu.
func (c *consumer) stand(moves map[broker.TopicPartition]int64) {
	if len(c.queue.cursors) > 0 {
		moves[c.queue.cursors[0].at] = c.queue.cursors[0].position
		return
	}
	for p, share := range c.m.shares { // before the first Poll
		topic := c.m.topics[0]
		moves[broker.TopicPartition{Topic: topic, Partition: p}] = share.positions[topic]
		return
	}
}

// outcome waits for the pending settle and does what follows from it. It reports
// whether the settle took place. An error means that it did not, and should not
// be tried again by itself, or that it is not known yet.
func (c *consumer) outcome(ctx context.Context) (took bool, err error) {
	s := c.pending
	if err := s.await(ctx); err != nil {
		return false, err
	}
	c.pending = nil
	switch {
	case s.err == nil:
		c.finish()
		return true, nil
	case errors.Is(s.err, broker.ErrFenced):
		c.forget()
	case errors.Is(s.err, errAbandoned):
		return false, nil
	}
	return false, s.err
}

// findOut waits for a settle that was not waited for before its batch was
// rewound.
func (c *consumer) findOut(ctx context.Context) error {
	if c.pending == nil {
		return nil
	}
	took, err := c.outcome(ctx)
	if c.pending != nil {
		return err
	}
	if !took {
		c.forget()
	}
	return nil
}

// finish moves past the batch.
func (c *consumer) finish() {
	for _, cur := range c.queue.cursors {
		cur.settled()
	}
	c.release()
}
