// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"cmp"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// cursor is one partition of one topic: what was fetched of it and is not settled.
//
//	     position       next        fetched      stable
//	settled |    open     |   at hand   | elsewhere |
//	        | records[:n] | records[n:] |           |     n is taken
//
// The records of open batches stay until they are settled, so that a rewind needs
// no server. The offsets of transaction markers lie between all of these.
type cursor struct {
	at    broker.TopicPartition
	share *share // that it is part of

	// Under the member's mutex.
	position int64 // where the group stands
	records  []broker.Record
	taken    int
	bytes    int   // of the records at hand
	fetched  int64 // the offset to be fetched next
	stable   int64 // the end, as of the last fetch, of what is decided

	// Of the goroutine that polls.
	paused bool
	held   bool // not to be fetched: there is enough at hand
}

// next is the offset that the group moves to with all that was polled.
func (c *cursor) next() int64 {
	if c.taken == 0 {
		return c.position
	}
	return c.records[c.taken-1].Offset + 1
}

// atHand are the records that can be polled.
func (c *cursor) atHand() []broker.Record { return c.records[c.taken:] }

// push adds what was fetched: records up to the offset next.
func (c *cursor) push(records []broker.Record, next, stable int64) {
	for len(records) > 0 && records[0].Offset < c.fetched {
		records = records[1:]
	}
	if len(c.records) == 0 {
		c.records = records
	} else {
		c.records = append(c.records, records...)
	}
	for i := range records {
		c.bytes += records[i].Size()
	}
	c.fetched, c.stable = max(c.fetched, next), stable
}

// rewind gives back what is open.
func (c *cursor) rewind() {
	for i := range c.taken {
		c.bytes += c.records[i].Size()
	}
	c.taken = 0
}

// settled moves the group. What is open beyond that stays so.
func (c *cursor) settled(to int64) {
	c.position = to
	n, _ := slices.BinarySearchFunc(c.records, to, func(r broker.Record, at int64) int { return cmp.Compare(r.Offset, at) })
	for i := c.taken; i < n; i++ { // rewound before the settle was known to have taken place
		c.bytes -= c.records[i].Size()
	}
	clear(c.records[:n]) // the bytes may be freed
	c.records, c.taken = c.records[n:], max(0, c.taken-n)
	if len(c.records) == 0 {
		c.records = nil
	}
}

// idle reports whether nothing is to be polled now: the caller has paused the
// partition, or another member waits for it.
func (c *cursor) idle() bool { return c.paused || !c.share.due.IsZero() }

// queue is what a consumer has at hand. But for pause its methods are called
// under the member's mutex.
type queue struct {
	cursors []*cursor
}

// bytes is how much is at hand.
func (q *queue) bytes() int {
	n := 0
	for _, c := range q.cursors {
		n += c.bytes
	}
	return n
}

// available is how much can be polled.
func (q *queue) available() (records, bytes int) {
	for _, c := range q.cursors {
		if !c.idle() {
			records += len(c.atHand())
			bytes += c.bytes
		}
	}
	return records, bytes
}

func (q *queue) pause(list []broker.TopicPartition) {
	for _, c := range q.cursors {
		c.paused = len(list) > 0 && slices.Contains(list, c.at)
	}
}

// poll takes a batch. The backlog counts the markers between records that have
// not been fetched, but it is exact where all has been.
func (q *queue) poll(records, bytes int) broker.Polled {
	from := make([]int64, len(q.cursors))
	for i, c := range q.cursors {
		from[i] = c.next()
	}
	p := broker.Polled{Records: q.take(records, bytes)}
	for i, c := range q.cursors {
		if to := c.next(); to != from[i] {
			p.Moves = append(p.Moves, broker.Move{TopicPartition: c.at, From: from[i], To: to})
		}
		if !c.idle() {
			p.Backlog += int64(len(c.atHand())) + max(0, c.stable-c.fetched)
		}
	}
	return p
}

// take takes the oldest records, at most so many and about so many bytes.
func (q *queue) take(records, bytes int) []broker.Record {
	n, _ := q.available()
	out := make([]broker.Record, 0, min(n, records))
	for len(out) < records {
		c, until := q.oldest()
		if c == nil {
			return out
		}
		// The first is older than until; those after it may not be.
		for more := true; more && len(out) < records; more = c.taken < len(c.records) && !c.records[c.taken].Time.After(until) {
			r := &c.records[c.taken]
			size := r.Size()
			if bytes -= size; bytes < 0 && len(out) > 0 {
				return out
			}
			c.taken++
			c.bytes -= size
			out = append(out, *r)
		}
	}
	return out
}

// oldest returns the cursor whose next record is the oldest, and the time of the
// oldest one after it in another cursor.
func (q *queue) oldest() (first *cursor, until time.Time) {
	until = time.Unix(1<<40, 0) // never
	for _, c := range q.cursors {
		if c.idle() || len(c.atHand()) == 0 {
			continue
		}
		t := c.records[c.taken].Time
		switch {
		case first == nil:
			first = c
		case t.Before(first.records[first.taken].Time):
			first, until = c, first.records[first.taken].Time
		case t.Before(until):
			until = t
		}
	}
	return first, until
}
