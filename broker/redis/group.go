// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/broker"
)

// question is what group.lua is asked; the script says what it means.
type question struct {
	action    string
	group     string
	member    string
	lease     string // that the member knows; "": it wants positions in any case
	topics    []*topic
	busy      []int32  // partitions not to be given
	positions []string // of each stream of the topics; nil: none
}

// membership is what the script answers.
type membership struct {
	Lease string
	Event string // the member's own; "" if nothing changed
	Due   int64  // milliseconds until a partition is overdue; negative: none is
	Owned []ownership
}

type ownership struct {
	Partition int32
	Since     string     // the lease with which the member got it
	Wanted    bool       // by another member
	Positions []position // in each topic; nil if the member's lease is the known one
}

// ask runs the script group.lua.
func (d *driver) ask(ctx context.Context, q question) (membership, error) {
	keys := []string{d.keys.generation(), d.keys.group(q.group), d.keys.events(q.group), d.keys.groups()}
	args := []any{
		q.action, q.group, q.member, d.options.HandoverTimeout.Milliseconds(), q.lease,
		topicNames(q.topics), len(q.topics[0].streams), joinNumbers(q.busy),
	}
	if q.positions != nil {
		for _, t := range q.topics {
			keys = append(keys, t.streams...)
		}
		for _, p := range q.positions {
			args = append(args, p)
		}
	}
	return decode[membership](d.run(ctx, d.scripts.group, keys, args))
}

func joinNumbers(list []int32) string {
	text := make([]string, len(list))
	for i, n := range list {
		text[i] = strconv.Itoa(int(n))
	}
	return strings.Join(text, ",")
}

func topicNames(list []*topic) string {
	names := make([]string, len(list))
	for i, t := range list {
		names[i] = t.Name
	}
	return strings.Join(names, ",")
}

// Join implements [broker.Driver]. All members of a group read the same topics;
// others are ErrTopicConflict.
func (d *driver) Join(ctx context.Context, group string, start broker.Position, names []string) (broker.Member, error) {
	topics, err := d.findAll(ctx, names)
	if err != nil {
		return nil, err
	}
	positions, err := d.startPositions(ctx, group, start, topics)
	if err != nil {
		return nil, err
	}
	m := newMember(d, group, topics)
	joined, err := d.ask(ctx, question{action: "join", group: group, member: m.name, topics: topics, positions: positions})
	if isReply(err, "CONFLICT") {
		return nil, fmt.Errorf("its members read %s, not %s: %w", detail(err), topicNames(topics), broker.ErrTopicConflict)
	}
	if err != nil {
		return nil, err
	}
	m.start(joined)
	return m, nil
}

// startPositions finds where a group begins in each stream where it has no
// position; the others are empty.
func (d *driver) startPositions(ctx context.Context, group string, start broker.Position, topics []*topic) ([]string, error) {
	var fields, streams []string
	for _, t := range topics {
		for p, s := range t.streams {
			fields = append(fields, positionField(t.Name, int32(p)))
			streams = append(streams, s)
		}
	}
	is, err := d.look(ctx, group, streams)
	if err != nil {
		return nil, err
	}
	targets := make([]broker.Position, len(streams))
	for i := range targets {
		if _, known := is.Positions[fields[i]]; !known {
			targets[i] = start
		}
	}
	return d.locateAll(ctx, streams, is.Ends, targets)
}

// locateAll finds the positions in streams, as they are stored; those that are
// unset are empty.
func (d *driver) locateAll(ctx context.Context, streams []string, ends []streamEnds, to []broker.Position) ([]string, error) {
	positions := make([]string, len(streams))
	for i := range streams {
		if to[i].IsZero() {
			continue
		}
		p, err := d.locate(ctx, streams[i], ends[i], to[i])
		if err != nil {
			return nil, err
		}
		positions[i] = p.String()
	}
	return positions, nil
}

// Seek implements [broker.Driver].
func (d *driver) Seek(ctx context.Context, group, name string, to []broker.Position) error {
	t, err := d.find(ctx, name)
	if err != nil {
		return err
	}
	ends, err := d.ends(ctx, t.streams)
	if err != nil {
		return err
	}
	positions, err := d.locateAll(ctx, t.streams, ends, to)
	if err != nil {
		return err
	}
	_, err = d.ask(ctx, question{action: "seek", group: group, topics: []*topic{t}, positions: positions})
	if isReply(err, "ACTIVE") {
		return fmt.Errorf("%w: it has %s, stop them first", broker.ErrGroupActive, detail(err))
	}
	return err
}

// Groups implements [broker.Driver].
func (d *driver) Groups(ctx context.Context) ([]string, error) {
	return call(ctx, d, func(ctx context.Context) ([]string, error) {
		return d.client.SMembers(ctx, d.keys.groups()).Result()
	})
}

// Lag implements [broker.Driver].
func (d *driver) Lag(ctx context.Context, group string) ([]broker.Lag, error) {
	is, err := d.look(ctx, group, nil)
	if err != nil {
		return nil, err
	}
	topics, err := d.findAll(ctx, is.topics())
	if err != nil {
		return nil, err
	}
	var streams []string
	for _, t := range topics {
		streams = append(streams, t.streams...)
	}
	if is, err = d.look(ctx, group, streams); err != nil {
		return nil, err
	}
	var lags []broker.Lag
	for _, t := range topics {
		read := slices.Contains(strings.Split(is.Topics, ","), t.Name)
		for p := range int32(t.Partitions) {
			at, ends := is.Positions[positionField(t.Name, p)], is.Ends[len(lags)] // without a position it is at the start
			l := broker.Lag{Topic: t.Name, Partition: p, Position: ends.offsetAfter(at.last), End: ends.next()}
			if l.Lag, err = d.lagAt(ctx, t.streams[p], ends, at); err != nil {
				return nil, err
			}
			if read {
				l.Member = is.Owners[ownerField(p)]
			}
			lags = append(lags, l)
		}
	}
	return lags, nil
}

// topics names those that the group has positions in.
func (s *snapshot) topics() []string {
	var names []string
	for field := range s.Positions {
		name := field[len("p:"):strings.LastIndexByte(field, ':')]
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// lagAt counts the entries after a position. Redis has counted what was added;
// only where somebody deleted single entries they must be counted.
func (d *driver) lagAt(ctx context.Context, stream string, e streamEnds, p position) (int64, error) {
	switch {
	case p.last >= e.Last:
		return 0, nil
	case e.Deleted > p.last:
		return d.countAfter(ctx, stream, e, p.last)
	}
	return min(max(0, e.Added-p.read), e.Length), nil
}

// offsetAfter is the lowest offset of a record that follows the entry.
func (e streamEnds) offsetAfter(last id) int64 {
	switch {
	case last >= e.Last || e.Length == 0:
		return e.next()
	case last < e.First:
		return int64(e.First)
	}
	return int64(last) + 1
}
