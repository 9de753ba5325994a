// SPDX-License-Identifier: Apache-2.0

package brokertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// worker is a member of a group that answers each record of its topics with one
// result in out, as a service does.
type worker struct {
	s      *suite
	group  string
	in     []string
	out    string
	most   int           // records of a batch
	wait   time.Duration // how long a batch waits for more
	busy   time.Duration // a batch takes up to this long
	fickle bool          // now and then rewinds instead of settling
	stays  bool          // takes a new client when its broker fails
	open   int           // so many batches at a time, which end in any order; 0 or 1: one
}

// run works until ctx ends. It returns what a correct broker never does.
func (w *worker) run(ctx context.Context, client *broker.Broker) error {
	for {
		err := w.session(ctx, client)
		var broken *brokenPromise
		switch {
		case errors.As(err, &broken):
			return err
		case ctx.Err() != nil:
			return nil
		case !w.stays:
			return err
		}
		pause(ctx, 5*time.Millisecond)
		client = w.s.h.Open(w.s)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// brokenPromise is an error of the driver, not of the broker behind it.
type brokenPromise struct{ text string }

func (e *brokenPromise) Error() string { return e.text }

func broken(format string, args ...any) error { return &brokenPromise{fmt.Sprintf(format, args...)} }

// session is a membership: from Join to Close.
func (w *worker) session(ctx context.Context, client *broker.Broker) error {
	c, err := client.Join(ctx, w.group, broker.Start(), w.in...)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := w.s.bounded()
		defer cancel()
		_ = c.Close(ctx) // of a dead client; the group does without it
	}()
	if w.open > 1 {
		return w.workAhead(ctx, c)
	}
	return w.work(ctx, c)
}

// workAhead polls on while batches are open. When ctx ends it settles those first;
// when a settle fails it leaves them, and so does a fickle worker in any case.
func (w *worker) workAhead(ctx context.Context, c *broker.Consumer) error {
	settling, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if w.fickle {
		settling = ctx
	}
	var running sync.WaitGroup
	defer running.Wait()
	room := make(chan struct{}, w.open)
	before := c.Assignment()
	for {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		batch, err := c.Poll(ctx, broker.Want{Records: w.most, Wait: w.wait})
		if err != nil {
			return errors.Join(context.Cause(ctx), err)
		}
		after := c.Assignment()
		if err := checkAssignment(before, after, batch.Records); err != nil {
			return err
		}
		before = after
		if w.fickle && rand.IntN(8) == 0 {
			<-room
			c.Rewind()
			continue
		}
		running.Go(func() {
			defer func() { <-room }()
			if w.busy > 0 {
				pause(ctx, rand.N(w.busy))
			}
			if err := w.finish(settling, batch); err != nil {
				cancel(err)
				abandon()
			}
		})
	}
}

// finish settles one of several open batches, unless ctx ends.
func (w *worker) finish(ctx context.Context, batch *broker.Batch) error {
	bounded, cancel := context.WithTimeout(ctx, w.s.h.Patience)
	defer cancel()
	err := batch.Settle(bounded, answers(w.out, batch.Records)...)
	if errors.Is(err, broker.ErrFenced) || ctx.Err() != nil {
		return nil
	}
	return err
}

// work polls and settles until ctx ends or the broker fails.
func (w *worker) work(ctx context.Context, c *broker.Consumer) error {
	before := c.Assignment()
	for {
		polled, err := c.Poll(ctx, broker.Want{Records: w.most, Wait: w.wait})
		var batch []broker.Record
		if err == nil {
			batch = polled.Records
		}
		after := c.Assignment()
		if err := checkAssignment(before, after, batch); err != nil {
			return err
		}
		before = after
		if err != nil {
			return err
		}
		if w.busy > 0 {
			pause(ctx, rand.N(w.busy))
		}
		if w.fickle && rand.IntN(8) == 0 {
			c.Rewind()
			continue
		}
		if w.fickle && ctx.Err() != nil {
			return ctx.Err() // leaves with an open batch
		}
		if err := w.settle(c, batch); err != nil {
			return err
		}
	}
}

func (w *worker) settle(c *broker.Consumer, batch []broker.Record) error {
	ctx, cancel := w.s.bounded()
	defer cancel()
	err := c.Settle(ctx, answers(w.out, batch)...)
	if errors.Is(err, broker.ErrFenced) {
		return nil
	}
	return err
}

// checkAssignment checks what a Poll returned against what the member owns.
func checkAssignment(before, after broker.Assignment, batch []broker.Record) error {
	if !slices.IsSorted(after.Partitions) {
		return broken("assigned partitions are not sorted: %v", after.Partitions)
	}
	if before.Epoch == after.Epoch && !slices.Equal(before.Partitions, after.Partitions) {
		return broken("partitions changed from %v to %v, but the epoch is still %d", before.Partitions, after.Partitions, after.Epoch)
	}
	if len(after.Since) != len(after.Partitions) {
		return broken("%d partitions are assigned, and since when is said of %d", len(after.Partitions), len(after.Since))
	}
	for i := range batch {
		if !slices.Contains(after.Partitions, batch[i].Partition) {
			return broken("polled %v, but the member is assigned the partitions %v", batch[i].Place(), after.Partitions)
		}
	}
	return nil
}

// crew is a set of running workers.
type crew struct {
	s    *suite
	wg   sync.WaitGroup
	stop context.CancelFunc
	ctx  context.Context
}

// crew begins an empty crew, which stops when the test ends.
func (s *suite) crew() *crew {
	ctx, stop := context.WithCancel(context.Background())
	c := &crew{s: s, ctx: ctx, stop: stop}
	s.Cleanup(c.end)
	return c
}

// start lets a worker run until the crew ends or its own stop is called, which
// waits for it.
func (c *crew) start(w worker, client *broker.Broker) (stop func()) {
	ctx, cancel := context.WithCancel(c.ctx)
	done := make(chan struct{})
	c.wg.Go(func() {
		defer close(done)
		if err := w.run(ctx, client); err != nil {
			c.s.Errorf("worker in %s: %v", w.group, err)
		}
	})
	return func() {
		cancel()
		<-done
	}
}

// end stops all workers and waits for them.
func (c *crew) end() {
	c.stop()
	c.wg.Wait()
}

// waitForAnswers waits until the group has settled all of the topics.
func (s *suite) waitForAnswers(group string, topics ...string) {
	s.Helper()
	s.eventually(fmt.Sprintf("%s answers everything in %q", group, topics), func() bool {
		if s.Failed() {
			s.FailNow()
		}
		lags := s.lag(group)
		for _, l := range lags {
			if l.Lag != 0 && slices.Contains(topics, l.Topic) {
				return false
			}
		}
		return len(lags) > 0 // nobody has joined yet
	})
}
