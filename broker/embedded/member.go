// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// member implements [broker.Member]. The goroutine that polls and the one that
// settles meet in the group alone, under its mutex: Settle moves the group's
// positions, and what lies between a position and where the cursor's last Poll
// ended is open.
type member struct {
	g       *group
	d       *driver
	name    string
	watcher *watcher

	// Of the goroutine that polls. The fetcher has a cursor for each topic of each
	// partition of the assignment, in this order.
	assignment broker.Assignment
	fetcher    fetcher

	moves []position // of the goroutine that settles

	mustGive atomic.Bool // something can be handed over, or must soon

	// Under g.mu.
	lost     bool // a partition was given or taken since the assignment was made
	fenced   bool // a partition was taken since the last Poll returned
	settling bool // a commit has begun
	overdue  bool // a partition is to be taken when it ends
}

func newMember(g *group) *member {
	return &member{
		g: g, d: g.d,
		name:    fmt.Sprintf("%s-%d", g.name, g.d.joins.Add(1)),
		watcher: newWatcher(),
		fetcher: fetcher{d: g.d},
	}
}

// askFor makes Poll hand over what it can, also one that waits.
func (m *member) askFor() {
	m.mustGive.Store(true)
	m.watcher.wake()
}

// Poll implements [broker.Member].
func (m *member) Poll(ctx context.Context, w broker.Want) (broker.Polled, error) {
	records, err := m.collect(ctx, w)
	m.returned()
	if err != nil {
		for _, c := range m.fetcher.cursors {
			c.goTo(c.polled)
		}
		return broker.Polled{}, err
	}
	return broker.Polled{Records: records, Moves: m.moved(), Backlog: m.fetcher.available()}, nil
}

// collect waits for the first record and then up to w.Wait for more.
func (m *member) collect(ctx context.Context, w broker.Want) ([]broker.Record, error) {
	var out []broker.Record
	var timeout <-chan time.Time
	for {
		if err := cmp.Or(ctx.Err(), m.d.failure.get()); err != nil {
			return nil, err
		}
		if len(out) == 0 {
			m.assign(w.Pause)
		}
		if n := min(int64(w.Records), m.fetcher.available()); n > 0 {
			if out == nil {
				out = make([]broker.Record, 0, n)
			}
			var err error
			if out, w.Bytes, err = m.fetcher.fetch(out, w.Records, w.Bytes); err != nil {
				return nil, err
			}
		}
		if len(out) > 0 {
			// Who waits for more must not keep others waiting for a partition.
			if len(out) >= w.Records || w.Bytes <= 0 || w.Wait <= 0 || m.mustGive.Load() {
				return out, nil
			}
			if timeout == nil {
				timer := time.NewTimer(w.Wait)
				defer timer.Stop()
				timeout = timer.C
			}
		}
		select {
		case <-m.watcher.ch:
		case <-ctx.Done():
		case <-timeout:
			return out, nil
		case <-m.d.failure.failed:
		}
	}
}

// moved notes what this Poll has polled.
func (m *member) moved() []broker.Move {
	moves := make([]broker.Move, 0, len(m.fetcher.cursors))
	for _, c := range m.fetcher.cursors {
		if !c.taken {
			continue
		}
		at := broker.TopicPartition{Topic: c.p.topic.name, Partition: c.p.index}
		moves = append(moves, broker.Move{TopicPartition: at, From: c.polled, To: c.next})
		c.polled, c.taken = c.next, false
	}
	return moves
}

// returned is called when Poll returns: the caller knows now of what was lost
// before the assignment was made.
func (m *member) returned() {
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	m.fenced = m.fenced && m.lost
}

// assign takes part in the group's rebalance, gives and takes partitions, and
// finds out which may be polled: not those that are paused or that another
// member waits for.
func (m *member) assign(pause []broker.TopicPartition) {
	g := m.g
	g.mu.Lock()
	defer g.mu.Unlock()
	gave, took := g.release(m), g.take(m)
	if gave || took || m.lost {
		g.epoch++
		m.lost = false
		m.adopt()
	}
	if gave {
		g.handOver()
	}
	for _, c := range m.fetcher.cursors {
		if c.polled < *c.position {
			c.rewind() // what was being settled when Rewind came
		}
		c.paused = g.target[c.p.index] != m ||
			len(pause) > 0 && slices.Contains(pause, broker.TopicPartition{Topic: c.p.topic.name, Partition: c.p.index})
	}
}

// adopt makes the assignment what the group says. Partitions that were kept are
// polled on, those that were gained from the group's position. The caller holds
// g.mu.
func (m *member) adopt() {
	g := m.g
	kept := func(p int32) bool { return g.owner[p] == m && g.gained[p] != g.epoch }
	a := broker.Assignment{Epoch: g.epoch}
	var cursors []*cursor
	for i, owner := range g.owner {
		if owner != m {
			continue
		}
		p := int32(i)
		a.Partitions = append(a.Partitions, p)
		a.Since = append(a.Since, g.gained[p])
		if kept(p) {
			cursors = append(cursors, m.cursorsOf(p)...)
			continue
		}
		for _, t := range g.topics {
			c := &cursor{p: t.partitions[p], limit: math.MaxInt64, position: &g.at(t)[p]}
			c.rewind()
			c.p.watch(m.watcher)
			cursors = append(cursors, c)
		}
	}
	for _, c := range m.fetcher.cursors {
		if !kept(c.p.index) {
			c.p.unwatch(m.watcher)
		}
	}
	m.assignment, m.fetcher.cursors = a, cursors
}

// cursorsOf are those of a partition; none when it is not in the assignment.
func (m *member) cursorsOf(p int32) []*cursor {
	i, ok := slices.BinarySearch(m.assignment.Partitions, p)
	if !ok {
		return nil
	}
	n := len(m.fetcher.cursors) / len(m.assignment.Partitions)
	return m.fetcher.cursors[i*n : (i+1)*n]
}

// hasOpen reports whether something of the partition is polled and not settled.
// The caller holds g.mu.
func (m *member) hasOpen(p int32) bool {
	return slices.ContainsFunc(m.cursorsOf(p), func(c *cursor) bool { return c.polled != *c.position })
}

// Rewind implements [broker.Member].
func (m *member) Rewind(partitions []int32) {
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	for _, p := range partitions {
		for _, c := range m.cursorsOf(p) {
			c.rewind()
		}
	}
}

// Settle implements [broker.Member].
func (m *member) Settle(_ context.Context, s *broker.Settlement) error {
	if err := m.beginSettle(s); err != nil {
		return err
	}
	defer m.endSettle()
	return m.d.commit(&commit{records: s.Records, partitions: s.Partitions, positions: m.moves, settled: m.settled})
}

// beginSettle makes sure that the member may settle, and keeps its partitions
// until endSettle.
func (m *member) beginSettle(s *broker.Settlement) error {
	g := m.g
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.All && m.fenced {
		return broker.ErrFenced
	}
	m.moves = m.moves[:0]
	for _, move := range s.Moves {
		i := slices.IndexFunc(g.topics, func(t *topic) bool { return t.name == move.Topic })
		if i < 0 || g.owner[move.Partition] != m || g.at(g.topics[i])[move.Partition] != move.From {
			return broker.ErrFenced
		}
		m.moves = append(m.moves, position{g.name, g.topics[i].partitions[move.Partition], move.To})
	}
	m.settling = true
	return nil
}

// settled shows results and positions together: who sees one of them and then
// asks for the other finds it, because positions are read under the same lock.
func (m *member) settled(reveal func()) {
	g := m.g
	g.mu.Lock()
	defer g.mu.Unlock()
	reveal()
	g.moved(m.moves)
	if slices.ContainsFunc(m.moves, func(at position) bool { return g.target[at.p.index] != m }) {
		m.askFor() // there may be nothing open any more
	}
}

func (m *member) endSettle() {
	g := m.g
	g.mu.Lock()
	defer g.mu.Unlock()
	m.settling = false
	if m.overdue {
		m.overdue = false
		g.takeOverdue()
		g.handOver()
	}
}

// Assignment implements [broker.Member].
func (m *member) Assignment() broker.Assignment { return m.assignment }

// Close implements [broker.Member].
func (m *member) Close(context.Context) error {
	for _, c := range m.fetcher.cursors {
		c.p.unwatch(m.watcher)
	}
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	m.g.leave(m)
	return nil
}
