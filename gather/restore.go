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

// skew is how far the clocks of a broker's machines may be apart.
const skew = 10 * time.Second

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
			if err := m.refill(inner, windows[i], positions); err != nil {
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
	}
	m.epoch, m.restored, m.blocked = a.Epoch, true, false
	m.g.c.Logger.Debug("restored", "partitions", len(a.Partitions), "open", open, "took", time.Since(began))
	return nil
}

// refill reads what the window held.
func (m *member) refill(ctx context.Context, w *window, positions map[broker.TopicPartition]int64) error {
	position := func(topic string) int64 {
		return positions[broker.TopicPartition{Topic: topic, Partition: w.partition}]
	}
	w.next = position(m.g.c.Of)
	from, err := m.lowWater(ctx, w)
	if err != nil {
		return err
	}
	var first time.Time // of the first source that is not answered
	sources := 0
	for r, err := range broker.Records(ctx, m.g.b, m.g.c.Of, w.partition, from, broker.Position{}) {
		if err != nil {
			return err
		}
		if first.IsZero() {
			first = r.Time
		}
		if r.Offset >= position(m.g.c.Of) {
			break
		}
		w.add(r)
		sources++
	}
	w.next = position(m.g.c.Of)
	w.low = w.next
	if sources > 0 {
		w.low = w.open.front().source.Offset
	}
	if first.IsZero() {
		return nil // nothing is open and nothing can be ahead
	}
	for topic, f := range m.g.feeds {
		if f.source || position(topic) == 0 {
			continue
		}
		since := broker.At(first.Add(-skew))
		for r, err := range broker.Records(ctx, m.g.b, topic, w.partition, since, broker.Offset(position(topic))) {
			if err != nil {
				return err
			}
			partition, offset, ok := lineage.SourceIn(r.Header(lineage.ID), m.g.c.Of)
			if ok && partition == w.partition && offset >= w.low {
				w.take(r, f, offset)
			}
			w.read[topic] = r.Time
		}
	}
	w.late = nil
	return nil
}

// lowWater is where the first source stands that is not answered.
func (m *member) lowWater(ctx context.Context, w *window) (broker.Position, error) {
	last, err := broker.Last(ctx, m.g.b, m.g.c.To, w.partition)
	if err != nil {
		return broker.Position{}, err
	}
	if last != nil {
		if low, err := strconv.ParseInt(string(last.Header(lineage.JoinLow)), 10, 64); err == nil {
			return broker.Offset(low), nil
		}
		return broker.Position{}, fmt.Errorf("the last record of %s[%d] (offset %d) is not from gather %s: let no one else write to this topic", m.g.c.To, w.partition, last.Offset, m.g.c.Name)
	}
	if w.next == 0 {
		return broker.Start(), nil
	}
	if emptied, err := m.emptied(ctx, w); err != nil {
		return broker.Position{}, err
	} else if emptied {
		return m.overdue(w, time.Now()), nil
	}
	// Nothing was answered yet, so every source that was read is open.
	if _, at := m.g.c.Start.Time(); at || m.g.c.Start.IsStart() {
		return m.g.c.Start, nil
	}
	// Where the group began is not known: one that was appended a deadline before
	// the last one read was answered by now if it was read at all.
	newest := time.Now()
	if r, err := broker.First(ctx, m.g.b, m.g.c.Of, w.partition, broker.Offset(w.next-1)); err != nil {
		return broker.Position{}, err
	} else if r != nil {
		newest = r.Time
	}
	return m.overdue(w, newest), nil
}

// emptied reports whether retention has deleted every answer, which not every
// broker leaves the last of.
func (m *member) emptied(ctx context.Context, w *window) (bool, error) {
	infos, err := m.g.b.Topics(ctx)
	if err != nil {
		return false, err
	}
	for _, info := range infos {
		if info.Name == m.g.c.To && int(w.partition) < len(info.Ends) {
			return info.Ends[w.partition].End > 0, nil
		}
	}
	return false, nil
}

// overdue is where the sources begin whose deadline is after a moment; those
// before were answered.
func (m *member) overdue(w *window, moment time.Time) broker.Position {
	if m.g.c.Deadline == 0 {
		return broker.Offset(w.next)
	}
	return broker.At(moment.Add(-m.g.c.Deadline))
}
