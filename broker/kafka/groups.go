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
	"github.com/millrace-ml/millrace/internal/backoff"
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
func (d *driver) committed(ctx context.Context, group string, forEver bool) (map[broker.TopicPartition]position, error) {
	stable := kadm.RequireStable(ctx)
	began, warned := time.Now(), false
	for try := 1; ; try++ {
		all, err := d.committedOnce(stable, group)
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
		case waited > 5*time.Second && !warned:
			d.options.Logger.Warn("still waiting for a group's positions", "group", group, "since", began, "error", err)
			warned = true
		}
		pause := wait(try)
		if unstable {
			pause = time.Duration(min(try, 10)) * time.Millisecond
		}
		if backoff.Sleep(ctx, pause) != nil {
			return nil, fmt.Errorf("positions of group %s: %w: %w", group, ctx.Err(), err)
		}
	}
}

// committedOnce asks for the positions once. With an error that is forgotten it
// returns the others.
func (d *driver) committedOnce(ctx context.Context, group string) (map[broker.TopicPartition]position, error) {
	fetched, err := d.admin.FetchOffsets(ctx, group)
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
func (d *driver) describeGroup(ctx context.Context, group string) (kadm.DescribedGroup, error) {
	return retry(ctx, func() (kadm.DescribedGroup, error) {
		all, err := d.admin.DescribeGroups(ctx, group)
		g := all[group]
		if err == nil {
			err = g.Err
		}
		if errors.Is(err, kerr.GroupIDNotFound) {
			return kadm.DescribedGroup{Group: group}, nil
		}
		return g, err
	})
}

// Groups implements [broker.Driver].
func (d *driver) Groups(ctx context.Context) ([]string, error) {
	listed, err := retry(ctx, func() (kadm.ListedGroups, error) { return d.admin.ListGroups(ctx) })
	if err != nil {
		return nil, d.known(err)
	}
	var names []string
	for name, g := range listed {
		if g.State != "Dead" && (g.ProtocolType == "consumer" || g.ProtocolType == "") {
			names = append(names, name)
		}
	}
	return names, nil
}

// Lag implements [broker.Driver]. It is exact up to about [lagBytes] of records
// in a partition, and so always exact about there being none; further back
// transaction markers and aborted records count too.
func (d *driver) Lag(ctx context.Context, group string) ([]broker.Lag, error) {
	lags, err := d.lag(ctx, group)
	return lags, d.known(err)
}

// lagBytes is what Lag reads ahead of a position to tell records from markers.
const lagBytes = 16 << 10

func (d *driver) lag(ctx context.Context, group string) ([]broker.Lag, error) {
	positions, err := d.committed(ctx, group, false)
	if err != nil || len(positions) == 0 {
		return nil, err
	}
	var topics []string
	for tp := range positions {
		if !slices.Contains(topics, tp.Topic) {
			topics = append(topics, tp.Topic)
		}
	}
	decided, all, err := d.decidedEnds(ctx, topics...)
	if err != nil {
		return nil, err
	}
	if err := d.addStarts(ctx, positions, topics, all); err != nil {
		return nil, err
	}
	members, err := d.owners(ctx, group)
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
		tails = append(tails, &span{topic: tp.Topic, partition: tp.Partition, next: at.offset, end: decided[tp.Topic][tp.Partition]})
	}
	if err := d.lookAhead(ctx, tails); err != nil {
		return nil, err
	}
	for i := range lags {
		count(&lags[i], tails[i])
	}
	return lags, nil
}

// addStarts gives the group a position in the partitions of its topics where it
// has none yet: its first members come to their partitions one by one.
func (d *driver) addStarts(ctx context.Context, positions map[broker.TopicPartition]position, topics []string, all map[string][]int64) error {
	for _, topic := range topics {
		var starts []int64
		for p := range all[topic] {
			at := broker.TopicPartition{Topic: topic, Partition: int32(p)}
			if _, ok := positions[at]; ok {
				continue
			}
			if starts == nil {
				var err error
				if starts, err = d.resolve(ctx, topic, broker.Start()); err != nil {
					return err
				}
			}
			positions[at] = position{offset: starts[p]}
		}
	}
	return nil
}

// lookAhead reads on in each tail until it has a record or the end.
func (d *driver) lookAhead(ctx context.Context, tails []*span) error {
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
		if err := d.fetch(ctx, blank, lagBytes); err != nil {
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

// owners finds the member that owns each partition.
func (d *driver) owners(ctx context.Context, group string) (map[broker.TopicPartition]string, error) {
	g, err := d.describeGroup(ctx, group)
	if err != nil {
		return nil, err
	}
	owners := map[broker.TopicPartition]string{}
	for _, m := range g.Members {
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

// Seek implements [broker.Driver].
func (d *driver) Seek(ctx context.Context, group, topic string, to []broker.Position) error {
	return d.known(d.seek(ctx, group, topic, to))
}

func (d *driver) seek(ctx context.Context, group, topic string, to []broker.Position) error {
	g, err := d.describeGroup(ctx, group)
	if err != nil {
		return err
	}
	if n := len(g.Members); n > 0 {
		return fmt.Errorf("%w: it has %d, stop them first", broker.ErrGroupActive, n)
	}
	offsets := kadm.Offsets{}
	resolved := map[broker.Position][]int64{}
	for p, target := range to {
		if target.IsZero() {
			continue
		}
		if resolved[target] == nil {
			if resolved[target], err = d.resolve(ctx, topic, target); err != nil {
				return err
			}
		}
		offsets.AddOffset(topic, int32(p), resolved[target][p], -1)
	}
	_, err = insist(ctx, func() (any, error) { return nil, d.admin.CommitAllOffsets(ctx, group, offsets) })
	if stale(err) {
		return fmt.Errorf("%w: %w", broker.ErrGroupActive, err)
	}
	return err
}

// Join implements [broker.Driver].
func (d *driver) Join(ctx context.Context, group string, start broker.Position, topics []string) (broker.Member, error) {
	m, err := d.join(ctx, group, start, topics)
	return m, d.known(err)
}

func (d *driver) join(ctx context.Context, group string, start broker.Position, topics []string) (broker.Member, error) {
	count, err := d.Partitions(ctx, topics[0])
	if err != nil {
		return nil, err
	}
	if err := d.checkMembers(ctx, group, topics); err != nil {
		return nil, err
	}
	m, err := d.newMember(ctx, group, topics, count, start)
	if err != nil {
		return nil, err
	}
	c := newConsumer(d, m)
	if err := c.joined(ctx); err != nil {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		c.end(bounded)
		return nil, err
	}
	d.opened(c)
	return c, nil
}

// checkMembers makes sure that the group's members read the same topics.
func (d *driver) checkMembers(ctx context.Context, group string, topics []string) error {
	g, err := d.describeGroup(ctx, group)
	if err != nil {
		return err
	}
	for _, m := range g.Members {
		meta, ok := m.Join.AsConsumer()
		if !ok || len(meta.Topics) == 0 {
			continue // not known while the group rebalances
		}
		others := slices.Sorted(slices.Values(meta.Topics))
		if !slices.Equal(others, topics) {
			return fmt.Errorf("its members read %s, not %s: %w", strings.Join(others, ", "), strings.Join(topics, ", "), broker.ErrTopicConflict)
		}
	}
	return nil
}
