// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace-ml/millrace/broker"
)

// settling is a settlement that is being carried out. Its states:
//
//   - Begun: its moves begin where the group stands. From here on the member lets
//     go of no share that it is about.
//   - Tried, and tried again after what passes, while its caller waits.
//   - Done: it took place, and the cursors have moved. Or nothing has changed: it
//     was fenced, it failed for good, or it was abandoned, which is that it failed
//     in passing when its caller had gone.
//
// It goes on until it is done, even when its caller has gone: one who comes back
// with the same settlement, and a Poll after a Rewind, learn from it what happened.
type settling struct {
	given     *broker.Settlement // by which it is known again; not to be looked into
	all       bool               // needs all that Poll returned last as the member's
	records   []*kgo.Record
	cursors   []*cursor                       // that it moves
	moves     map[broker.TopicPartition]int64 // to where
	note      string                          // marks the moves, so that they are known again
	abandoned <-chan struct{}                 // closed when the caller has gone
	done      chan struct{}                   // closed when the outcome is known
	err       error                           // the outcome; nil: it took place
}

// holds reports whether the settle is about the share.
func (s *settling) holds(sh *share) bool {
	if s.all {
		return true
	}
	for _, cur := range s.cursors {
		if cur.share == sh {
			return true
		}
	}
	return false
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

// Settle implements [broker.Member].
func (c *consumer) Settle(ctx context.Context, given *broker.Settlement) error {
	for {
		s, err := c.underWay(ctx, given)
		if err != nil {
			return c.d.known(err)
		}
		if err := s.await(ctx); err != nil {
			return err // c.pending goes on
		}
		c.pending = nil
		if !errors.Is(s.err, errAbandoned) {
			return c.d.known(s.err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// underWay is the settle of the settlement: the one that its caller gave up, or
// a new one.
func (c *consumer) underWay(ctx context.Context, given *broker.Settlement) (*settling, error) {
	if c.pending != nil && c.pending.given == given {
		return c.pending, nil
	}
	if c.pending != nil { // of a settlement that was forgotten
		if err := c.pending.await(ctx); err != nil {
			return nil, err
		}
		c.pending = nil
	}
	s := &settling{
		given: given, all: given.All, moves: map[broker.TopicPartition]int64{},
		abandoned: ctx.Done(), done: make(chan struct{}),
	}
	if err := c.m.begin(s, given); err != nil {
		return nil, err
	}
	s.records = copies(given.Records, given.Partitions)
	c.pending = s
	c.txn.runs.Go(func() { c.txn.run(s) })
	return s, nil
}

// begin finds what the settle moves, and keeps the shares until its outcome is
// known.
func (m *member) begin(s *settling, given *broker.Settlement) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failure != nil {
		return m.failure
	}
	if s.all && m.lost {
		return broker.ErrFenced
	}
	for _, move := range given.Moves {
		cur := m.cursor(move.TopicPartition)
		if cur == nil || cur.position != move.From {
			return broker.ErrFenced
		}
		s.cursors = append(s.cursors, cur)
		s.moves[move.TopicPartition] = move.To
	}
	if len(s.cursors) == 0 && len(given.Records) > 0 {
		m.stand(s)
	}
	m.settling = s
	return nil
}

// stand makes a settle without moves move one partition to where it is: the
// coordinator then checks the member, and remembers the settle. The caller holds
// m.mu.
func (m *member) stand(s *settling) {
	for _, share := range m.shares {
		cur := share.cursors[0]
		s.cursors = append(s.cursors, cur)
		s.moves[cur.at] = cur.position
		return
	}
}

// asMember makes a call for a settle that the coordinator takes from members of
// the group's present generation only. When the group is between two generations
// it is made again in the new one, as long as the member owns what it is about.
func (m *member) asMember(ctx context.Context, s *settling, call func(ctx context.Context, id string, generation int32) error) error {
	for try := 1; ; try++ {
		m.mu.Lock()
		owns, failure, id, generation := m.owns(s), m.failure, m.id, m.generation
		m.mu.Unlock()
		if failure != nil {
			return failure
		}
		if !owns {
			return broker.ErrFenced
		}
		err := call(ctx, id, generation)
		switch {
		case err == nil:
			return nil
		case stale(err):
			if err := m.awaitOther(ctx, s, id, generation); err != nil {
				return err
			}
		case heals(err):
			if err := again(ctx, try); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// awaitOther waits until the member is one of another generation, or has lost
// what the settle is about.
func (m *member) awaitOther(ctx context.Context, s *settling, id string, generation int32) error {
	select {
	case m.asked <- struct{}{}:
	default: // asked already
	}
	return m.await(ctx, func() bool {
		return !m.owns(s) || m.failure != nil || m.generation >= 0 && (m.generation != generation || m.id != id)
	})
}

// settled ends a settle whose outcome is known.
func (m *member) settled(s *settling) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.err == nil {
		for _, cur := range s.cursors {
			cur.settled(s.moves[cur.at])
		}
	}
	m.settling = nil
	m.letGo()
	m.notify()
	close(s.done)
}
