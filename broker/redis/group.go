// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// membership is what the script group.lua answers a member.
type membership struct {
	lease     string
	event     string        // the member's own; "" if nothing changed
	due       time.Duration // until a partition is overdue; negative: none is
	settled   int64
	owned     []int32
	positions []position // of what is owned, by partition and then topic; nil if the lease is the known one
}

// ask runs the script group.lua.
func (b *Broker) ask(ctx context.Context, action, group, member, lease string, topics []*topic, positions []string) (membership, error) {
	keys := []string{"", b.keys.group(group), b.keys.events(group), b.keys.groups()}
	args := []any{
		"", action, group, member, b.options.HandoverTimeout.Milliseconds(), lease,
		topicNames(topics), len(topics[0].streams),
	}
	if positions != nil {
		for _, t := range topics {
			keys = append(keys, t.streams...)
		}
		for _, p := range positions {
			args = append(args, p)
		}
	}
	v, err := b.run(ctx, b.scripts.group, keys, args)
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
	if len(text) < 5 {
		return m, fmt.Errorf("the script group.lua answered with %d values", len(text))
	}
	m.lease, m.event = text[0], text[1]
	due, _ := strconv.ParseInt(text[2], 10, 64)
	m.due = time.Duration(due) * time.Millisecond
	m.settled, _ = strconv.ParseInt(text[3], 10, 64)
	for p := range strings.SplitSeq(text[4], ",") {
		if n, err := strconv.ParseInt(p, 10, 32); err == nil {
			m.owned = append(m.owned, int32(n))
		}
	}
	for _, s := range text[5:] {
		p, err := parsePosition(s)
		if err != nil {
			return m, err
		}
		m.positions = append(m.positions, p)
	}
	return m, nil
}

func topicNames(list []*topic) string {
	names := make([]string, len(list))
	for i, t := range list {
		names[i] = t.name
	}
	return strings.Join(names, ",")
}

// Join implements [broker.Broker]. All members of a group read the same topics;
// others are ErrTopicConflict.
func (b *Broker) Join(ctx context.Context, group string, start broker.Position, topics ...string) (broker.Consumer, error) {
	if err := broker.ValidName(group); err != nil {
		return nil, fmt.Errorf("join group: %w", err)
	}
	if start.IsForever() {
		return nil, fmt.Errorf("join group %s at %q: a group cannot begin there", group, start)
	}
	list, err := b.joinTopics(ctx, topics)
	if err != nil {
		return nil, fmt.Errorf("join group %s: %w", group, err)
	}
	positions, err := b.startPositions(ctx, group, start, list)
	if err != nil {
		return nil, fmt.Errorf("join group %s: %w", group, err)
	}
	c := newConsumer(b, group, list)
	m, err := b.ask(ctx, "join", group, c.name, "", list, positions)
	switch {
	case isReply(err, "CONFLICT"):
		return nil, fmt.Errorf("join group %s to read %s: its members read %s: %w", group, topicNames(list), detail(err), broker.ErrTopicConflict)
	case err != nil:
		return nil, fmt.Errorf("join group %s: %w", group, err)
	}
	c.start(m)
	return c, nil
}

// joinTopics finds the topics, sorted, and checks that they can be joined.
func (b *Broker) joinTopics(ctx context.Context, names []string) ([]*topic, error) {
	names = slices.Clone(names)
	slices.Sort(names)
	list, err := b.find(ctx, slices.Compact(names)...)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no topics are named")
	}
	for _, t := range list[1:] {
		if len(t.streams) != len(list[0].streams) {
			return nil, fmt.Errorf("topic %s has %d partitions and %s has %d: %w",
				list[0].name, len(list[0].streams), t.name, len(t.streams), broker.ErrTopicConflict)
		}
	}
	return list, nil
}

// startPositions finds where a group begins in each stream where it has no
// position; the others are empty.
func (b *Broker) startPositions(ctx context.Context, group string, start broker.Position, topics []*topic) ([]string, error) {
	var fields, streams []string
	for _, t := range topics {
		for p, s := range t.streams {
			fields = append(fields, positionField(t.name, int32(p)))
			streams = append(streams, s)
		}
	}
	old, ends, err := b.endsOf(ctx, group, fields, streams)
	if err != nil {
		return nil, err
	}
	positions := make([]string, len(streams))
	for i, s := range streams {
		if old[i] != nil {
			continue
		}
		p, err := b.locate(ctx, s, ends[i], start)
		if err != nil {
			return nil, err
		}
		positions[i] = p.String()
	}
	return positions, nil
}

// Seek implements [broker.Broker].
func (b *Broker) Seek(ctx context.Context, group, name string, to ...broker.Position) error {
	if err := broker.ValidName(group); err != nil {
		return fmt.Errorf("seek group: %w", err)
	}
	if err := b.seek(ctx, group, name, to); err != nil {
		return fmt.Errorf("seek group %s in topic %s: %w", group, name, err)
	}
	return nil
}

func (b *Broker) seek(ctx context.Context, group, name string, to []broker.Position) error {
	topics, err := b.find(ctx, name)
	if err != nil {
		return err
	}
	targets, err := broker.Targets(len(topics[0].streams), to)
	if err != nil {
		return err
	}
	ends, err := b.ends(ctx, topics[0].streams)
	if err != nil {
		return err
	}
	positions := make([]string, len(ends))
	for i := range ends {
		if targets[i].IsZero() {
			continue
		}
		p, err := b.locate(ctx, topics[0].streams[i], ends[i], targets[i])
		if err != nil {
			return err
		}
		positions[i] = p.String()
	}
	_, err = b.ask(ctx, "seek", group, "", "", topics, positions)
	if isReply(err, "ACTIVE") {
		return fmt.Errorf("%w: it has %s, stop them first", broker.ErrGroupActive, detail(err))
	}
	return err
}

// Groups implements [broker.Broker].
func (b *Broker) Groups(ctx context.Context) ([]string, error) {
	names, err := call(ctx, b, func(ctx context.Context) ([]string, error) {
		return b.client.SMembers(ctx, b.keys.groups()).Result()
	})
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	slices.Sort(names)
	return names, nil
}

// Lag implements [broker.Broker].
func (b *Broker) Lag(ctx context.Context, group string) ([]broker.Lag, error) {
	lags, err := b.lag(ctx, group)
	if err != nil {
		return nil, fmt.Errorf("lag of group %s: %w", group, err)
	}
	return lags, nil
}

func (b *Broker) lag(ctx context.Context, group string) ([]broker.Lag, error) {
	state, err := call(ctx, b, func(ctx context.Context) (groupState, error) { return b.groupState(ctx, group) })
	if err != nil {
		return nil, err
	}
	topics, err := b.find(ctx, state.topics()...)
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
	values, ends, err := b.endsOf(ctx, group, fields, streams)
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
		if l.Lag, err = b.lagAt(ctx, streams[i], ends[i], p); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(lags, func(x, y broker.Lag) int {
		return cmp.Or(cmp.Compare(x.Topic, y.Topic), cmp.Compare(x.Partition, y.Partition))
	})
	return lags, nil
}

// lagAt counts the entries after a position. Redis has counted what was added;
// only where somebody deleted single entries they must be counted.
func (b *Broker) lagAt(ctx context.Context, stream string, e streamEnds, p position) (int64, error) {
	switch {
	case p.last >= e.last:
		return 0, nil
	case e.deleted > p.last:
		return b.countAfter(ctx, stream, e, p.last)
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

func (b *Broker) groupState(ctx context.Context, group string) (s groupState, err error) {
	if s.hash, err = b.client.HGetAll(ctx, b.keys.group(group)).Result(); err != nil {
		return s, err
	}
	s.now, err = b.client.Time(ctx).Result()
	return s, err
}

// owner is the member that owns a partition and is alive; "" for none.
func (s groupState) owner(topic string, partition int32) string {
	if !slices.Contains(strings.Split(s.hash["topics"], ","), topic) {
		return ""
	}
	member := s.hash["o:"+strconv.Itoa(int(partition))]
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
