// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"io"
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

// request is a read of several streams.
type request struct {
	cursors []*cursor // of the streams; the read looks only at what they are of
	after   []id
	count   int
	block   time.Duration // 0: not at all

	expected int             // bytes of the answer
	space    []broker.Record // memory for the records

	events      string // the key of a group's events, if they are to be read too
	eventsAfter string
	round       int // of the feed
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

// fetch makes the read once. It may be abandoned.
func (d *driver) fetch(ctx context.Context, q *request) *answer {
	ctx, cancel := context.WithTimeout(ctx, q.block+blockGrace)
	defer cancel()
	args := make([]any, 0, 8+2*len(q.cursors))
	args = append(args, "XREAD", "COUNT", strconv.Itoa(q.count))
	if q.block > 0 {
		args = append(args, "BLOCK", strconv.FormatInt(max(1, q.block.Milliseconds()), 10))
	}
	args = append(args, "STREAMS")
	first := len(args)
	if q.events != "" {
		args = append(args, q.events)
	}
	for _, c := range q.cursors {
		args = append(args, c.stream)
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
	if a.err = d.client.Process(ctx, cmd); a.err == nil {
		a.size = len(reply.bytes)
		a.err = a.parse(reply.clip())
	}
	if isReply(a.err, "MOVED") || isReply(a.err, "ASK") {
		if c, ok := d.client.(*redis.ClusterClient); ok {
			c.ReloadState(ctx)
		}
	}
	return a
}

// parse reads the server's answer.
func (a *answer) parse(raw []byte) error {
	q := a.request
	n := names{}
	a.chunks = make([]chunk, len(q.cursors))
	a.space = q.space[:0]
	for i := range a.chunks {
		a.chunks[i].after = q.after[i]
	}
	at := 0
	return parseStreams(raw, func(key []byte, r *resp) error {
		if string(key) == q.events {
			_, err := r.entries(func(int) {}, func(at id, _ [][]byte) { a.event = at.String() })
			return err
		}
		for at < len(q.cursors) && q.cursors[at].stream != string(key) {
			at++ // the answer has the streams' order, without those that have nothing
		}
		if at == len(q.cursors) {
			return errResp
		}
		ch, c := &a.chunks[at], q.cursors[at]
		before, first := len(r.rest), len(a.space)
		grow := func(n int) { a.space = slices.Grow(a.space, n) }
		foreign, err := r.entries(grow, func(at id, fields [][]byte) {
			rec := broker.Record{Topic: c.topic.Name, Partition: c.partition, Offset: int64(at), Time: at.time()}
			setFields(&rec, fields, n)
			a.space = append(a.space, rec)
		})
		ch.records, ch.beyond = a.space[first:], foreign
		ch.bytes = before - len(r.rest)
		ch.full = len(ch.records) >= q.count
		return err
	})
}
