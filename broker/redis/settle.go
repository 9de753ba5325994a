// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/millrace-ml/millrace/broker"
)

// move is a group's way past records in one stream.
type move struct {
	cursor   *cursor
	from, to position
}

// pending is a settle as it is sent, with a number by which the server knows it:
// it may be sent again until there is an answer. The next one has a higher number.
// When that has been carried out, what may still be under way of this one comes to
// nothing.
type pending struct {
	of    *broker.Settlement // nil for one of the member's own
	moves []move
	keys  []string
	args  []any

	over bool // it is known what became of it: err
	err  error
}

func (m *member) takeTurn(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case m.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *member) passTurn() { <-m.turn }

// Settle implements [broker.Member]. What it is asked again is known by the
// settlement's address.
func (m *member) Settle(ctx context.Context, s *broker.Settlement) error {
	if err := m.takeTurn(ctx); err != nil {
		return err
	}
	defer m.passTurn()
	if p := m.pending; p != nil && p.of == s {
		return m.carryOut(ctx, p)
	}
	records, err := m.d.route(ctx, s.Records, s.Partitions)
	if err != nil {
		return err
	}
	m.mu.Lock()
	moves, err := m.moves(s.Moves)
	lease := ""
	if s.All {
		lease = m.polled
	}
	m.mu.Unlock()
	if err != nil {
		return err
	}
	p := m.prepare(lease, moves, records)
	p.of = s
	return m.carryOut(ctx, p)
}

// finish sees to it that what became of the last settle is known. The caller has
// the turn.
func (m *member) finish(ctx context.Context) error {
	p := m.pending
	if p == nil || p.over {
		return nil
	}
	if err := m.carryOut(ctx, p); !p.over {
		return err
	}
	m.setPending(p) // Settle may yet be asked about it
	return nil
}

func (m *member) setPending(p *pending) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pending = p
}

// moves finds the streams of moves, and the whole of the positions that they go
// to. The caller holds m.mu.
func (m *member) moves(list []broker.Move) ([]move, error) {
	moves := make([]move, len(list))
	for i, mv := range list {
		c := m.owned[mv.TopicPartition]
		if c == nil || c.position.offset() != mv.From {
			return nil, broker.ErrFenced
		}
		end := slices.IndexFunc(c.ends, func(p position) bool { return p.offset() == mv.To })
		if end < 0 {
			return nil, broker.ErrFenced
		}
		moves[i] = move{c, c.position, c.ends[end]}
	}
	return moves, nil
}

// prepare makes a settle. The caller has the turn.
func (m *member) prepare(lease string, moves []move, records []routed) *pending {
	m.number++
	e := newEncoder(records, 5+8*len(moves))
	e.keys = append(e.keys, m.d.keys.generation(), m.d.keys.group(m.group))
	e.args = append(e.args, m.group, m.name, strconv.FormatInt(m.number, 10), lease, len(moves))
	for _, mv := range moves {
		c := mv.cursor
		e.args = append(e.args, e.stream(c.stream), ownerField(c.partition), c.since, positionField(c.topic.Name, c.partition),
			mv.from.String(), mv.to.String(), mv.to.last.String(), mv.to.read)
	}
	e.add(records)
	return &pending{moves: moves, keys: e.keys, args: e.args}
}

// carryOut sends a settle until there is an answer, and takes that over. The
// caller has the turn.
func (m *member) carryOut(ctx context.Context, p *pending) error {
	if p.over {
		return p.err
	}
	m.setPending(p)
	_, err := m.d.run(ctx, m.d.scripts.settle, p.keys, p.args)
	switch {
	case err == nil:
		m.moved(p.moves)
	case isReply(err, "FENCED"):
		m.stale.Store(true)
		err = broker.ErrFenced
	case isReply(err, "ASTRAY"):
		m.d.options.Logger.Error("the group is not where this member left it: Redis has lost a settle, or somebody has moved the group",
			"server", m.d.server, "group", m.group)
		m.unsure.Store(true)
		err = fmt.Errorf("%w: the group is not where it was left", broker.ErrFenced)
	case !errors.Is(err, broker.ErrFull) && !isAnswer(err):
		return err // it may take place yet
	}
	p.over, p.err, p.keys, p.args = true, err, nil, nil
	m.setPending(nil)
	return err
}

// moved goes on to where a settle has moved the group. A partition that others
// wait for is to be given when nothing of it is open any more.
func (m *member) moved(moves []move) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, mv := range moves {
		c := mv.cursor
		c.position = mv.to
		c.ends = slices.DeleteFunc(c.ends, func(p position) bool { return p.last <= mv.to.last })
		if c.leaving && len(c.ends) == 0 {
			m.rouse()
		}
	}
}
