// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/lineage"
)

// note is what a partition of the topic of notes says. The last answer of a
// partition tells which sources are answered. Where there is no answer, it is to be
// known whether there never was one or all were deleted: the offsets do not tell,
// as aborted transactions take some, too. So the gather notes, in a topic that
// keeps everything, the first source that it took in, and then that it has
// answered one. A note is part of the settle that makes it true. They are two
// records in the life of a partition.
type note uint8

const (
	notedNothing  note = iota // no source was taken in
	notedOpen                 // some were, and none is answered
	notedAnswered             // one was answered, at least
)

// due is the note that a window should have.
func (w *window) dueNote() note {
	switch {
	case w.answered:
		return notedAnswered
	case w.open.len() > 0:
		return notedOpen
	}
	return notedNothing
}

// note adds the notes that the settle makes true to its results.
func (m *member) note() {
	for _, p := range m.partitions() {
		if w := m.windows[p]; w.dueNote() > w.noted {
			m.writer.note(w)
		}
	}
}

// noted remembers what note has added, once it is settled.
func (m *member) noted() {
	for _, w := range m.windows {
		w.noted = max(w.noted, w.dueNote())
	}
}

// note appends a note to the results of the settle.
func (w *writer) note(win *window) {
	low, state := win.low, lineage.WindowOpen
	if win.dueNote() == notedAnswered {
		state = lineage.WindowAnswered
	}
	if win.open.len() > 0 {
		low = win.open.front().source.Offset
	}
	w.out = append(w.out, broker.Record{
		Topic: lineage.WindowTopic(w.g.c.To), Partition: win.partition, Pinned: true,
		Headers: []broker.Header{
			{Key: lineage.JoinOf, Value: lineage.Source{Topic: w.g.c.Of, Partition: win.partition, Offset: low}.AppendTo(nil)},
			{Key: lineage.JoinLow, Value: strconv.AppendInt(nil, low, 10)},
			{Key: lineage.Window, Value: []byte(state)},
		},
	})
}

// makeNotes makes the topic of notes if it does not exist.
func (g *Gather) makeNotes(ctx context.Context) error {
	topic := lineage.WindowTopic(g.c.To)
	n, err := g.b.Partitions(ctx, g.c.Of)
	if err != nil {
		return err
	}
	if have, err := g.b.Partitions(ctx, topic); !errors.Is(err, broker.ErrUnknownTopic) {
		if err == nil && have < n {
			err = fmt.Errorf("topic %s has %d partitions and %s has %d: notes stay in the partition of their source, give %s as many: %w",
				topic, have, g.c.Of, n, topic, broker.ErrTopicConflict)
		}
		return err
	}
	return g.b.CreateTopics(ctx, broker.Topic{Name: topic, Partitions: n}) // which keeps them for ever
}

// readNote is the last note of a partition, and the first source that was not
// answered then.
func (m *member) readNote(ctx context.Context, partition int32) (state note, low int64, err error) {
	for r, err := range broker.Records(ctx, m.g.b, lineage.WindowTopic(m.g.c.To), partition, broker.Start(), broker.Position{}) {
		if err != nil {
			return notedNothing, 0, fmt.Errorf("read the notes: %w", err)
		}
		n, err := strconv.ParseInt(string(r.Header(lineage.JoinLow)), 10, 64)
		if err != nil {
			continue
		}
		switch string(r.Header(lineage.Window)) {
		case lineage.WindowOpen:
			state, low = notedOpen, n
		case lineage.WindowAnswered:
			state, low = notedAnswered, n
		}
	}
	return state, low, nil
}
