// SPDX-License-Identifier: Apache-2.0

// Package transfer copies topics, and the positions of the groups that read
// them, from one broker to another of any kind.
//
// The one idea: the copy itself says how far it is. Each partition of the copy
// must hold exactly the first records of its source; what is there is compared,
// the rest is appended and read back. So a copy that was interrupted goes on, a
// record that is there twice is found, and positions, which come last, are only
// set when every record is there once.
//
// Offsets differ between brokers. Headers that name a place (ids, the low-water
// mark of gathers, dead letters) name the place in the copy; a record that one
// names is copied before it, whatever the topics' order. Keys, values, other
// headers, partitions and order stay. Times are those of the copying, as a
// record's time is when its broker appended it; all topics are copied side by
// side in the order of their times, so that parts come as soon after their
// source as before, for the deadlines of gathers.
package transfer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// Config says what to copy. Nothing else may work on either broker's topics
// meanwhile.
type Config struct {
	From *broker.Broker
	To   *broker.Broker // may be nil for a plan: there is nothing yet

	// Topics are to be made like this; one without a number of partitions is as it
	// is in the source. nil: all of the source.
	Topics []broker.Topic
	Groups []string // nil: all of the source that read one of the topics
	Joins  []Join   // the gathers among the groups, as far as known

	Progress func(Progress) // called often, by the caller of Run; may be nil
}

// Join is a gather: it answers the records of one topic in another.
type Join struct{ Of, To string }

// Progress is how far a transfer is.
type Progress struct {
	There  int64 // records that an earlier run had copied
	Copied int64
	Total  int64 // as well as the source's broker knows
}

// Transfer is made by [Prepare] and run once, by one goroutine.
type Transfer struct {
	c      Config
	infos  []broker.TopicInfo      // of the source
	topics []broker.Topic          // to be made, in the same order
	logs   map[string][]*log       // by topic and partition
	lags   map[string][]broker.Lag // of the groups to move
	even   int                     // the topics' number of partitions …
	uneven bool                    // … which differ

	plan     Plan
	copied   map[string]int64
	progress Progress
	targets  map[string]map[string][]broker.Position // by group, topic and partition
}

// Plan tells what Run will do, and after it what it did.
func (t *Transfer) Plan() Plan { return t.plan }

// Run copies the records and then sets the positions. When it was interrupted in
// any way, another transfer between the same brokers goes on.
func (t *Transfer) Run(ctx context.Context) error {
	if err := t.c.To.CreateTopics(ctx, t.topics...); err != nil {
		return fmt.Errorf("create the topics: %w", err)
	}
	defer t.close()
	t.targets = map[string]map[string][]broker.Position{}
	for p := range t.partitions() {
		if err := t.copyPartition(ctx, t.side(p)); err != nil {
			return err
		}
	}
	if err := t.unchanged(ctx); err != nil {
		return err
	}
	for group, topics := range t.targets {
		for topic, positions := range topics {
			if err := t.c.To.Seek(ctx, group, topic, positions...); err != nil {
				return err
			}
		}
	}
	for topic, n := range t.copied {
		t.planned(topic).Copied = n
	}
	return nil
}

func (t *Transfer) planned(topic string) *TopicPlan {
	i := slices.IndexFunc(t.plan.Topics, func(x TopicPlan) bool { return x.Topic == topic })
	return &t.plan.Topics[i]
}

// partitions is the most that a topic has.
func (t *Transfer) partitions() int {
	n := 0
	for _, info := range t.infos {
		n = max(n, info.Partitions)
	}
	return n
}

// side is one partition of every topic: what descends from a record is mostly there.
func (t *Transfer) side(partition int) []*log {
	var logs []*log
	for _, info := range t.infos {
		if partition < info.Partitions {
			logs = append(logs, t.logs[info.Name][partition])
		}
	}
	return logs
}

// log is a partition to copy, or nil.
func (t *Transfer) log(topic string, partition int32) *log {
	logs := t.logs[topic]
	if partition < 0 || int(partition) >= len(logs) {
		return nil
	}
	return logs[partition]
}

// copyPartition copies logs side by side in the order of time.
func (t *Transfer) copyPartition(ctx context.Context, logs []*log) error {
	for {
		until, more, err := atHand(ctx, logs)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		for _, l := range byAge(logs) {
			if err := l.advance(ctx, until, -1); err != nil {
				return err
			}
		}
	}
	for _, l := range logs {
		if err := l.finish(ctx); err != nil {
			return err
		}
		t.locate(l)
		if !t.uneven { // otherwise records of other partitions may descend from these
			l.offsets = nil
		}
	}
	return nil
}

// atHand reads on and tells up to which time everything is at hand.
func atHand(ctx context.Context, logs []*log) (until time.Time, more bool, err error) {
	until = time.Unix(1<<40, 0)
	for _, l := range logs {
		if err := l.fill(ctx); err != nil {
			return until, false, err
		}
		if n := len(l.hand); n > 0 {
			more = true
			if last := l.hand[n-1].Time; !l.drained && last.Before(until) {
				until = last
			}
		}
	}
	return until, more, nil
}

// byAge are the logs that have something at hand, the oldest first.
func byAge(logs []*log) []*log {
	var some []*log
	for _, l := range logs {
		if len(l.hand) > 0 {
			some = append(some, l)
		}
	}
	slices.SortStableFunc(some, func(a, b *log) int { return a.hand[0].Time.Compare(b.hand[0].Time) })
	return some
}

// locate notes where the groups go on in the copy of a log.
func (t *Transfer) locate(l *log) {
	for group, lags := range t.lags {
		for _, lag := range lags {
			if lag.Topic != l.topic || lag.Partition != l.partition {
				continue
			}
			topics := t.targets[group]
			if topics == nil {
				topics = map[string][]broker.Position{}
				t.targets[group] = topics
			}
			if topics[l.topic] == nil {
				topics[l.topic] = make([]broker.Position, len(t.logs[l.topic]))
			}
			topics[l.topic][l.partition] = broker.Offset(l.offsets.after(lag.Position))
		}
	}
}

func (t *Transfer) report(ctx context.Context) error {
	if t.c.Progress != nil {
		t.c.Progress(t.progress)
	}
	return ctx.Err()
}

func (t *Transfer) close() {
	for _, logs := range t.logs {
		for _, l := range logs {
			l.close()
		}
	}
}
