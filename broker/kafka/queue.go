// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"slices"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// cursor is one partition of one topic: what was fetched of it and is not
// settled.
type cursor struct {
	at       broker.TopicPartition
	position int64 // the group's
	records  []broker.Record
	taken    int // of records: the open batch
	bytes    int // of all records
	paused   bool
	held     bool // not to be fetched: there is enough at hand
}

// next is the offset that the group moves to with the open batch.
func (c *cursor) next() int64 {
	if c.taken == 0 {
		return c.position
	}
	return c.records[c.taken-1].Offset + 1
}

// expected is the offset that is to be fetched next.
func (c *cursor) expected() int64 {
	if n := len(c.records); n > 0 {
		return c.records[n-1].Offset + 1
	}
	return c.position
}

// settled moves past the open batch.
func (c *cursor) settled() {
	if c.taken == 0 {
		return
	}
	c.position = c.next()
	for i := range c.taken {
		c.bytes -= c.records[i].Size()
	}
	clear(c.records[:c.taken]) // the bytes may be freed
	c.records, c.taken = c.records[c.taken:], 0
	if len(c.records) == 0 {
		c.records = nil
	}
}

// push adds what was fetched.
func (c *cursor) push(r broker.Record) {
	c.records = append(c.records, r)
	c.bytes += r.Size()
}

// queue is what a consumer has at hand.
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

// available is how much can be taken.
func (q *queue) available() (records, bytes int) {
	for _, c := range q.cursors {
		if !c.paused {
			records += len(c.records) - c.taken
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
			if bytes -= r.Size(); bytes < 0 && len(out) > 0 {
				return out
			}
			c.taken++
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
		if c.paused || c.taken == len(c.records) {
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

// rewind gives the open batch back.
func (q *queue) rewind() {
	for _, c := range q.cursors {
		c.taken = 0
	}
}
