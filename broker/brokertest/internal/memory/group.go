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
	members   []*consumer        // in the order of joining
	owner     []*consumer        // by partition; nil is free
	since     time.Time          // when the members last changed
	epoch     int64
}

func (g *group) target(p int) *consumer {
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

// Join implements broker.Broker.
func (b *Broker) Join(_ context.Context, name string, start broker.Position, topics ...string) (broker.Consumer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, broker.ErrClosed
	}
	if err := broker.ValidName(name); err != nil {
		return nil, err
	}
	partitions := 0
	for _, name := range topics {
		t := b.topics[name]
		if t == nil {
			return nil, fmt.Errorf("join %s: %w", name, broker.ErrUnknownTopic)
		}
		if partitions != 0 && t.Partitions != partitions && !b.broken(JoinsUnequalTopics) {
			return nil, fmt.Errorf("join %s: %w", name, broker.ErrTopicConflict)
		}
		partitions = t.Partitions
	}
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
		g.owner = make([]*consumer, partitions)
	}
	b.members++
	c := &consumer{b: b, g: g, id: fmt.Sprintf("member-%d", b.members), topics: topics}
	c.atEnd = start.IsEnd() && b.broken(EndAtFirstPoll)
	g.members = append(g.members, c)
	b.membersChanged(g)
	return c, nil
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

// rebalance moves partitions as far as c's Poll can: c lets go of what should
// be another's, takes what is free, and takes from members silent for too long.
func (b *Broker) rebalance(c *consumer) {
	g, now, moved := c.g, time.Now(), false
	for p, owner := range g.owner {
		target := g.target(p)
		switch {
		case owner == target:
			continue
		case owner == c:
			g.owner[p] = nil
			moved = true
		case owner != nil && now.Before(g.since.Add(b.opts.HandoverTimeout)):
			continue
		case owner != nil && (b.broken(SilentKeepPartitions) || b.broken(PartitionsOrphaned)):
			continue
		case target == c:
			if owner != nil {
				owner.fenced = true
			}
			g.owner[p] = c
			moved = true
			if b.broken(TakesOverTooEarly) {
				for _, topic := range c.topics {
					g.positions[topic][p] = max(0, g.positions[topic][p]-1)
				}
			}
		}
	}
	if moved {
		b.wake()
	}
	if moved || c.fenced {
		g.epoch++
		c.assigned = broker.Assignment{Epoch: g.epoch}
		if b.broken(EpochStands) {
			c.assigned.Epoch = 1
		}
		for p, owner := range g.owner {
			if owner == c {
				c.assigned.Partitions = append(c.assigned.Partitions, int32(p))
			}
		}
		c.gained = true
	}
	c.fenced = false
}

// waitsForPartition reports when c may take a partition that is not handed over.
func (c *consumer) waitsForPartition() (time.Time, bool) {
	for p, owner := range c.g.owner {
		if owner != nil && owner != c && c.g.target(p) == c {
			return c.g.since.Add(c.b.opts.HandoverTimeout), true
		}
	}
	return time.Time{}, false
}

// Seek implements broker.Broker.
func (b *Broker) Seek(_ context.Context, name, topic string, to ...broker.Position) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return broker.ErrClosed
	}
	if b.topics[topic] == nil && b.broken(SeeksUnknownTopic) || b.groups[name] == nil && b.broken(SeekNeedsGroup) {
		return nil
	}
	if b.topics[topic] == nil {
		return fmt.Errorf("seek %s in %s: %w", name, topic, broker.ErrUnknownTopic)
	}
	if g := b.groups[name]; g != nil && len(g.members) > 0 && !b.broken(SeeksActiveGroup) {
		return fmt.Errorf("seek %s: %w", name, broker.ErrGroupActive)
	}
	if b.broken(SeekIgnored) {
		return nil
	}
	targets, err := broker.Targets(b.topics[topic].Partitions, to)
	if err != nil {
		return fmt.Errorf("seek %s in %s: %w", name, topic, err)
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

// Groups implements broker.Broker.
func (b *Broker) Groups(context.Context) ([]string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, broker.ErrClosed
	}
	if b.broken(GroupsOnlyActive) {
		names := sortedKeys(b.groups)
		return slices.DeleteFunc(names, func(name string) bool { return len(b.groups[name].members) == 0 }), nil
	}
	return sortedKeys(b.groups), nil
}

// Lag implements broker.Broker.
func (b *Broker) Lag(_ context.Context, name string) ([]broker.Lag, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, broker.ErrClosed
	}
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
