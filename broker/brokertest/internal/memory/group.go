// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// group is a consumer group. Partition p belongs to owner[p]; it should belong
// to target(p), and gets there when its owner polls, closes, or stays silent
// for longer than the hand-over time.
type group struct {
	positions map[string][]int64 // of each topic's partitions
	before    map[string][]int64 // positions before the last settle (for a fault)
	members   []*member          // in the order of joining
	owner     []*member          // by partition; nil is free
	since     time.Time          // when the members last changed
	epoch     int64
}

func (g *group) target(p int) *member {
	if len(g.members) == 0 {
		return nil
	}
	return g.members[p%len(g.members)]
}

func clonePositions(m map[string][]int64) map[string][]int64 {
	c := make(map[string][]int64, len(m))
	for t, offsets := range m {
		c[t] = slices.Clone(offsets)
	}
	return c
}

// Join implements broker.Driver.
func (b *Broker) Join(_ context.Context, name string, start broker.Position, topics []string) (broker.Member, error) {
	if err := b.enter(); err != nil {
		return nil, err
	}
	defer b.mu.Unlock()
	partitions := b.topics[topics[0]].Partitions
	g := b.group(name)
	for _, topic := range topics {
		if g.positions[topic] == nil || b.broken(JoinResetsPositions) {
			if b.broken(IgnoresStart) {
				start = broker.Start()
			}
			if b.broken(NewTopicAtEnd) && len(g.positions) > 0 {
				start = broker.End()
			}
			g.positions[topic] = b.offsets(topic, start)
		}
	}
	g.before = clonePositions(g.positions)
	if len(g.members) == 0 {
		g.owner = make([]*member, partitions)
	}
	b.members++
	m := &member{
		b: b, g: g, id: fmt.Sprintf("member-%d", b.members), topics: topics,
		next: clonePositions(g.positions), since: make([]int64, partitions),
	}
	m.atEnd = start.IsEnd() && b.broken(EndAtFirstPoll)
	g.members = append(g.members, m)
	b.membersChanged(g)
	return m, nil
}

func (b *Broker) group(name string) *group {
	if b.broken(GroupsShared) {
		name = "shared"
	}
	g := b.groups[name]
	if g == nil {
		g = &group{positions: make(map[string][]int64)}
		b.groups[name] = g
	}
	return g
}

func (b *Broker) offsets(name string, pos broker.Position) []int64 {
	t := b.topics[name]
	offsets := make([]int64, t.Partitions)
	for p := range offsets {
		offsets[p] = b.resolve(t, pos, p)
	}
	return offsets
}

func (b *Broker) membersChanged(g *group) {
	g.since = time.Now()
	if b.broken(StealsOpenBatches) {
		g.since = g.since.Add(-b.opts.HandoverTimeout)
	}
	b.wake()
}

// rebalance moves partitions as far as m's Poll can: m lets go of what should be
// another's and of which nothing is open, takes what is free, and takes from
// members silent for too long.
func (b *Broker) rebalance(m *member) {
	g, now, moved := m.g, time.Now(), false
	epoch := g.epoch + 1
	for p, owner := range g.owner {
		target := g.target(p)
		switch {
		case owner == target:
			continue
		case owner == m && m.hasOpen(p) && !b.broken(GivesOpenBatches):
			continue
		case owner == m:
			g.owner[p] = nil
			moved = true
		case owner != nil && now.Before(g.since.Add(b.opts.HandoverTimeout)):
			continue
		case owner != nil && (b.broken(SilentKeepPartitions) || b.broken(PartitionsOrphaned)):
			continue
		case target == m:
			if owner != nil {
				owner.fenced = true
			}
			b.gain(m, p, epoch)
			moved = true
		}
	}
	if moved {
		b.wake()
	}
	if moved || m.fenced {
		g.epoch = epoch
		m.assign()
	}
	m.fenced = false
}

// gain makes the partition m's, which begins where the group stands.
func (b *Broker) gain(m *member, p int, epoch int64) {
	m.g.owner[p] = m
	if m.since[p] == 0 || !b.broken(SinceStands) {
		m.since[p] = epoch
	}
	for _, topic := range m.topics {
		if b.broken(TakesOverTooEarly) {
			m.g.positions[topic][p] = max(0, m.g.positions[topic][p]-1)
		}
		m.next[topic][p] = m.g.positions[topic][p]
	}
}

// hasOpen reports whether something of the partition is polled and not settled.
func (m *member) hasOpen(p int) bool {
	for _, topic := range m.topics {
		if m.next[topic][p] != m.g.positions[topic][p] {
			return true
		}
	}
	return false
}

// assign finds out what the member owns now.
func (m *member) assign() {
	a := broker.Assignment{Epoch: m.g.epoch}
	if m.b.broken(EpochStands) {
		a.Epoch = 1
	}
	for p, owner := range m.g.owner {
		if owner == m {
			a.Partitions = append(a.Partitions, int32(p))
			since := m.since[p]
			if m.b.broken(SinceMoves) {
				since = m.g.epoch
			}
			a.Since = append(a.Since, since)
		}
	}
	m.assigned = a
	m.gained = true
}

// waitsForPartition reports when c may take a partition that is not handed over.
func (m *member) waitsForPartition() (time.Time, bool) {
	for p, owner := range m.g.owner {
		if owner != nil && owner != m && m.g.target(p) == m {
			return m.g.since.Add(m.b.opts.HandoverTimeout), true
		}
	}
	return time.Time{}, false
}

// Seek implements broker.Driver.
func (b *Broker) Seek(_ context.Context, name, topic string, targets []broker.Position) error {
	if err := b.enter(); err != nil {
		return err
	}
	defer b.mu.Unlock()
	if b.groups[name] == nil && b.broken(SeekNeedsGroup) || b.broken(SeekIgnored) {
		return nil
	}
	if g := b.groups[name]; g != nil && len(g.members) > 0 && !b.broken(SeeksActiveGroup) {
		return broker.ErrGroupActive
	}
	if b.broken(SeekFirstForAll) {
		targets = slices.Repeat(targets[:1], len(targets))
	}
	positions := b.group(name).positions
	if positions[topic] == nil {
		positions[topic] = b.offsets(topic, broker.Start())
	}
	if b.broken(SeekOnlyFirst) {
		targets = append(targets[:1:1], make([]broker.Position, len(targets)-1)...)
	}
	for p, target := range targets {
		if target.IsZero() && b.broken(SeekUnsetIsStart) {
			target = broker.Start()
		}
		if !target.IsZero() {
			positions[topic][p] = b.resolve(b.topics[topic], target, p)
		}
	}
	return nil
}

// Groups implements broker.Driver.
func (b *Broker) Groups(context.Context) ([]string, error) {
	if err := b.enter(); err != nil {
		return nil, err
	}
	defer b.mu.Unlock()
	if b.broken(GroupsOnlyActive) {
		names := sortedKeys(b.groups)
		return slices.DeleteFunc(names, func(name string) bool { return len(b.groups[name].members) == 0 }), nil
	}
	return sortedKeys(b.groups), nil
}

// Lag implements broker.Driver.
func (b *Broker) Lag(_ context.Context, name string) ([]broker.Lag, error) {
	if err := b.enter(); err != nil {
		return nil, err
	}
	defer b.mu.Unlock()
	g := b.groups[name]
	if g == nil {
		return nil, nil
	}
	var lags []broker.Lag
	for _, topic := range sortedKeys(g.positions) {
		for p, position := range g.positions[topic] {
			if position == 0 && b.broken(LagOfPositionsOnly) {
				continue
			}
			end := int64(len(b.topics[topic].logs[p]))
			lag := broker.Lag{Topic: topic, Partition: int32(p), Position: position, End: end, Lag: end - position}
			if b.broken(LagStands) {
				lag.Lag = end
			}
			if b.broken(LagCountsMarkers) && b.topics[topic].marked {
				lag.Lag++
			}
			if p < len(g.owner) && g.owner[p] != nil && !b.broken(LagWithoutMembers) {
				lag.Member = g.owner[p].id
			}
			lags = append(lags, lag)
		}
	}
	return lags, nil
}
