// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
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
	d    *driver

	mu        sync.Mutex
	positions map[uint32][]int64 // topic id → by partition, -1: none
	topics    []*topic           // that the members read; nil without members
	members   []*member          // in the order of joining

	// By partition; owner is who has it, target who shall have it. They differ
	// from a rebalance until the hand-over.
	owner, target []*member
	gained        []int64     // the epoch in which the owner got it
	asked         []time.Time // when the owner was asked for it, where they differ
	timer         *time.Timer
	stopped       bool
	epoch         int64
}

// group returns the group, which may have neither positions nor members yet.
func (d *driver) group(name string, create bool) *group {
	d.mu.Lock()
	defer d.mu.Unlock()
	g := d.groups[name]
	if g == nil && create {
		g = &group{name: name, d: d, positions: map[uint32][]int64{}}
		d.groups[name] = g
	}
	return g
}

// recoverGroups loads the positions of all groups.
func (d *driver) recoverGroups() error {
	byID := map[uint32]*topic{}
	for _, t := range d.topics {
		byID[t.id] = t
	}
	return d.scan([]byte{kindPosition}, func(key, value []byte) error {
		name, id, p, err := parsePositionKey(key)
		if err != nil {
			return err
		}
		t := byID[id]
		if t == nil || int(p) >= len(t.partitions) || len(value) != 8 {
			return fmt.Errorf("group %s has a damaged position in topic %d, partition %d", name, id, p)
		}
		d.group(name, true).at(t)[p] = int64(binary.BigEndian.Uint64(value))
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

// Join implements [broker.Driver]. All members of a group read the same topics;
// others are ErrTopicConflict.
func (d *driver) Join(_ context.Context, name string, start broker.Position, topics []string) (broker.Member, error) {
	if err := d.failure.get(); err != nil {
		return nil, err
	}
	var list []*topic
	for _, name := range topics {
		t, err := d.topic(name)
		if err != nil {
			return nil, err
		}
		for _, p := range t.partitions {
			if p.damaged != nil {
				return nil, p.damaged
			}
		}
		list = append(list, t)
	}
	g := d.group(name, true)
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.members) > 0 && !slices.Equal(g.topics, list) {
		return nil, fmt.Errorf("to read %s: its members read %s: %w", topicNames(list), topicNames(g.topics), broker.ErrTopicConflict)
	}
	if err := g.begin(list, start); err != nil {
		return nil, err
	}
	m := newMember(g)
	g.members = append(g.members, m)
	if g.topics == nil {
		n := len(list[0].partitions)
		g.topics = list
		g.owner, g.target = make([]*member, n), make([]*member, n)
		g.gained, g.asked = make([]int64, n), make([]time.Time, n)
	}
	g.rebalance()
	return m, nil
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
			offset, err := g.d.resolve(t.partitions[i], start)
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
	return g.d.commit(&commit{positions: moves, settled: func(func()) { g.moved(moves) }})
}

func (g *group) moved(moves []position) {
	for _, m := range moves {
		g.at(m.p.topic)[m.p.index] = m.offset
	}
}

// exists reports whether the group has positions or members.
func (g *group) exists() bool { return len(g.positions) > 0 || len(g.members) > 0 }

// Seek implements [broker.Driver].
func (d *driver) Seek(_ context.Context, name, topicName string, to []broker.Position) error {
	if err := d.failure.get(); err != nil {
		return err
	}
	t, err := d.topic(topicName)
	if err != nil {
		return err
	}
	g := d.group(name, true)
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.members) > 0 {
		return fmt.Errorf("%w: it has %d, stop them first", broker.ErrGroupActive, len(g.members))
	}
	var moves []position
	for i, p := range t.partitions {
		if to[i].IsZero() {
			continue
		}
		offset, err := d.resolve(p, to[i])
		if err != nil {
			return err
		}
		moves = append(moves, position{name, p, offset})
	}
	return g.move(moves)
}

// Groups implements [broker.Driver].
func (d *driver) Groups(context.Context) ([]string, error) {
	if err := d.failure.get(); err != nil {
		return nil, err
	}
	d.mu.RLock()
	all := slices.Collect(maps.Values(d.groups))
	d.mu.RUnlock()
	var names []string
	for _, g := range all {
		g.mu.Lock()
		if g.exists() {
			names = append(names, g.name)
		}
		g.mu.Unlock()
	}
	return names, nil
}

// Lag implements [broker.Driver].
func (d *driver) Lag(_ context.Context, name string) ([]broker.Lag, error) {
	if err := d.failure.get(); err != nil {
		return nil, err
	}
	g := d.group(name, false)
	if g == nil {
		return nil, nil
	}
	topics := d.allTopics()
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
