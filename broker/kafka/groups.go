// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/millrace-ml/millrace/broker"
)

// position is a group's in a partition.
type position struct {
	offset int64
	note   string // of the settle that moved it there
}

// committed returns the group's positions. Those that transactions are about to
// move are waited for, and those in topics that a server does not know, as it
// does not when it has just started; unless for ever, not longer than a
// transaction that somebody works on takes.
func (b *Broker) committed(ctx context.Context, group string, forEver bool) (map[broker.TopicPartition]position, error) {
	stable := kadm.RequireStable(ctx)
	began, told := time.Now(), false
	for try := 1; ; try++ {
		all, err := b.committedOnce(stable, group)
		unstable := errors.Is(err, kerr.UnstableOffsetCommit)
		waited := time.Since(began)
		switch {
		case err == nil:
			return all, nil
		case forgotten(err) && !forEver && waited > decision:
			return all, nil // the topic is gone
		case !unstable && !forgotten(err) && !heals(err):
			return nil, fmt.Errorf("positions of group %s: %w", group, err)
		case unstable && !forEver && waited > decision:
			stable = ctx
		case waited > 5*time.Second && !told:
			b.options.Logger.Warn("still waiting for a group's positions", "group", group, "since", began, "error", err)
			told = true
		}
		pause := backoff(try)
		if unstable {
			pause = time.Duration(min(try, 10)) * time.Millisecond
		}
		if sleep(ctx, pause) != nil {
			return nil, fmt.Errorf("positions of group %s: %w: %w", group, ctx.Err(), err)
		}
	}
}

// committedOnce asks for the positions once. With an error that is forgotten it
// returns the others.
func (b *Broker) committedOnce(ctx context.Context, group string) (map[broker.TopicPartition]position, error) {
	fetched, err := b.admin.FetchOffsets(ctx, group)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all := map[broker.TopicPartition]position{}
	var unknown error
	for topic, partitions := range fetched {
		for p, o := range partitions {
			if forgotten(o.Err) {
				unknown = o.Err
				continue
			}
			if o.Err != nil {
				return nil, o.Err
			}
			if o.At >= 0 {
				all[broker.TopicPartition{Topic: topic, Partition: p}] = position{o.At, o.Metadata}
			}
		}
	}
	return all, unknown
}

// describeGroup returns the group's members, in no state without them.
func (b *Broker) describeGroup(ctx context.Context, group string) (kadm.DescribedGroup, error) {
	return retry(ctx, func() (kadm.DescribedGroup, error) {
		all, err := b.admin.DescribeGroups(ctx, group)
		d := all[group]
		if err == nil {
			err = d.Err
		}
		if errors.Is(err, kerr.GroupIDNotFound) {
			return kadm.DescribedGroup{Group: group}, nil
		}
		return d, err
	})
}

// Groups implements [broker.Broker].
func (b *Broker) Groups(ctx context.Context) ([]string, error) {
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	listed, err := retry(ctx, func() (kadm.ListedGroups, error) { return b.admin.ListGroups(ctx) })
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", b.failed(err))
	}
	var names []string
	for name, g := range listed {
		if g.State != "Dead" && (g.ProtocolType == "consumer" || g.ProtocolType == "") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Lag implements [broker.Broker]. It is exact up to about [lagBytes] of records
// in a partition, and so always exact about there being none; further back
// transaction markers and aborted records count too.
func (b *Broker) Lag(ctx context.Context, group string) ([]broker.Lag, error) {
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	lags, err := b.lag(ctx, group)
	if err != nil {
		return nil, fmt.Errorf("lag of group %s: %w", group, b.failed(err))
	}
	return lags, nil
}

// lagBytes is what Lag reads ahead of a position to tell records from markers.
const lagBytes = 16 << 10

func (b *Broker) lag(ctx context.Context, group string) ([]broker.Lag, error) {
	positions, err := b.committed(ctx, group, false)
	if err != nil || len(positions) == 0 {
		return nil, err
	}
	var topics []string
	for tp := range positions {
		if !slices.Contains(topics, tp.Topic) {
			topics = append(topics, tp.Topic)
		}
	}
	decided, all, err := b.decidedEnds(ctx, topics...)
	if err != nil {
		return nil, err
	}
	if err := b.addStarts(ctx, positions, topics, all); err != nil {
		return nil, err
	}
	members, err := b.owners(ctx, group)
	if err != nil {
		return nil, err
	}
	var lags []broker.Lag
	var tails []*span
	for tp, at := range positions {
		if int(tp.Partition) >= len(all[tp.Topic]) {
			continue // the topic is gone
		}
		lags = append(lags, broker.Lag{
			Topic: tp.Topic, Partition: tp.Partition, Position: at.offset, End: all[tp.Topic][tp.Partition], Member: members[tp],
		})
	}
	slices.SortFunc(lags, func(x, y broker.Lag) int {
		if c := strings.Compare(x.Topic, y.Topic); c != 0 {
			return c
		}
		return int(x.Partition - y.Partition)
	})
	for _, l := range lags {
		tails = append(tails, &span{topic: l.Topic, partition: l.Partition, next: l.Position, end: decided[l.Topic][l.Partition]})
	}
	if err := b.lookAhead(ctx, tails); err != nil {
		return nil, err
	}
	for i := range lags {
		count(&lags[i], tails[i])
	}
	return lags, nil
}

// addStarts gives the group a position in the partitions of its topics where it
// has none yet: its first members come to their partitions one by one.
func (b *Broker) addStarts(ctx context.Context, positions map[broker.TopicPartition]position, topics []string, all map[string][]int64) error {
	for _, topic := range topics {
		var starts []int64
		for p := range all[topic] {
			at := broker.TopicPartition{Topic: topic, Partition: int32(p)}
			if _, ok := positions[at]; ok {
				continue
			}
			if starts == nil {
				var err error
				if starts, err = b.resolve(ctx, topic, broker.Start()); err != nil {
					return err
				}
			}
			positions[at] = position{offset: starts[p]}
		}
	}
	return nil
}

// lookAhead reads on in each tail until it has a record or the end.
func (b *Broker) lookAhead(ctx context.Context, tails []*span) error {
	for {
		var blank []*span
		for _, s := range tails {
			if len(s.records) == 0 && !s.done() {
				blank = append(blank, s)
			}
		}
		if len(blank) == 0 {
			return nil
		}
		if err := b.fetch(ctx, blank, lagBytes); err != nil {
			return err
		}
	}
}

// count fills in the lag: what was read ahead, and the offsets beyond it. What
// is undecided counts, since it may come.
func count(l *broker.Lag, ahead *span) {
	if len(ahead.records) > 0 {
		l.Position = ahead.records[0].Offset
	} else {
		l.Position = max(l.Position, ahead.next)
	}
	l.Position = min(l.Position, l.End)
	l.Lag = int64(len(ahead.records)) + max(0, l.End-max(ahead.next, l.Position))
}

// owners tells which member owns each partition.
func (b *Broker) owners(ctx context.Context, group string) (map[broker.TopicPartition]string, error) {
	d, err := b.describeGroup(ctx, group)
	if err != nil {
		return nil, err
	}
	owners := map[broker.TopicPartition]string{}
	for _, m := range d.Members {
		a, ok := m.Assigned.AsConsumer()
		if !ok {
			continue
		}
		for _, t := range a.Topics {
			for _, p := range t.Partitions {
				owners[broker.TopicPartition{Topic: t.Topic, Partition: p}] = m.MemberID
			}
		}
	}
	return owners, nil
}

// Seek implements [broker.Broker].
func (b *Broker) Seek(ctx context.Context, group, topic string, to ...broker.Position) error {
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := b.seek(ctx, group, topic, to); err != nil {
		return fmt.Errorf("seek group %s in topic %s: %w", group, topic, b.failed(err))
	}
	return nil
}

func (b *Broker) seek(ctx context.Context, group, topic string, to []broker.Position) error {
	if err := broker.ValidName(group); err != nil {
		return err
	}
	t, err := b.topics.get(ctx, topic)
	if err != nil {
		return err
	}
	targets, err := broker.Targets(len(t.leaders), to)
	if err != nil {
		return err
	}
	d, err := b.describeGroup(ctx, group)
	if err != nil {
		return err
	}
	if n := len(d.Members); n > 0 {
		return fmt.Errorf("%w: it has %d, stop them first", broker.ErrGroupActive, n)
	}
	offsets := kadm.Offsets{}
	resolved := map[broker.Position][]int64{}
	for p, target := range targets {
		if target.IsZero() {
			continue
		}
		if resolved[target] == nil {
			if resolved[target], err = b.resolve(ctx, topic, target); err != nil {
				return err
			}
		}
		offsets.AddOffset(topic, int32(p), resolved[target][p], -1)
	}
	_, err = insist(ctx, func() (any, error) { return nil, b.admin.CommitAllOffsets(ctx, group, offsets) })
	if stale(err) {
		return fmt.Errorf("%w: %w", broker.ErrGroupActive, err)
	}
	return err
}

// Join implements [broker.Broker].
func (b *Broker) Join(ctx context.Context, group string, start broker.Position, topics ...string) (broker.Consumer, error) {
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	c, err := b.join(ctx, group, start, topics)
	if err != nil {
		return nil, fmt.Errorf("join group %s: %w", group, b.failed(err))
	}
	return c, nil
}

func (b *Broker) join(ctx context.Context, group string, start broker.Position, topics []string) (*consumer, error) {
	if err := broker.ValidName(group); err != nil {
		return nil, err
	}
	if start.IsForever() {
		return nil, fmt.Errorf("a group cannot begin at %q", start)
	}
	topics = slices.Compact(slices.Sorted(slices.Values(topics)))
	count, err := b.partitionsOf(ctx, topics)
	if err != nil {
		return nil, err
	}
	if err := b.checkMembers(ctx, group, topics); err != nil {
		return nil, err
	}
	m, err := b.newMember(group, topics, count, start)
	if err != nil {
		return nil, err
	}
	c := newConsumer(b, m)
	if err := c.joined(ctx); err != nil {
		c.shut()
		return nil, err
	}
	if err := b.register(c); err != nil {
		c.shut()
		return nil, err
	}
	return c, nil
}

// partitionsOf returns how many partitions each of the topics has.
func (b *Broker) partitionsOf(ctx context.Context, topics []string) (int, error) {
	if len(topics) == 0 {
		return 0, errors.New("no topics are named")
	}
	count := 0
	for i, name := range topics {
		t, err := b.topics.get(ctx, name)
		if err != nil {
			return 0, err
		}
		if i > 0 && len(t.leaders) != count {
			return 0, fmt.Errorf("topic %s has %d partitions and %s has %d: %w", topics[0], count, name, len(t.leaders), broker.ErrTopicConflict)
		}
		count = len(t.leaders)
	}
	return count, nil
}

// checkMembers makes sure that the group's members read the same topics.
func (b *Broker) checkMembers(ctx context.Context, group string, topics []string) error {
	d, err := b.describeGroup(ctx, group)
	if err != nil {
		return err
	}
	for _, m := range d.Members {
		meta, ok := m.Join.AsConsumer()
		if !ok || len(meta.Topics) == 0 {
			continue // not told while the group rebalances
		}
		others := slices.Sorted(slices.Values(meta.Topics))
		if !slices.Equal(others, topics) {
			return fmt.Errorf("its members read %s, not %s: %w", strings.Join(others, ", "), strings.Join(topics, ", "), broker.ErrTopicConflict)
		}
	}
	return nil
}
