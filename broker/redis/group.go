// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

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
	lease     string
	event     string        // the member's own; "" if nothing changed
	due       time.Duration // until a partition is overdue; negative: none is
	owned     []ownership
	positions []position // of what is owned, by partition and then topic; nil if the lease is the known one
}

type ownership struct {
	partition int32
	since     string // the lease with which the member got it
	wanted    bool   // by another member
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
	v, err := d.run(ctx, d.scripts.group, keys, args)
	if err != nil {
		return membership{}, err
	}
	return parseMembership(v)
}

func parseMembership(v any) (m membership, err error) {
	list, _ := v.([]any)
	text := make([]string, len(list))
	for i := range list {
		text[i], _ = list[i].(string)
	}
	if len(text) < 4 {
		return m, fmt.Errorf("the script group.lua answered with %d values", len(text))
	}
	m.lease, m.event = text[0], text[1]
	due, _ := strconv.ParseInt(text[2], 10, 64)
	m.due = time.Duration(due) * time.Millisecond
	for words := strings.Fields(text[3]); len(words) >= 3; words = words[3:] {
		n, err := strconv.ParseInt(words[0], 10, 32)
		if err != nil {
			return m, fmt.Errorf("the script group.lua answered with the partition %q", words[0])
		}
		m.owned = append(m.owned, ownership{int32(n), words[1], words[2] == "1"})
	}
	for _, s := range text[4:] {
		p, err := parsePosition(s)
		if err != nil {
			return m, err
		}
		m.positions = append(m.positions, p)
	}
	return m, nil
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
		names[i] = t.name
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
			fields = append(fields, positionField(t.name, int32(p)))
			streams = append(streams, s)
		}
	}
	old, ends, err := d.endsOf(ctx, group, fields, streams)
	if err != nil {
		return nil, err
	}
	positions := make([]string, len(streams))
	for i, s := range streams {
		if old[i] != nil {
			continue
		}
		p, err := d.locate(ctx, s, ends[i], start)
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
	positions := make([]string, len(ends))
	for i := range ends {
		if to[i].IsZero() {
			continue
		}
		p, err := d.locate(ctx, t.streams[i], ends[i], to[i])
		if err != nil {
			return err
		}
		positions[i] = p.String()
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
	state, err := call(ctx, d, func(ctx context.Context) (groupState, error) { return d.groupState(ctx, group) })
	if err != nil {
		return nil, err
	}
	topics, err := d.findAll(ctx, state.topics())
	if err != nil {
		return nil, err
	}
	var fields, streams []string
	var lags []broker.Lag
	for _, t := range topics {
		for p, stream := range t.streams {
			fields = append(fields, positionField(t.name, int32(p)))
			streams = append(streams, stream)
			lags = append(lags, broker.Lag{Topic: t.name, Partition: int32(p), Member: state.owner(t.name, int32(p))})
		}
	}
	values, ends, err := d.endsOf(ctx, group, fields, streams)
	if err != nil {
		return nil, err
	}
	for i := range lags {
		text, _ := values[i].(string)
		if text == "" { // it has none in this partition
			text = "0-0 0"
		}
		p, err := parsePosition(text)
		if err != nil {
			return nil, err
		}
		l := &lags[i]
		l.Position, l.End = ends[i].offsetAfter(p.last), ends[i].next()
		if l.Lag, err = d.lagAt(ctx, streams[i], ends[i], p); err != nil {
			return nil, err
		}
	}
	return lags, nil
}

// lagAt counts the entries after a position. Redis has counted what was added;
// only where somebody deleted single entries they must be counted.
func (d *driver) lagAt(ctx context.Context, stream string, e streamEnds, p position) (int64, error) {
	switch {
	case p.last >= e.last:
		return 0, nil
	case e.deleted > p.last:
		return d.countAfter(ctx, stream, e, p.last)
	}
	return min(max(0, e.added-p.read), e.length), nil
}

// offsetAfter is the lowest offset of a record that follows the entry.
func (e streamEnds) offsetAfter(last id) int64 {
	switch {
	case last >= e.last || e.length == 0:
		return e.next()
	case last < e.first:
		return int64(e.first)
	}
	return int64(last) + 1
}

// groupState is a group's hash, at a time of the server.
type groupState struct {
	hash map[string]string
	now  time.Time
}

// topics names those that the group has positions in.
func (s groupState) topics() []string {
	var names []string
	for field := range s.hash {
		if topic, _, ok := parsePositionField(field); ok && !slices.Contains(names, topic) {
			names = append(names, topic)
		}
	}
	return names
}

func (d *driver) groupState(ctx context.Context, group string) (s groupState, err error) {
	if s.hash, err = d.client.HGetAll(ctx, d.keys.group(group)).Result(); err != nil {
		return s, err
	}
	s.now, err = d.client.Time(ctx).Result()
	return s, err
}

// owner is the member that owns a partition and is alive; "" for none.
func (s groupState) owner(topic string, partition int32) string {
	if !slices.Contains(strings.Split(s.hash["topics"], ","), topic) {
		return ""
	}
	member, _, _ := strings.Cut(s.hash[ownerField(partition)], " ")
	deadline, _, _ := strings.Cut(s.hash["m:"+member], " ")
	ms, err := strconv.ParseInt(deadline, 10, 64)
	if err != nil || time.UnixMilli(ms).Before(s.now) {
		return ""
	}
	return member
}

func parsePositionField(field string) (topic string, partition int32, ok bool) {
	rest, ok := strings.CutPrefix(field, "p:")
	i := strings.LastIndexByte(rest, ':')
	if !ok || i < 0 {
		return "", 0, false
	}
	n, err := strconv.ParseInt(rest[i+1:], 10, 32)
	return rest[:i], int32(n), err == nil
}
