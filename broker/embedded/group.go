// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// group is a consumer group: positions, which are stored, and members, which
// are not.
type group struct {
	name string
	b    *Broker

	mu        sync.Mutex
	positions map[uint32][]int64 // topic id → by partition, -1: none
	topics    []*topic           // that the members read; nil without members
	members   []*consumer        // in the order of joining

	// By partition; owner is who has it, target who shall have it. They differ
	// from a rebalance until the hand-over.
	owner, target []*consumer
	since         []time.Time // when the hand-over became due, where they differ
	timer         *time.Timer
	stopped       bool
	epoch         int64
}

// group returns the group, which may have neither positions nor members yet.
func (b *Broker) group(name string, create bool) *group {
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.groups[name]
	if g == nil && create {
		g = &group{name: name, b: b, positions: map[uint32][]int64{}}
		b.groups[name] = g
	}
	return g
}

// recoverGroups loads the positions of all groups.
func (b *Broker) recoverGroups() error {
	byID := map[uint32]*topic{}
	for _, t := range b.topics {
		byID[t.id] = t
	}
	return b.scan([]byte{kindPosition}, func(key, value []byte) error {
		name, id, p, err := parsePositionKey(key)
		if err != nil {
			return err
		}
		t := byID[id]
		if t == nil || int(p) >= len(t.partitions) || len(value) != 8 {
			return fmt.Errorf("group %s has a damaged position in topic %d, partition %d", name, id, p)
		}
		b.group(name, true).at(t)[p] = int64(binary.BigEndian.Uint64(value))
		return nil
	})
}

// at is the group's positions in a topic. The caller holds g.mu.
func (g *group) at(t *topic) []int64 {
	list := g.positions[t.id]
	if list == nil {
		list = slices.Repeat([]int64{-1}, len(t.partitions))
		g.positions[t.id] = list
	}
	return list
}

// Join implements [broker.Broker]. All members of a group read the same topics;
// others are ErrTopicConflict.
func (b *Broker) Join(ctx context.Context, name string, start broker.Position, topics ...string) (broker.Consumer, error) {
	if err := b.enter(); err != nil {
		return nil, err
	}
	defer b.life.RUnlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := broker.ValidName(name); err != nil {
		return nil, fmt.Errorf("join group: %w", err)
	}
	if start.IsForever() {
		return nil, fmt.Errorf("join group %s at %q: a group cannot begin there", name, start)
	}
	list, err := b.joinTopics(topics)
	if err != nil {
		return nil, fmt.Errorf("join group %s: %w", name, err)
	}
	g := b.group(name, true)
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.members) > 0 && !slices.Equal(g.topics, list) {
		return nil, fmt.Errorf("join group %s to read %s: its members read %s: %w",
			name, topicNames(list), topicNames(g.topics), broker.ErrTopicConflict)
	}
	if err := g.begin(list, start); err != nil {
		return nil, fmt.Errorf("join group %s: %w", name, err)
	}
	c := newConsumer(g, list)
	g.members = append(g.members, c)
	if g.topics == nil {
		n := len(list[0].partitions)
		g.topics = list
		g.owner, g.target, g.since = make([]*consumer, n), make([]*consumer, n), make([]time.Time, n)
	}
	g.rebalance()
	return c, nil
}

// joinTopics finds the topics, in the order of their ids, and checks that they
// can be joined.
func (b *Broker) joinTopics(names []string) ([]*topic, error) {
	var list []*topic
	for _, name := range names {
		t, err := b.topic(name)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(list, t) {
			list = append(list, t)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no topics are named")
	}
	for _, t := range list[1:] {
		if len(t.partitions) != len(list[0].partitions) {
			return nil, fmt.Errorf("topic %s has %d partitions and %s has %d: %w",
				list[0].name, len(list[0].partitions), t.name, len(t.partitions), broker.ErrTopicConflict)
		}
	}
	slices.SortFunc(list, func(x, y *topic) int { return int(x.id) - int(y.id) })
	return list, nil
}

func topicNames(list []*topic) string {
	var names []string
	for _, t := range list {
		names = append(names, t.name)
	}
	return strings.Join(names, ", ")
}

// begin stores a position where the group has none, so that it begins at the
// same place if its members die before they settle.
func (g *group) begin(topics []*topic, start broker.Position) error {
	var moves []position
	for _, t := range topics {
		for i, at := range g.at(t) {
			if at >= 0 {
				continue
			}
			offset, err := g.b.resolve(t.partitions[i], start)
			if err != nil {
				return err
			}
			moves = append(moves, position{g.name, t.partitions[i], offset})
		}
	}
	return g.move(moves)
}

// move stores positions and takes them over. The caller holds g.mu.
func (g *group) move(moves []position) error {
	return g.b.commit(nil, moves, func(func()) { g.moved(moves) })
}

func (g *group) moved(moves []position) {
	for _, m := range moves {
		g.at(m.p.topic)[m.p.index] = m.offset
	}
}

// exists reports whether the group has positions or members.
func (g *group) exists() bool { return len(g.positions) > 0 || len(g.members) > 0 }

// Seek implements [broker.Broker].
func (b *Broker) Seek(ctx context.Context, name, topicName string, to ...broker.Position) error {
	if err := b.enter(); err != nil {
		return err
	}
	defer b.life.RUnlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := broker.ValidName(name); err != nil {
		return fmt.Errorf("seek group: %w", err)
	}
	t, err := b.topic(topicName)
	if err != nil {
		return fmt.Errorf("seek group %s: %w", name, err)
	}
	targets, err := broker.Targets(len(t.partitions), to)
	if err != nil {
		return fmt.Errorf("seek group %s in topic %s: %w", name, topicName, err)
	}
	g := b.group(name, true)
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.members) > 0 {
		return fmt.Errorf("seek group %s: %w: it has %d, stop them first", name, broker.ErrGroupActive, len(g.members))
	}
	var moves []position
	for i, p := range t.partitions {
		if targets[i].IsZero() {
			continue
		}
		offset, err := b.resolve(p, targets[i])
		if err != nil {
			return fmt.Errorf("seek group %s: %w", name, err)
		}
		moves = append(moves, position{name, p, offset})
	}
	if err := g.move(moves); err != nil {
		return fmt.Errorf("seek group %s: %w", name, err)
	}
	return nil
}

// Groups implements [broker.Broker].
func (b *Broker) Groups(ctx context.Context) ([]string, error) {
	if err := b.enter(); err != nil {
		return nil, err
	}
	defer b.life.RUnlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.RLock()
	all := make([]*group, 0, len(b.groups))
	for _, g := range b.groups {
		all = append(all, g)
	}
	b.mu.RUnlock()
	var names []string
	for _, g := range all {
		g.mu.Lock()
		if g.exists() {
			names = append(names, g.name)
		}
		g.mu.Unlock()
	}
	slices.Sort(names)
	return names, nil
}

// Lag implements [broker.Broker].
func (b *Broker) Lag(ctx context.Context, name string) ([]broker.Lag, error) {
	if err := b.enter(); err != nil {
		return nil, err
	}
	defer b.life.RUnlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	g := b.group(name, false)
	if g == nil {
		return nil, nil
	}
	topics := b.allTopics()
	g.mu.Lock()
	defer g.mu.Unlock()
	var lags []broker.Lag
	for _, t := range topics {
		positions := g.positions[t.id]
		if !slices.ContainsFunc(positions, func(at int64) bool { return at >= 0 }) {
			continue
		}
		for i, at := range positions {
			ends := t.partitions[i].ends()
			at = max(at, ends.Start) // the start where it has none, too
			lag := broker.Lag{Topic: t.name, Partition: int32(i), Position: at, End: ends.End, Lag: max(0, ends.End-at)}
			if slices.Contains(g.topics, t) && g.owner[i] != nil {
				lag.Member = g.owner[i].name
			}
			lags = append(lags, lag)
		}
	}
	return lags, nil
}
