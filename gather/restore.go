// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/lineage"
)

// restoring is how many partitions are restored at a time.
const restoring = 8

// restore makes the windows of the partitions owned now, as they were when the
// group last settled.
func (m *member) restore(ctx context.Context, a broker.Assignment) error {
	clear(m.windows)
	m.restored = false
	lags, err := m.g.b.Lag(ctx, m.g.c.Group)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	answers, err := m.answers(ctx)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	began := time.Now()
	positions := map[broker.TopicPartition]int64{}
	for _, l := range lags {
		positions[broker.TopicPartition{Topic: l.Topic, Partition: l.Partition}] = l.Position
	}
	// Side by side, as each is many short calls of the broker one after the other.
	windows := make([]*window, len(a.Partitions))
	refills, inner := errgroup.WithContext(ctx)
	refills.SetLimit(restoring)
	for i, p := range a.Partitions {
		windows[i] = newWindow(m.g, p)
		refills.Go(func() error {
			if err := m.refill(inner, windows[i], positions, answers); err != nil {
				return fmt.Errorf("restore partition %d: %w", p, err)
			}
			return nil
		})
	}
	if err := refills.Wait(); err != nil {
		return err
	}
	open := 0
	for _, w := range windows {
		m.windows[w.partition] = w
		open += w.open.len()
		if w.open.len() > 0 {
			m.look(w, &w.open.front().source, began)
		}
	}
	m.noteEmpty(lags, nil, began) // what was restored is not new
	m.epoch, m.restored, m.blocked = a.Epoch, true, false
	m.g.c.Logger.Debug("restored", "partitions", len(a.Partitions), "open", open, "took", time.Since(began))
	return nil
}

// answers describes the topic of answers, and makes that of the notes if it does
// not exist yet.
func (m *member) answers(ctx context.Context) (*broker.TopicInfo, error) {
	if err := m.g.makeNotes(ctx); err != nil {
		return nil, err
	}
	infos, err := m.g.b.Topics(ctx)
	if err != nil {
		return nil, err
	}
	for i := range infos {
		if infos[i].Name == m.g.c.To {
			return &infos[i], nil
		}
	}
	return nil, fmt.Errorf("topic %s: %w", m.g.c.To, broker.ErrUnknownTopic)
}

// refill reads what the window held.
func (m *member) refill(ctx context.Context, w *window, positions map[broker.TopicPartition]int64, answers *broker.TopicInfo) error {
	began := time.Now()
	position := func(topic string) int64 {
		return positions[broker.TopicPartition{Topic: topic, Partition: w.partition}]
	}
	w.next = position(m.g.c.Of)
	from, err := m.lowWater(ctx, w, answers)
	if err != nil {
		return err
	}
	var first *broker.Record // the first source that is not answered
	sources := 0
	for r, err := range broker.Records(ctx, m.g.b, m.g.c.Of, w.partition, from, broker.Position{}) {
		if err != nil {
			return err
		}
		if first == nil {
			first = r
		}
		if r.Offset >= position(m.g.c.Of) {
			break
		}
		if r.Offset < w.low {
			continue
		}
		w.add(r, began)
		sources++
	}
	w.next = position(m.g.c.Of)
	w.low = w.next
	if sources > 0 {
		w.low = w.open.front().source.Offset
	}
	if first == nil {
		return nil // nothing is open and nothing can be ahead
	}
	for topic, f := range m.g.feeds {
		if f.source || position(topic) == 0 {
			continue
		}
		for r, err := range broker.Records(ctx, m.g.b, topic, w.partition, since(first), broker.Offset(position(topic))) {
			if err != nil {
				return err
			}
			partition, offset, ok := lineage.SourceIn(r.Header(lineage.ID), m.g.c.Of)
			if ok && partition == w.partition && offset >= w.low {
				w.take(r, f, offset)
			}
			w.noteRead(r, began)
		}
	}
	w.late = nil
	return nil
}

// lowWater is where the first source stands that is not answered. The last answer
// tells; where there is none, the note does (see [note]).
func (m *member) lowWater(ctx context.Context, w *window, answers *broker.TopicInfo) (broker.Position, error) {
	state, floor, err := m.readNote(ctx, w.partition)
	if err != nil {
		return broker.Position{}, err
	}
	low, found, err := m.lastLow(ctx, w.partition, answers)
	if err != nil {
		return broker.Position{}, err
	}
	w.noted, w.answered = state, found || state == notedAnswered
	switch {
	case found:
		return broker.Offset(low), nil
	case state == notedNothing:
		return broker.Offset(w.next), nil // nothing was taken in yet
	case state == notedOpen:
		return broker.Offset(floor), nil
	}
	w.low = floor
	return m.kept(w, answers.Retention), nil
}

// kept is where the sources begin that cannot have been answered, when the topic
// of answers has lost every one. Retention deletes nothing that is younger than
// it, and an answer is younger than its source. What is older is given up: its
// answer would be deleted by now, or nearly.
func (m *member) kept(w *window, retention time.Duration) broker.Position {
	from := broker.Offset(w.next)
	switch {
	case retention > 0:
		from = broker.At(time.Now().Add(-retention))
	case m.g.c.Deadline > 0: // somebody has deleted them
		from = broker.At(time.Now().Add(-m.g.c.Deadline))
	}
	m.g.c.Logger.Warn("every answer was deleted: sources before this position are taken for answered",
		"topic", m.g.c.To, "partition", w.partition, "source_topic", m.g.c.Of, "position", from.String())
	return from
}

// lastLow is the low-water mark in the last answer of a partition. Records that
// this gather has not written are passed over, and counted.
func (m *member) lastLow(ctx context.Context, partition int32, answers *broker.TopicInfo) (low int64, found bool, err error) {
	if int(partition) >= len(answers.Ends) {
		return 0, false, nil
	}
	ends := answers.Ends[partition]
	foreign := 0
	for back, to := int64(1), ends.End; to > ends.Start; back *= 16 {
		from := max(ends.Start, ends.End-back)
		for r, err := range broker.Records(ctx, m.g.b, m.g.c.To, partition, broker.Offset(from), broker.Offset(to)) {
			if err != nil {
				return 0, false, err
			}
			if l, own := m.lowOf(r); own {
				low, found = l, true
			} else {
				foreign++
			}
		}
		if found {
			break
		}
		to = from
	}
	if foreign > 0 {
		m.foreign.Add(int64(foreign))
		m.g.c.Logger.Warn("records left out that are no answers of this gather: let no one else write to its topic",
			"topic", m.g.c.To, "partition", partition, "records", foreign)
	}
	return low, found, nil
}

// lowOf is the low-water mark of an answer, and whether the record is one of this
// gather.
func (m *member) lowOf(r *broker.Record) (low int64, own bool) {
	partition, source, ok := lineage.SourceIn(r.Header(lineage.JoinOf), m.g.c.Of)
	low, err := strconv.ParseInt(string(r.Header(lineage.JoinLow)), 10, 64)
	return low, ok && err == nil && partition == r.Partition && source < low
}
