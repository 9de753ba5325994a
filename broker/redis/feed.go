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
	merge
	b       *Broker
	answers chan *answer
	reading int      // reads under way
	latest  *request // the last one that was begun
}

func newFeed(b *Broker) feed {
	return feed{b: b, answers: make(chan *answer, mostReads)}
}

// begin makes a read in the background. Its answer comes in f.answers.
func (f *feed) begin(q *request) error {
	if !f.b.enter() {
		return broker.ErrClosed
	}
	f.latest = q
	f.reading++
	go func() {
		defer f.b.calls.Done()
		f.answers <- f.b.read(f.b.life, q)
	}()
	return nil
}

// arrived takes an answer over. It reports an error that will not pass, after
// waiting a little for one that may.
func (f *feed) arrived(ctx context.Context, a *answer) error {
	f.reading--
	if a.request == f.latest {
		f.latest = nil
	}
	if a.err == nil {
		f.b.outage.over()
		f.absorb(a)
		return nil
	}
	if f.b.isClosed() {
		return broker.ErrClosed
	}
	if !passing(a.err) {
		return explain(ctx, f.b, a.err)
	}
	f.b.outage.note(a.err)
	f.b.pause(ctx, 4*firstPause)
	return nil
}
