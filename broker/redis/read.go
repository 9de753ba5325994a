// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"io"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/millrace-ml/millrace/broker"
)

const (
	// longestBlock is how long a read waits at the server. A connection that
	// has died without notice is noticed soon after.
	longestBlock = time.Second
	blockGrace   = 2 * time.Second

	// readCount is the most entries that are taken of a stream at once.
	readCount = 4096
)

// cursor is a place in a stream, with the records that were read ahead.
type cursor struct {
	topic     *topic
	partition int32
	stream    string

	from    position        // where the group is
	buffer  []broker.Record // from the group's position on
	next    int             // of buffer, to be taken next
	fetched id              // the last entry that was read
	limit   id              // the last entry to read
	more    bool            // there may be entries after fetched
	paused  bool
}

func newCursor(t *topic, partition int32, from position) *cursor {
	c := &cursor{topic: t, partition: partition, stream: t.streams[partition], limit: math.MaxInt64}
	c.seek(from)
	return c
}

// seek forgets what was read and goes to another place.
func (c *cursor) seek(to position) {
	c.from, c.fetched = to, to.last
	c.buffer, c.next, c.more = nil, 0, true
}

// rewind goes back to where the group is, keeping what was read.
func (c *cursor) rewind() { c.next = 0 }

// taken is where the group will be past what was taken.
func (c *cursor) taken() position {
	if c.next == 0 {
		return c.from
	}
	return position{id(c.buffer[c.next-1].Offset), c.from.read + int64(c.next)}
}

// settle goes past what was taken.
func (c *cursor) settle() {
	c.from = c.taken()
	// The memory is used again: what was returned are copies.
	left := copy(c.buffer, c.buffer[c.next:])
	clear(c.buffer[left:])
	c.buffer, c.next = c.buffer[:left], 0
}

func (c *cursor) waiting() int { return len(c.buffer) - c.next }

// absorb adds what was read. Reads may overlap, and one may have begun before
// the cursor was moved.
func (c *cursor) absorb(ch *chunk) {
	if ch.after > c.fetched {
		return
	}
	records := ch.records
	for len(records) > 0 && id(records[0].Offset) <= c.fetched {
		records = records[1:]
	}
	c.more = ch.full
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

// merge takes records of several cursors, the one that was appended first
// first.
type merge struct {
	cursors []*cursor
	average float64         // bytes of a record, lately; 0: not known
	size    int             // bytes of the last answer
	space   []broker.Record // memory for the next answer's records
}

// take appends to out up to most records and about as many bytes as there is
// room, which it lessens. It stops before a stream that may have older records
// than the others, which must be read first; then it reports that.
func (m *merge) take(out []broker.Record, most int, room *int) (_ []broker.Record, held bool) {
	if out == nil {
		n := 0
		for _, c := range m.cursors {
			if !c.paused {
				n += c.waiting()
			}
		}
		if n > 0 {
			out = make([]broker.Record, 0, min(n, most))
		}
	}
	for len(out) < most && *room > 0 {
		var oldest *cursor
		at, until := int64(math.MaxInt64), int64(math.MaxInt64)
		for _, c := range m.cursors {
			if c.paused {
				continue
			}
			if c.waiting() == 0 {
				if c.more {
					return out, true
				}
				continue
			}
			switch first := c.buffer[c.next].Offset; {
			case first < at:
				oldest, at, until = c, first, at
			case first < until:
				until = first
			}
		}
		if oldest == nil {
			return out, false
		}
		for oldest.waiting() > 0 && len(out) < most && *room > 0 && oldest.buffer[oldest.next].Offset <= until {
			r := oldest.buffer[oldest.next]
			*room -= r.Size()
			out = append(out, r)
			oldest.next++
		}
	}
	return out, false
}

// request is a read of several streams.
type request struct {
	streams []string
	cursors []*cursor // of the streams; they are not looked into by the read
	after   []id
	count   int
	block   time.Duration // 0: not at all

	expected int             // bytes of the answer
	space    []broker.Record // memory for the records

	events      string // the key of a group's events, if they are to be read too
	eventsAfter string
}

// answer is what came of a request.
type answer struct {
	request *request
	chunks  []chunk         // one for each stream
	event   string          // the last one; "" for none
	size    int             // bytes
	space   []broker.Record // that the chunks' records are in
	err     error
}

// buffer collects an answer of the server. The records will be parts of it.
type buffer struct{ bytes []byte }

func (b *buffer) Write(p []byte) (int, error) {
	b.bytes = append(b.bytes, p...)
	return len(p), nil
}

// ReadFrom implements [io.ReaderFrom], so that io.CopyN needs no buffer between.
func (b *buffer) ReadFrom(r io.Reader) (int64, error) {
	limited, ok := r.(*io.LimitedReader)
	if !ok {
		all, err := io.ReadAll(r)
		b.bytes = append(b.bytes, all...)
		return int64(len(all)), err
	}
	before := len(b.bytes)
	b.bytes = slices.Grow(b.bytes, int(limited.N))[:before+int(limited.N)]
	n, err := io.ReadFull(r, b.bytes[before:])
	b.bytes = b.bytes[:before+n]
	return int64(n), err
}

// clip returns what was collected, in a piece of memory that is not much larger:
// it lives as long as one of the records.
func (b *buffer) clip() []byte {
	if cap(b.bytes) > len(b.bytes)+len(b.bytes)/2+1024 {
		return slices.Clone(b.bytes)
	}
	return b.bytes
}

// request makes a read of the cursors that have few records at hand, for a
// caller that wants so many. It is nil when there is nothing to read.
func (m *merge) request(records, bytes int) *request {
	q := &request{count: min(max(4*records, 64), readCount), expected: m.size + m.size/8}
	q.space, m.space = m.space, nil
	for _, c := range m.cursors {
		if c.waiting() <= 2*records && c.fetched < c.limit {
			q.cursors = append(q.cursors, c)
			q.streams = append(q.streams, c.stream)
			q.after = append(q.after, c.fetched)
		}
	}
	if len(q.cursors) == 0 {
		return nil
	}
	// Redis limits an answer by the number of entries of each stream only.
	share := float64(2*max(bytes, 1<<20)) / float64(len(q.cursors))
	switch {
	case m.average == 0:
		q.count = min(q.count, 64)
	default:
		q.count = min(q.count, max(1, int(share/m.average)))
	}
	return q
}

// covers reports whether the read brings the records of every cursor that may
// be needed.
func (q *request) covers(cursors []*cursor) bool {
	for _, c := range cursors {
		if c.paused || c.waiting() > 0 || c.fetched >= c.limit {
			continue
		}
		found := false
		for i, other := range q.cursors {
			found = found || other == c && q.after[i] <= c.fetched
		}
		if !found {
			return false
		}
	}
	return true
}

// absorb adds what was read to the cursors that are still there.
func (m *merge) absorb(a *answer) {
	bytes, records := 0, 0
	for i := range a.chunks {
		ch := &a.chunks[i]
		bytes += ch.bytes
		records += len(ch.records)
		for _, c := range m.cursors {
			if c == a.request.cursors[i] {
				c.absorb(ch)
			}
		}
	}
	m.size = min(a.size, 4<<20)
	clear(a.space)
	m.space = a.space[:0] // the cursors have copies
	if records == 0 {
		return
	}
	// It grows at once and falls slowly: large records often come together.
	now := float64(bytes)/float64(records) + 64
	m.average = max(now, (7*m.average+now)/8)
}

// read makes the read once. It may be abandoned.
func (b *Broker) read(ctx context.Context, q *request) *answer {
	ctx, cancel := context.WithTimeout(ctx, q.block+blockGrace)
	defer cancel()
	args := make([]any, 0, 8+2*len(q.streams))
	args = append(args, "XREAD", "COUNT", strconv.Itoa(q.count))
	if q.block > 0 {
		args = append(args, "BLOCK", strconv.FormatInt(max(1, q.block.Milliseconds()), 10))
	}
	args = append(args, "STREAMS")
	first := len(args)
	if q.events != "" {
		args = append(args, q.events)
	}
	for _, s := range q.streams {
		args = append(args, s)
	}
	if q.events != "" {
		args = append(args, q.eventsAfter)
	}
	for _, at := range q.after {
		args = append(args, at.String())
	}
	reply := &buffer{make([]byte, 0, q.expected)}
	cmd := redis.NewRawWriteToCmd(ctx, reply, args...)
	cmd.SetFirstKeyPos(int8(first))
	a := &answer{request: q}
	if a.err = b.client.Process(ctx, cmd); a.err == nil {
		a.size = len(reply.bytes)
		a.err = a.parse(reply.clip())
	}
	if isReply(a.err, "MOVED") || isReply(a.err, "ASK") {
		if c, ok := b.client.(*redis.ClusterClient); ok {
			c.ReloadState(ctx)
		}
	}
	return a
}

// parse reads the server's answer.
func (a *answer) parse(raw []byte) error {
	q := a.request
	n := names{}
	a.chunks = make([]chunk, len(q.streams))
	a.space = q.space[:0]
	for i := range a.chunks {
		a.chunks[i].after = q.after[i]
	}
	at := 0
	return parseStreams(raw, func(key []byte, r *resp) error {
		if string(key) == q.events {
			return r.entries(func(int) {}, func(at id, _ [][]byte) { a.event = at.String() })
		}
		for at < len(q.streams) && q.streams[at] != string(key) {
			at++ // the answer has the streams' order, without those that have nothing
		}
		if at == len(q.streams) {
			return errResp
		}
		ch, c := &a.chunks[at], q.cursors[at]
		before, first := len(r.rest), len(a.space)
		grow := func(n int) { a.space = slices.Grow(a.space, n) }
		err := r.entries(grow, func(at id, fields [][]byte) {
			rec := broker.Record{Topic: c.topic.name, Partition: c.partition, Offset: int64(at), Time: at.time()}
			setFields(&rec, fields, n)
			a.space = append(a.space, rec)
		})
		ch.records = a.space[first:]
		ch.bytes = before - len(r.rest)
		ch.full = len(ch.records) >= q.count
		return err
	})
}
