// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/backoff"
	"github.com/millrace-ml/millrace/internal/loop"
)

// What may be open: polled, and neither settled nor given back. Batches that are
// predicted sooner than those before them wait; that is what the number is for.
const (
	openBatches = 8 // times the calls in flight
	openBytes   = 64 << 20
)

// flow is a member at work: one goroutine polls, one for each open batch predicts
// and settles.
type flow struct {
	s     *Service
	c     *broker.Consumer
	calls chan struct{} // as many as calls may be in flight
	tasks sync.WaitGroup

	mu      sync.Mutex
	open    int // batches
	bytes   int // of their records
	changed chan struct{}
	free    []*batch
	err     error // that ends the flow
	stop    context.CancelFunc
}

func newFlow(s *Service, c *broker.Consumer) *flow {
	return &flow{s: s, c: c, calls: make(chan struct{}, s.c.Concurrency), changed: make(chan struct{})}
}

// run polls until ctx ends, works until work ends, and gives back the rest.
func (f *flow) run(ctx, work context.Context) error {
	ctx, f.stop = context.WithCancel(ctx)
	defer f.stop()
	err := f.poll(ctx, work)
	f.tasks.Wait()
	f.c.Rewind()
	left := f.s.load.open.Swap(0)
	f.s.load.waiting.Store(0)
	if f.err != nil {
		return f.err
	}
	if left > 0 {
		f.s.c.Logger.Warn("batches given back: the grace period is over", "records", left)
	}
	return err
}

// poll starts a task for each batch until ctx ends.
func (f *flow) poll(ctx, work context.Context) error {
	pause, trouble := backoff.New(f.s.c.Backoff, backoff.Longest), loop.Trouble{Logger: f.s.c.Logger, What: "poll"}
	for f.room(ctx) {
		polled, err := f.c.Poll(ctx, f.s.c.Batch)
		if err == nil {
			pause.Reset()
			trouble.Over()
			b := f.begin(polled)
			if b.slot.take(work) != nil {
				return nil // the batch is given back
			}
			f.tasks.Go(func() { f.answer(work, b) })
			continue
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case broker.Lasting(err):
			return err
		}
		trouble.Note(err)
		_ = pause.Wait(ctx) // the loop ends with its context
	}
	return nil
}

// room waits until the model may be called once more and another batch may be
// open. It reports false when ctx ends. It does not take the right to call the model:
// as long as there is nothing to poll, that is for batches that have waited for it.
func (f *flow) room(ctx context.Context) bool {
	right := slot{all: f.calls}
	if right.take(ctx) != nil {
		return false
	}
	right.give()
	for {
		f.mu.Lock()
		ok := f.open < openBatches*f.s.c.Concurrency && f.bytes < openBytes
		changed := f.changed
		f.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// begin takes a polled batch.
func (f *flow) begin(polled *broker.Batch) *batch {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b *batch
	if n := len(f.free); n > 0 {
		b, f.free = f.free[n-1], f.free[:n-1]
	} else {
		b = newBatch(f.s)
	}
	b.handle = polled
	b.slot = slot{all: f.calls}
	b.begin(polled.Records)
	b.seen.Backlog = polled.Backlog
	f.open++
	f.bytes += b.seen.Bytes
	f.s.load.open.Add(int64(len(b.records)))
	return b
}

// answer predicts on a batch and settles it.
func (f *flow) answer(work context.Context, b *batch) {
	err := b.predict(work)
	b.slot.give()
	if err != nil {
		b.endSpans() // work has ended; the batch is given back
		return
	}
	n := int64(len(b.records))
	f.s.load.waiting.Add(n)
	began := time.Now()
	settled, err := loop.Settling{
		Settle: b.handle.Settle, Results: b.results, Shrink: b.tooLarge, Logger: f.s.c.Logger,
	}.Run(work)
	b.seen.Settle = time.Since(began)
	b.endSpans()
	if err != nil {
		f.fail(work, err)
		return
	}
	f.s.load.waiting.Add(-n)
	f.s.load.open.Add(-n)
	if settled {
		b.logLetters()
	}
	seen := b.seen
	f.end(b)
	if settled && f.s.c.Observe != nil {
		f.s.c.Observe(seen)
	}
}

// end makes room for another batch.
func (f *flow) end(b *batch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open--
	f.bytes -= b.seen.Bytes
	b.end()
	f.free = append(f.free, b)
	close(f.changed)
	f.changed = make(chan struct{})
}

// fail ends the flow, unless the error is that work has ended.
func (f *flow) fail(work context.Context, err error) {
	if work.Err() != nil && errors.Is(err, work.Err()) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
	f.stop()
}
