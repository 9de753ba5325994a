// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/lineage"
)

// Headers of a gathered record.
const (
	HeaderOf       = "mr-of"       // id of the source it answers
	HeaderRevision = "mr-revision" // 1 for the first answer
	HeaderStatus   = "mr-joined"   // "complete" or "partial"
	headerLow      = "mr-low"      // offset of the first source of this partition not answered yet
)

// skew is how far the clocks of a broker's machines may be apart.
const skew = 10 * time.Second

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
	open := 0
	for _, p := range a.Partitions {
		w := newWindow(m.g, p)
		if err := m.refill(ctx, w, positions); err != nil {
			return fmt.Errorf("restore partition %d: %w", p, err)
		}
		m.windows[p] = w
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
	err = m.each(ctx, m.g.c.Of, w.partition, from, broker.Position{}, func(r *broker.Record) bool {
		if first.IsZero() {
			first = r.Time
		}
		if r.Offset >= position(m.g.c.Of) {
			return false
		}
		w.add(r)
		sources++
		return true
	})
	if err != nil {
		return err
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
		err := m.each(ctx, topic, w.partition, broker.At(first.Add(-skew)), broker.Offset(position(topic)), func(r *broker.Record) bool {
			partition, offset, ok := lineage.SourceIn(r.Header(lineage.ID), m.g.c.Of)
			if ok && partition == w.partition && offset >= w.low {
				w.take(r, f, offset)
			}
			w.read[topic] = r.Time
			return true
		})
		if err != nil {
			return err
		}
	}
	w.late = nil
	return nil
}

// lowWater is where the first source stands that is not answered.
func (m *member) lowWater(ctx context.Context, w *window) (broker.Position, error) {
	last, err := m.last(ctx, m.g.c.To, w.partition)
	if err != nil {
		return broker.Position{}, err
	}
	if last != nil {
		if low, err := strconv.ParseInt(string(last.Header(headerLow)), 10, 64); err == nil {
			return broker.Offset(low), nil
		}
		return broker.Position{}, fmt.Errorf("the last record of %s[%d] (offset %d) is not from gather %s: let no one else write to this topic", m.g.c.To, w.partition, last.Offset, m.g.c.Name)
	}
	// Nothing was answered yet, so every source that was read is open. Where a
	// group begins at the end or at an age, the first one read is not known: one
	// that was appended a deadline before the last one read was answered by now
	// if it was read at all.
	if m.g.c.Start.IsStart() || w.next == 0 {
		return broker.Start(), nil
	}
	newest := time.Now()
	err = m.each(ctx, m.g.c.Of, w.partition, broker.Offset(w.next-1), broker.Offset(w.next), func(r *broker.Record) bool {
		newest = r.Time
		return false
	})
	if m.g.c.Deadline == 0 {
		return broker.Offset(w.next), err
	}
	return broker.At(newest.Add(-m.g.c.Deadline)), err
}

// last returns the last record of a partition, or nil. On some brokers offsets
// before the end hold no record, so it looks further and further back.
func (m *member) last(ctx context.Context, topic string, partition int32) (*broker.Record, error) {
	infos, err := m.g.b.Topics(ctx)
	if err != nil {
		return nil, err
	}
	for _, info := range infos {
		if info.Name != topic || int(partition) >= len(info.Ends) {
			continue
		}
		ends := info.Ends[partition]
		for back := int64(1); ; back *= 16 {
			from := max(ends.Start, ends.End-back)
			var last *broker.Record
			err := m.each(ctx, topic, partition, broker.Offset(from), broker.Position{}, func(r *broker.Record) bool {
				last = r
				return true
			})
			if err != nil || last != nil || from == ends.Start {
				return last, err
			}
		}
	}
	return nil, nil
}

// each calls f with the records of a range until f returns false.
func (m *member) each(ctx context.Context, topic string, partition int32, from, to broker.Position, f func(*broker.Record) bool) error {
	reader, err := m.g.b.Read(ctx, topic, partition, from, to)
	if err != nil {
		return err
	}
	defer reader.Close()
	for {
		records, err := reader.Next(ctx, 0)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for i := range records {
			if !f(&records[i]) {
				return nil
			}
		}
	}
}
