// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/lineage"
)

// Errors of [Prepare] and [Transfer.Run], beside those of the brokers.
var (
	// ErrOccupied: the copy's topics hold what does not come from here.
	ErrOccupied = errors.New("the topics to copy to are in use")
	// ErrMoving: the source changes while it is copied.
	ErrMoving = errors.New("the source is in use")
	// ErrNothing: the source has none of the topics.
	ErrNothing = errors.New("there is nothing to copy")
)

// Plan is what a transfer will do, or has done.
type Plan struct {
	Topics []TopicPlan `json:"topics"`
	Groups []GroupPlan `json:"groups"`
}

// TopicPlan is what becomes of a topic.
type TopicPlan struct {
	Topic      string `json:"topic"`
	Partitions int    `json:"partitions"`
	Records    int64  `json:"records"` // of the source, as well as its broker knows
	There      int64  `json:"there"`   // in the copy before, as well as its broker knows
	Copied     int64  `json:"copied"`  // in this run
}

// GroupPlan is what becomes of a consumer group.
type GroupPlan struct {
	Group  string   `json:"group"`
	Topics []string `json:"topics"`
	Lag    int64    `json:"lag"` // records that it takes there first
}

// Prepare looks at both brokers and refuses what cannot go well. It changes nothing.
func Prepare(ctx context.Context, c Config) (*Transfer, error) {
	t := &Transfer{c: c, logs: map[string][]*log{}, copied: map[string]int64{}, lags: map[string][]broker.Lag{}}
	if err := t.chooseTopics(ctx); err != nil {
		return nil, err
	}
	if err := t.chooseGroups(ctx); err != nil {
		return nil, err
	}
	if err := t.checkJoins(ctx); err != nil {
		return nil, err
	}
	if c.To != nil {
		if err := t.checkTarget(ctx); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *Transfer) chooseTopics(ctx context.Context) error {
	infos, err := t.c.From.Topics(ctx)
	if err != nil {
		return err
	}
	for _, info := range infos {
		topic := info.Topic
		if t.c.Topics != nil {
			i := slices.IndexFunc(t.c.Topics, func(x broker.Topic) bool { return x.Name == info.Name })
			if i < 0 {
				continue
			}
			if t.c.Topics[i].Partitions > 0 {
				topic = t.c.Topics[i]
			}
			if topic.Partitions != info.Partitions {
				return fmt.Errorf("%w: topic %s has %d partitions and shall have %d: a copy keeps their number",
					broker.ErrTopicConflict, topic.Name, info.Partitions, topic.Partitions)
			}
		}
		t.infos, t.topics = append(t.infos, info), append(t.topics, topic)
		plan := TopicPlan{Topic: info.Name, Partitions: info.Partitions}
		for p, ends := range info.Ends {
			plan.Records += ends.Records
			t.logs[info.Name] = append(t.logs[info.Name], &log{t: t, topic: info.Name, partition: int32(p), end: ends.End, fresh: true})
		}
		t.plan.Topics = append(t.plan.Topics, plan)
		t.progress.Total += plan.Records
		if _, decisions := lineage.DecisionsOf(info.Name); !decisions { // from which nothing descends
			t.uneven = t.uneven || t.even > 0 && info.Partitions != t.even
			t.even = info.Partitions
		}
	}
	if len(t.topics) == 0 {
		return ErrNothing
	}
	return nil
}

func (t *Transfer) chooseGroups(ctx context.Context) error {
	names, err := t.c.From.Groups(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if t.c.Groups != nil && !slices.Contains(t.c.Groups, name) {
			continue
		}
		lags, err := t.lagsOf(ctx, name)
		if err != nil {
			return err
		}
		if len(lags) == 0 {
			continue
		}
		plan := GroupPlan{Group: name}
		for _, l := range lags {
			plan.Lag += l.Lag
			if !slices.Contains(plan.Topics, l.Topic) {
				plan.Topics = append(plan.Topics, l.Topic)
			}
		}
		t.plan.Groups = append(t.plan.Groups, plan)
		t.lags[name] = lags
	}
	return nil
}

// lagsOf is where a group of the source is in the topics to copy. It must not move.
func (t *Transfer) lagsOf(ctx context.Context, group string) ([]broker.Lag, error) {
	all, err := t.c.From.Lag(ctx, group)
	if err != nil {
		return nil, err
	}
	var lags []broker.Lag
	for _, l := range all {
		if t.log(l.Topic, l.Partition) == nil {
			continue
		}
		if l.Member != "" {
			return nil, fmt.Errorf("%w: group %s has members", ErrMoving, group)
		}
		lags = append(lags, l)
	}
	return lags, nil
}

// checkJoins refuses to move a gather that cannot tell, there, where it was: its
// place is in its last answer, and retention has deleted that.
func (t *Transfer) checkJoins(ctx context.Context) error {
	for _, j := range t.c.Joins {
		for p, answers := range t.logs[j.To] {
			sources := t.log(j.Of, int32(p))
			if sources == nil || t.records(j.Of, p).Records == 0 {
				continue
			}
			answered, err := t.answered(ctx, j, answers.partition)
			if err != nil {
				return err
			}
			if !answered {
				continue
			}
			last, err := broker.Last(ctx, t.c.From, j.To, answers.partition)
			if err != nil {
				return err
			}
			if last == nil {
				return fmt.Errorf("retention has deleted every answer of %s[%d], so that the copy could not tell which records of %s[%d] are answered: publish one more record there and let the pipeline answer it, then copy",
					j.To, answers.partition, j.Of, p)
			}
		}
	}
	return nil
}

// answered reports whether a gather has noted that it answered a source.
func (t *Transfer) answered(ctx context.Context, j Join, partition int32) (bool, error) {
	notes := lineage.WindowTopic(j.To)
	if t.log(notes, partition) == nil {
		return false, nil
	}
	last, err := broker.Last(ctx, t.c.From, notes, partition)
	return last != nil && string(last.Header(lineage.Window)) == lineage.WindowAnswered, err
}

func (t *Transfer) records(topic string, partition int) broker.PartitionEnds {
	i := slices.IndexFunc(t.infos, func(x broker.TopicInfo) bool { return x.Name == topic })
	return t.infos[i].Ends[partition]
}

// checkTarget looks whether the copy's topics are free, or hold the beginning of
// this copy, as far as their first records tell.
func (t *Transfer) checkTarget(ctx context.Context) error {
	infos, err := t.c.To.Topics(ctx)
	if err != nil {
		return err
	}
	for _, info := range infos {
		logs := t.logs[info.Name]
		if logs == nil {
			continue
		}
		if len(info.Ends) != len(logs) {
			return fmt.Errorf("%w: topic %s has %d partitions, and %d where it is to be copied to", broker.ErrTopicConflict, info.Name, len(logs), len(info.Ends))
		}
		for p, ends := range info.Ends {
			if ends.Records == 0 && ends.Start == ends.End {
				continue // Nothing is there. Where offsets have gaps it may be so all the same.
			}
			logs[p].fresh = false
			if err := t.checkFirst(ctx, logs[p]); err != nil {
				return err
			}
			t.planned(info.Name).There += ends.Records
		}
	}
	return t.checkTargetGroups(ctx)
}

func (t *Transfer) checkFirst(ctx context.Context, l *log) error {
	if _, decisions := lineage.DecisionsOf(l.topic); decisions {
		return nil // there are offsets in its values
	}
	there, err := broker.First(ctx, t.c.To, l.topic, l.partition, broker.Start())
	if err != nil || there == nil {
		return err
	}
	here, err := broker.First(ctx, t.c.From, l.topic, l.partition, broker.Start())
	if err != nil {
		return err
	}
	if here == nil || !bytes.Equal(here.Key, there.Key) || !bytes.Equal(here.Value, there.Value) || !slices.EqualFunc(here.Headers, there.Headers, sameButPlaces) {
		return fmt.Errorf("%w: %s[%d] begins with another record", ErrOccupied, l.topic, l.partition)
	}
	return nil
}

// sameButPlaces compares headers, but for the offsets in them.
func sameButPlaces(x, y broker.Header) bool {
	return x.Key == y.Key && (lineage.HoldsPlace(x.Key) || bytes.Equal(x.Value, y.Value))
}

func (t *Transfer) checkTargetGroups(ctx context.Context) error {
	for name := range t.lags {
		lags, err := t.c.To.Lag(ctx, name)
		if err != nil {
			return err
		}
		for _, l := range lags {
			if l.Member != "" {
				return fmt.Errorf("%w: group %s has members there", ErrOccupied, name)
			}
		}
	}
	return nil
}

// unchanged checks that the source is as it was when the copying began. Offsets
// alone do not tell: a transaction that is aborted takes some, and a group's position
// may be taken to stand before or after them.
func (t *Transfer) unchanged(ctx context.Context) error {
	infos, err := t.c.From.Topics(ctx)
	if err != nil {
		return err
	}
	var grown []string
	for _, info := range infos {
		for p, l := range t.logs[info.Name] {
			if p >= len(info.Ends) {
				continue
			}
			more, err := t.between(ctx, l.topic, l.partition, l.end, info.Ends[p].End)
			if err != nil {
				return err
			}
			if more || info.Ends[p].End < l.end { // it is another topic
				grown = append(grown, info.Name)
				break
			}
		}
	}
	if len(grown) > 0 {
		return fmt.Errorf("%w: records were published to %s meanwhile", ErrMoving, strings.Join(grown, ", "))
	}
	for name, before := range t.lags {
		now, err := t.lagsOf(ctx, name)
		if err != nil {
			return err
		}
		if moved, err := t.moved(ctx, before, now); err != nil || moved {
			return cmp.Or(err, fmt.Errorf("%w: group %s has moved meanwhile", ErrMoving, name))
		}
	}
	return nil
}

// moved reports whether a group stands at other records than before.
func (t *Transfer) moved(ctx context.Context, before, now []broker.Lag) (bool, error) {
	if len(before) != len(now) {
		return true, nil
	}
	for i, was := range before {
		if was.Topic != now[i].Topic || was.Partition != now[i].Partition {
			return true, nil
		}
		from, to := was.Position, now[i].Position
		if moved, err := t.between(ctx, was.Topic, was.Partition, min(from, to), max(from, to)); err != nil || moved {
			return moved, err
		}
	}
	return false, nil
}

// between reports whether a record of the source has an offset from one to before
// another.
func (t *Transfer) between(ctx context.Context, topic string, partition int32, from, to int64) (bool, error) {
	if from >= to {
		return false, nil
	}
	r, err := broker.First(ctx, t.c.From, topic, partition, broker.Offset(from))
	return r != nil && r.Offset < to, err
}
