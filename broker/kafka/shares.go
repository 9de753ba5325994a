// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"context"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// share is a partition of all topics of the group.
type share struct {
	partition int32
	cursors   []*cursor // one for each topic
	since     int64     // the epoch in which it was gained
	assigned  bool      // Poll has returned with it
	due       time.Time // when it must be let go; zero for a share that stays
}

// open reports whether something of the share was polled and is not settled. The
// caller holds the member's mu.
func (s *share) open() bool {
	for _, c := range s.cursors {
		if c.taken > 0 {
			return true
		}
	}
	return false
}

// owned lists what the member owns. The caller holds m.mu.
func (m *member) owned() []int32 {
	list := make([]int32, 0, len(m.shares))
	for p := range m.shares {
		list = append(list, p)
	}
	slices.Sort(list)
	return list
}

// compare marks what is to be let go and returns what is new.
func (m *member) compare(assigned []int32) (gained []int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p, s := range m.shares {
		switch {
		case slices.Contains(assigned, p):
			s.due = time.Time{}
		case s.due.IsZero():
			s.due = time.Now().Add(m.d.options.HandoverTimeout)
		}
	}
	for _, p := range assigned {
		if m.shares[p] == nil {
			gained = append(gained, p)
		}
	}
	m.notify()
	return gained
}

// gain finds the positions of new shares, waiting for what former owners have
// begun, and makes them the member's.
func (m *member) gain(ctx context.Context, gained []int32) error {
	positions, err := m.positions(ctx, gained)
	if err != nil {
		return err
	}
	var shares []*share
	for _, p := range gained {
		s := &share{partition: p}
		for _, t := range m.topics {
			at := broker.TopicPartition{Topic: t, Partition: p}
			s.cursors = append(s.cursors, &cursor{at: at, share: s, position: positions[at], fetched: positions[at]})
		}
		shares = append(shares, s)
	}
	m.readAhead(ctx, shares)
	m.mu.Lock()
	defer m.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if len(shares) > 0 {
		m.epoch++
	}
	for _, s := range shares {
		s.since = m.epoch
		m.shares[s.partition] = s
	}
	m.joined = true
	m.notify()
	return nil
}

// readAhead fetches the first records of new shares, so that the first Poll knows
// the backlog of them all: fetches for them come back one by one, and those for
// partitions where nothing waits not at all. When that takes long it goes without.
func (m *member) readAhead(ctx context.Context, shares []*share) {
	if len(shares) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, decision)
	defer cancel()
	ends, err := listOnce(ctx, m.d.admin.ListCommittedOffsets, m.topics)
	if err != nil {
		return
	}
	var cursors []*cursor
	var spans []*span
	for _, s := range shares {
		for _, cur := range s.cursors {
			if list := ends[cur.at.Topic]; int(s.partition) < len(list) {
				cursors = append(cursors, cur)
				spans = append(spans, &span{topic: cur.at.Topic, partition: s.partition, next: cur.fetched, end: list[s.partition]})
			}
		}
	}
	_ = m.d.lookAhead(ctx, spans) // what came until it failed is right
	for i, s := range spans {
		cursors[i].push(s.records, s.next, s.end)
	}
}

// positions are the group's in the partitions of all topics. Where it has none
// they become its start.
func (m *member) positions(ctx context.Context, partitions []int32) (map[broker.TopicPartition]int64, error) {
	if len(partitions) == 0 {
		return nil, nil
	}
	all, err := m.d.committed(ctx, m.group, true)
	if err != nil {
		return nil, err
	}
	at := map[broker.TopicPartition]int64{}
	begin := map[broker.TopicPartition]int64{}
	for _, t := range m.topics {
		var starts []int64
		for _, p := range partitions {
			tp := broker.TopicPartition{Topic: t, Partition: p}
			c, ok := all[tp]
			if !ok {
				if starts == nil {
					if starts, err = m.d.resolve(ctx, t, m.start); err != nil {
						return nil, err
					}
				}
				begin[tp] = starts[p]
				c.offset = starts[p]
			}
			at[tp] = c.offset
		}
	}
	if len(begin) > 0 {
		m.mu.Lock()
		id, generation := m.id, m.generation
		m.mu.Unlock()
		if err := m.commit(ctx, id, generation, begin, ""); err != nil {
			return nil, err
		}
	}
	return at, nil
}

// everywhere reports whether there is a position for each partition.
func (m *member) everywhere(at map[broker.TopicPartition]position) bool {
	for _, t := range m.topics {
		for p := range m.count {
			if _, ok := at[broker.TopicPartition{Topic: t, Partition: int32(p)}]; !ok {
				return false
			}
		}
	}
	return true
}

// due is when the next share must be let go; zero for never, or when a settle
// ends. The caller holds m.mu.
func (m *member) due() time.Time {
	var first time.Time
	for _, s := range m.shares {
		if !s.due.IsZero() && !m.held(s) && (first.IsZero() || s.due.Before(first)) {
			first = s.due
		}
	}
	return first
}

// held reports whether a settle that is under way keeps the share. The caller
// holds m.mu.
func (m *member) held(s *share) bool { return m.settling != nil && m.settling.holds(s) }

// letGo lets go what others are to have: in a Poll what nothing is open of, and
// at any time what has been kept too long. A settle that has begun is waited for.
// The caller holds m.mu.
func (m *member) letGo() {
	any := false
	for p, s := range m.shares {
		if s.due.IsZero() || m.held(s) {
			continue
		}
		if m.polling && !s.open() || !time.Now().Before(s.due) {
			m.lose(p)
			any = true
		}
	}
	if any {
		m.notify()
	}
}

// lose ends the ownership of a share. The caller holds m.mu.
func (m *member) lose(p int32) {
	m.lost = m.lost || m.shares[p].assigned
	m.epoch++
	m.unclaimed = true
	delete(m.shares, p)
}

// loseAll is for a member that the group has gone on without.
func (m *member) loseAll(unknown bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p := range m.shares {
		m.lose(p)
	}
	m.generation = -1
	if unknown {
		m.id = ""
	}
	m.notify()
}

// cursor is that of a partition that the member has owned since Poll returned
// last, or nil. The caller holds m.mu.
func (m *member) cursor(at broker.TopicPartition) *cursor {
	s := m.shares[at.Partition]
	if s == nil || !s.assigned {
		return nil
	}
	for _, cur := range s.cursors {
		if cur.at == at {
			return cur
		}
	}
	return nil
}

// owns reports whether what the settle needs is still the member's. The caller
// holds m.mu.
func (m *member) owns(s *settling) bool {
	for _, cur := range s.cursors {
		if m.shares[cur.at.Partition] != cur.share {
			return false
		}
	}
	return !s.all || !m.lost
}
