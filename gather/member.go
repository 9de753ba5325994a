// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/backoff"
	"github.com/millrace-ml/millrace/internal/loop"
	"github.com/millrace-ml/millrace/internal/sanitize"
	"github.com/millrace-ml/millrace/lineage"
)

// recheck is how long a source that is past its deadline waits between looks at
// whether the log was read up to the deadline.
const recheck = 20 * time.Millisecond

// idle is how long the gather waits for records before it looks which partitions
// it owns.
const idle = 500 * time.Millisecond

// member is one consumer of the gather, with the windows of the partitions it owns.
type member struct {
	g          *Gather
	consumer   *broker.Consumer
	epoch      int64
	restored   bool
	windows    map[int32]*window
	writer     writer
	seen       Observation
	foreign    atomic.Int64  // records of others in the topic of answers, not observed yet
	skew       time.Duration // see window.skewOf, of the last source
	skewLogged time.Time
	looked     time.Time // when all sources were last known to be taken in
	strays     time.Time // when one was last logged
	cuts       time.Time // when an answer that leaves something out was last logged
	blocked    bool      // a source is past its deadline but the log is not read up to it
}

func newMember(g *Gather, c *broker.Consumer) *member {
	return &member{g: g, consumer: c, windows: map[int32]*window{}, writer: writer{g: g}}
}

func (m *member) run(ctx, work context.Context) error {
	pause := backoff.New(50*time.Millisecond, backoff.Longest)
	for ctx.Err() == nil {
		err := m.turn(ctx, work)
		switch {
		case err == nil:
			pause.Reset()
		case ctx.Err() != nil:
		case broker.Lasting(err):
			return err
		default:
			// What was taken in without being settled is taken in again.
			m.forget()
			m.g.c.Logger.Warn("gathering failed, trying again", "error", err)
			_ = pause.Wait(ctx) // the loop ends with its context
		}
	}
	m.consumer.Rewind()
	return nil
}

// turn polls once, takes the records in, and settles what follows from them.
func (m *member) turn(ctx, work context.Context) error {
	records, err := m.poll(ctx)
	if err != nil {
		return err
	}
	if a := m.consumer.Assignment(); !m.restored || a.Epoch != m.epoch {
		if err := m.restore(ctx, a); err != nil {
			return err
		}
	}
	m.seen = Observation{Records: len(records), Latency: m.seen.Latency[:0]}
	m.writer.begin(work)
	now := time.Now()
	for i := range records {
		m.take(&records[i], now)
	}
	if err := m.lookForMore(ctx, records); err != nil {
		return err
	}
	if m.blocked {
		if err := m.mark(ctx, records); err != nil {
			return err
		}
	}
	if err := m.answer(ctx); err != nil {
		return err
	}
	if len(records) == 0 && len(m.writer.out) == 0 {
		return nil
	}
	m.note()
	return m.settle(work)
}

func (m *member) settle(work context.Context) error {
	began := time.Now()
	settled, err := loop.Settling{Settle: m.consumer.Settle, Results: m.writer.results, Shrink: m.tooLarge, Logger: m.g.c.Logger}.Run(work)
	if err != nil {
		return err
	}
	m.writer.end()
	if !settled {
		m.forget()
		return nil
	}
	m.noted()
	if m.g.c.Observe != nil {
		m.seen.Settle = time.Since(began)
		m.seen.Skew = m.skew
		m.seen.Foreign = int(m.foreign.Swap(0))
		for _, w := range m.windows {
			m.seen.Open += w.open.len()
		}
		m.g.c.Observe(m.seen)
	}
	return nil
}

// forget drops all state; it is restored before the next records are taken in.
func (m *member) forget() {
	m.consumer.Rewind()
	m.restored = false
	clear(m.windows)
}

// poll waits for records, but not beyond the next deadline.
func (m *member) poll(ctx context.Context) ([]broker.Record, error) {
	want := m.g.c.Batch
	for _, w := range m.windows {
		want.Pause = w.pause(want.Pause)
	}
	until, cancel := context.WithDeadline(ctx, m.wake())
	defer cancel()
	batch, err := m.consumer.Poll(until, want)
	switch {
	case err == nil:
		return batch.Records, nil
	case until.Err() != nil && ctx.Err() == nil && !errors.Is(err, broker.ErrClosed):
		return nil, nil // it is time to look up
	}
	return nil, err
}

// wake is when to look up from waiting for records: when the next source is to be
// answered with what there is, and now and then, as a partition whose sources wait
// may have been gained meanwhile.
func (m *member) wake() time.Time {
	now := time.Now()
	wake := now.Add(idle)
	if m.blocked {
		return now.Add(recheck)
	}
	if m.g.c.Deadline == 0 {
		return wake
	}
	for _, w := range m.windows {
		if w.open.len() == 0 {
			continue
		}
		if at, _ := w.open.front().deadline(m.g.c.Deadline); at.Before(wake) {
			wake = at
		}
	}
	return wake
}

// take notes what a record tells.
func (m *member) take(r *broker.Record, now time.Time) {
	f := m.g.feeds[r.Topic]
	w := m.windows[r.Partition]
	if w == nil {
		return // cannot be: it was polled from an owned partition
	}
	w.noteRead(r, now)
	if f.source {
		m.look(w, r, now)
		w.add(r, now)
		return
	}
	partition, offset, ok := lineage.SourceIn(r.Header(lineage.ID), m.g.c.Of)
	if !ok || partition != r.Partition {
		m.stray(r)
		return
	}
	w.take(r, f, offset)
}

// stray counts a record that is nobody's part, and logs one in a while.
func (m *member) stray(r *broker.Record) {
	m.seen.Stray++
	if now := time.Now(); now.Sub(m.strays) > time.Minute {
		m.strays = now
		m.g.c.Logger.Warn("record left out: it does not tell which record of this partition it descends from",
			"topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "source_topic", m.g.c.Of, "id", shown(r.Header(lineage.ID)))
	}
}

// shown is an id for the log, which anyone may have made as long as a record.
func shown(id []byte) string { return sanitize.Cut(string(id[:min(len(id), maxShown+1)]), maxShown) }

// maxShown bounds ids in the log, in bytes.
const maxShown = 200

// mark finds topics that were read to their end: nothing appended before now is
// still to come from there, even if nothing was ever appended.
func (m *member) mark(ctx context.Context, polled []broker.Record) error {
	now := time.Now()
	lags, err := m.g.b.Lag(ctx, m.g.c.Group)
	if err != nil {
		return err
	}
	type place struct {
		topic     string
		partition int32
	}
	taken := map[place]int64{}
	for i := range polled {
		taken[place{polled[i].Topic, polled[i].Partition}]++
	}
	for _, l := range lags {
		if w := m.windows[l.Partition]; w != nil && l.Lag <= taken[place{l.Topic, l.Partition}] {
			w.read[l.Topic] = now
		}
	}
	return nil
}

// answer writes a record for every source that is due, and the revisions.
func (m *member) answer(ctx context.Context) error {
	now := time.Now()
	m.blocked = false
	for _, p := range m.partitions() {
		w := m.windows[p]
		for w.open.len() > 0 {
			j := w.open.front()
			if j.waiting > 0 {
				due, blocked := w.due(j, now, m.g.c.Deadline)
				m.blocked = m.blocked || blocked
				if !due {
					break
				}
			}
			m.close(w, j, now)
		}
		if len(w.late) > 0 {
			n, err := m.revise(ctx, w)
			if err != nil {
				return err
			}
			m.seen.Revisions += n
		}
	}
	return nil
}

// close answers the first source of a window.
func (m *member) close(w *window, j *join, now time.Time) {
	w.open.pop()
	w.low = j.source.Offset + 1
	w.answered = true
	w.bytes -= j.bytes
	complete, cut := m.writer.add(w, j)
	if cut {
		m.cut("an answer leaves out what is too large", &j.source)
	}
	if complete {
		m.seen.Complete++
	} else {
		m.seen.Partial++
		w.closed.put(j)
	}
	m.seen.Latency = append(m.seen.Latency, max(0, now.Sub(j.source.Time)))
}

// partitions in order, so that the same input gives the same output.
func (m *member) partitions() []int32 {
	ps := make([]int32, 0, len(m.windows))
	for p := range m.windows {
		ps = append(ps, p)
	}
	slices.Sort(ps)
	return ps
}
