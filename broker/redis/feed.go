// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"

	"github.com/millrace-ml/millrace/broker"
)

// mostReads are under way at a time. More than one is rare: a read that waits
// at the server for what is not needed any more is left alone.
const mostReads = 4

// feed reads streams ahead for one goroutine.
type feed struct {
	d       *driver
	cursors cursors
	answers chan *answer
	reading int      // reads under way
	latest  *request // the last one that was begun, until it has come
	round   int      // answers to reads of earlier ones are not taken

	average float64         // bytes of a record, lately; 0: not known
	size    int             // bytes of the last answer
	space   []broker.Record // memory for the next answer's records
}

func newFeed(d *driver) feed {
	return feed{d: d, answers: make(chan *answer, mostReads)}
}

// request makes a read of the cursors that have few records at hand, for a
// caller that wants so many. It may have no streams.
func (f *feed) request(records, bytes int) *request {
	q := &request{count: min(max(4*records, 64), readCount), expected: f.size + f.size/8}
	q.space, f.space = f.space, nil
	for _, c := range f.cursors {
		if !c.leaving && c.waiting() <= 2*records && !c.ended() {
			q.cursors = append(q.cursors, c)
			q.after = append(q.after, c.fetched)
		}
	}
	if len(q.cursors) == 0 {
		return q
	}
	if f.average == 0 {
		q.count = min(q.count, 64)
		return q
	}
	// Redis limits an answer by the number of entries of each stream only.
	share := float64(2*max(bytes, 1<<20)) / float64(len(q.cursors))
	q.count = min(q.count, max(1, int(share/f.average)))
	return q
}

// begin makes a read in the background. Its answer comes in f.answers.
func (f *feed) begin(q *request) {
	for _, c := range q.cursors {
		c.asked = q
	}
	q.round = f.round
	f.latest = q
	f.reading++
	f.d.background.Go(func() { f.answers <- f.d.fetch(f.d.life, q) })
}

// covered reports whether the latest read brings all records that may be needed.
func (f *feed) covered() bool {
	for _, c := range f.cursors {
		if !c.idle() && c.waiting() == 0 && !c.ended() && c.asked != f.latest {
			return false
		}
	}
	return f.latest != nil
}

// arrived takes an answer over. It reports an error that will not pass, after
// waiting a little for one that may.
func (f *feed) arrived(ctx context.Context, a *answer) error {
	f.reading--
	if a.request == f.latest {
		f.latest = nil
	}
	switch {
	case a.err == nil:
		f.d.outage.over()
		f.absorb(a)
		return nil
	case !passing(a.err):
		return explain(a.err, false)
	}
	f.d.outage.note(a.err)
	sleep(ctx, 4*firstPause)
	return nil
}

// absorb adds what was read to the cursors.
func (f *feed) absorb(a *answer) {
	bytes, records := 0, 0
	for i := range a.chunks {
		ch := &a.chunks[i]
		bytes += ch.bytes
		records += len(ch.records)
		if a.request.round == f.round {
			f.absorbChunk(a.request.cursors[i], ch)
		}
	}
	f.size = min(a.size, 4<<20)
	clear(a.space)
	f.space = a.space[:0] // the cursors have copies
	if records == 0 {
		return
	}
	// It grows at once and falls slowly: large records often come together.
	now := float64(bytes)/float64(records) + 64
	f.average = max(now, (7*f.average+now)/8)
}

func (f *feed) absorbChunk(c *cursor, ch *chunk) {
	before := c.foreign
	c.absorb(ch)
	if c.foreign != "" && c.foreign != before {
		f.d.options.Logger.Error("a partition is not read on: an entry has an id that is not a time in milliseconds and a number below a million. "+
			"Delete it (XDEL), and set the stream's last id back (XSETID); add entries with the id *",
			"server", f.d.server, "stream", c.stream, "entry", c.foreign)
	}
}

// restart forgets what was read ahead, and what is being read.
func (f *feed) restart() {
	f.round++
	f.latest = nil
	for _, c := range f.cursors {
		c.reread()
	}
}
