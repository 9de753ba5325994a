// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// follow takes part in the group's rebalance, if there is one: it gives the
// partitions that others wait for and of which nothing is open, and takes those
// that it should have. Where positions are in doubt it verifies them.
func (m *member) follow(ctx context.Context) error {
	if m.unsure.Load() {
		return m.verify(ctx)
	}
	if !m.stale.Swap(false) && !m.overdue() {
		return nil
	}
	m.mu.Lock()
	lease := m.lease
	m.mu.Unlock()
	if err := m.sync(ctx, lease); err != nil {
		m.stale.Store(true)
		return err
	}
	return nil
}

// sync asks the group's script what the member owns now. With no lease the answer
// has the group's positions in any case.
func (m *member) sync(ctx context.Context, lease string) error {
	a, err := m.d.ask(ctx, question{action: "poll", group: m.group, member: m.name, lease: lease, topics: m.topics, busy: m.busy()})
	if err != nil {
		return err
	}
	m.heed(a.Event)
	m.due = time.Time{}
	if a.Due >= 0 {
		m.due = time.Now().Add(time.Duration(a.Due) * time.Millisecond)
	}
	return m.assign(a, lease == "")
}

// busy lists the partitions of which something is open. Settles that take place
// meanwhile can only make it shorter.
func (m *member) busy() []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []int32
	for _, c := range m.feed.cursors {
		if n := len(list); len(c.ends) > 0 && (n == 0 || list[n-1] != c.partition) {
			list = append(list, c.partition)
		}
	}
	return list
}

// assign takes over what the member owns now. What it has owned all the time
// goes on where it is, unless the group is to be believed.
func (m *member) assign(a membership, believe bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	owned := make(map[broker.TopicPartition]*cursor, len(a.Owned)*len(m.topics))
	var list cursors
	is := broker.Assignment{Epoch: epoch(a.Lease)}
	for _, o := range a.Owned {
		for i, t := range m.topics {
			at := broker.TopicPartition{Topic: t.Name, Partition: o.Partition}
			c := m.owned[at]
			kept := c != nil && c.since == o.Since
			switch {
			case kept && !believe:
			case len(o.Positions) != len(m.topics):
				return fmt.Errorf("the script group.lua answered with %d positions for %d topics", len(o.Positions), len(m.topics))
			case !kept:
				c = newCursor(t, o.Partition, o.Positions[i])
				c.since = o.Since
			case c.position != o.Positions[i] || c.next.last < c.position.last:
				c.seek(o.Positions[i])
			}
			c.leaving = o.Wanted
			owned[at] = c
			list = append(list, c)
		}
		is.Partitions = append(is.Partitions, o.Partition)
		is.Since = append(is.Since, epoch(o.Since))
	}
	for at, c := range m.owned {
		c.gone = owned[at] != c
	}
	m.lease, m.owned, m.feed.cursors, m.assignment = a.Lease, owned, list, is
	return nil
}

func epoch(lease string) int64 {
	n, _ := strconv.ParseInt(lease, 10, 64)
	return n
}

// verify finds out where the group is. It is called when a settle may or may not
// have taken place, and when the server was out of reach: it may have forgotten
// something, or be another one. While it has the turn nothing moves.
func (m *member) verify(ctx context.Context) error {
	if err := m.takeTurn(ctx); err != nil {
		return err
	}
	defer m.passTurn()
	if err := m.finish(ctx); err != nil {
		return err
	}
	m.stale.Store(false)
	m.feed.restart() // what was read may not be there any more
	err := m.sync(ctx, "")
	if err == nil {
		err = m.findLoss(ctx)
	}
	if err != nil {
		return err
	}
	m.unsure.Store(false)
	return nil
}

// findLoss looks for streams that end before what was read of them: the server
// has lost records. That is reported if the group had settled them, and it goes
// on with what there is. The caller has the turn.
func (m *member) findLoss(ctx context.Context) error {
	var streams []string
	for _, c := range m.feed.cursors {
		streams = append(streams, c.stream)
	}
	ends, err := m.d.ends(ctx, streams)
	if err != nil {
		return err
	}
	for i, c := range m.feed.cursors {
		end := position{ends[i].Last, ends[i].Added}
		if c.next.last <= end.last {
			continue
		}
		if c.position.last > end.last {
			m.d.options.Logger.Error("Redis has lost records that a group had read",
				"server", m.d.server, "group", m.group, "stream", c.stream, "position", c.position.last, "end", end.last)
			err := m.carryOut(ctx, m.prepare("", []move{{c, c.position, end}}, nil))
			if err != nil && !errors.Is(err, broker.ErrFenced) {
				return err
			}
		}
		m.mu.Lock()
		c.seek(c.position)
		m.mu.Unlock()
	}
	return nil
}
