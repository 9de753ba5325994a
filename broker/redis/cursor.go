// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"math"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// cursor is a place in a stream, with the records that were read ahead. It is of
// the goroutine that polls or reads, but for what a member's settles share with it.
type cursor struct {
	topic     *topic
	partition int32
	stream    string

	next    position        // what was returned last
	buffer  []broker.Record // after next
	taken   int             // of buffer, by a Poll that has not returned yet
	fetched id              // the last entry that was read
	limit   id              // the last entry to read
	more    bool            // there may be entries after fetched
	asked   *request        // the last read that asks for what is after fetched
	foreign string          // the entry after fetched, whose id is no offset; "" for none
	again   time.Time       // when to look whether that is still so
	paused  bool
	gone    bool // it is not the member's any more

	// Shared, and changed under member.mu. Between the group's position and next are the open
	// batches; ends has where each of them ends, the last one at next.
	since    string // the lease with which the member got the partition
	leaving  bool   // another member waits for it
	position position
	ends     []position
}

// foreignPause is how long a stream rests at an entry that cannot be read.
const foreignPause = 2 * time.Second

func newCursor(t *topic, partition int32, from position) *cursor {
	c := &cursor{topic: t, partition: partition, stream: t.streams[partition], limit: math.MaxInt64}
	c.seek(from)
	return c
}

// seek forgets what was returned and read, and goes to another place. The caller
// holds the member's mutex.
func (c *cursor) seek(to position) {
	c.position, c.ends, c.next = to, nil, to
	c.reread()
}

// reread forgets what was read ahead.
func (c *cursor) reread() {
	c.buffer, c.taken, c.asked = nil, 0, nil
	c.fetched, c.more, c.again = c.next.last, true, time.Time{}
}

// pass goes past what was taken.
func (c *cursor) pass() {
	if c.taken == 0 {
		return
	}
	c.next.last = id(c.buffer[c.taken-1].Offset)
	c.next.read += int64(c.taken)
	// The memory is used again: what was returned are copies.
	left := copy(c.buffer, c.buffer[c.taken:])
	clear(c.buffer[left:])
	c.buffer, c.taken = c.buffer[:left], 0
}

// ended reports whether there is nothing to read at present.
func (c *cursor) ended() bool {
	return c.fetched >= c.limit || c.foreign != "" && time.Now().Before(c.again)
}

// idle reports whether nothing is to be taken.
func (c *cursor) idle() bool { return c.paused || c.leaving }

// waiting is how many records are at hand.
func (c *cursor) waiting() int { return len(c.buffer) - c.taken }

// unread reports whether it is not known what comes next.
func (c *cursor) unread() bool { return c.more && c.waiting() == 0 && !c.idle() }

// absorb adds what was read. Reads may overlap, and one may have begun before
// the cursor was moved.
func (c *cursor) absorb(ch *chunk) {
	if ch.after > c.fetched || c.gone {
		return
	}
	records := ch.records
	if c.foreign = ch.beyond; c.foreign != "" {
		c.again = time.Now().Add(foreignPause)
	}
	for len(records) > 0 && id(records[0].Offset) <= c.fetched {
		records = records[1:]
	}
	c.more = ch.full && c.foreign == ""
	for len(records) > 0 && id(records[len(records)-1].Offset) > c.limit {
		records = records[:len(records)-1]
		c.more = false
	}
	if len(records) == 0 {
		return
	}
	c.fetched = id(records[len(records)-1].Offset)
	if c.fetched >= c.limit {
		c.more = false
	}
	c.buffer = append(c.buffer, records...)
}

// cursors are sorted by partition.
type cursors []*cursor

// take appends to out up to most records and about as many bytes as there is
// room, which it lessens: always the record that was appended first of those at
// hand. It reports whether a partition is held up by one of its topics, which may
// have an older record than the others and must be read first.
func (cs cursors) take(out []broker.Record, most int, room *int) (_ []broker.Record, held bool) {
	if n := cs.waiting(); out == nil && n > 0 {
		out = make([]broker.Record, 0, min(n, most))
	}
	for len(out) < most && *room > 0 {
		c, until, unread := cs.oldest()
		if c == nil {
			return out, unread
		}
		for c.waiting() > 0 && len(out) < most && *room > 0 && c.buffer[c.taken].Offset <= until {
			r := c.buffer[c.taken]
			*room -= r.Size()
			out = append(out, r)
			c.taken++
		}
	}
	return out, false
}

// oldest is the cursor whose next record was appended first, and the offset up to
// which no other one's comes before it.
func (cs cursors) oldest() (oldest *cursor, until int64, held bool) {
	first := int64(math.MaxInt64)
	until = first
	for len(cs) > 0 {
		end := 1
		for end < len(cs) && cs[end].partition == cs[0].partition {
			end++
		}
		partition := cs[:end]
		cs = cs[end:]
		if slices.ContainsFunc(partition, (*cursor).unread) {
			held = true
			continue
		}
		for _, c := range partition {
			if c.idle() || c.waiting() == 0 {
				continue
			}
			switch at := c.buffer[c.taken].Offset; {
			case at < first:
				oldest, first, until = c, at, first
			case at < until:
				until = at
			}
		}
	}
	return oldest, until, held
}

// waiting is how many records are at hand to be taken.
func (cs cursors) waiting() int {
	n := 0
	for _, c := range cs {
		if !c.idle() {
			n += c.waiting()
		}
	}
	return n
}
