// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/internal/sanitize"
	"github.com/millrace-ml/millrace/model"
)

// caller calls a model that may do anything: fail, panic, end its goroutine, or
// return much too late. A call past its time is abandoned: it runs on, as nobody
// can end it, what it answers is dropped, and another one is begun in its place. As
// that cannot go on for ever, no call is begun while too many are abandoned. It
// may be used by several goroutines.
type caller struct {
	model   model.Model
	timeout time.Duration
	most    int // abandoned calls, with which no other one is begun
	log     *slog.Logger

	mu        sync.Mutex
	running   int           // not abandoned
	abandoned int           // and still running
	late      int64         // answers that were dropped
	returned  chan struct{} // closed when an abandoned call returns; nil while nobody waits for it
	stuck     bool          // which was said
}

// reply is what a call brought: an error of the whole, or as many answers as there
// were items, some with an error of their own.
type reply struct {
	failed  *fault
	answers []model.Answer
	faults  []*fault // by item; nil if none has an error
}

// fault is the error of the item n.
func (r *reply) fault(n int) *fault {
	if r.faults == nil {
		return nil
	}
	return r.faults[n]
}

// call calls the model. The items are the call's until it returns, which it has
// not done yet if it is abandoned. The error is that of ctx, when that ends.
func (c *caller) call(ctx context.Context, items []model.Item) (r reply, abandoned bool, err error) {
	if err := c.await(ctx); err != nil {
		return reply{}, false, err
	}
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	call := &call{c: c, done: make(chan reply, 1)}
	go call.run(limited, items)
	select {
	case r = <-call.done:
	case <-limited.Done():
		abandoned = call.abandon()
	}
	if ctx.Err() != nil {
		return reply{}, abandoned, ctx.Err()
	}
	if abandoned || limited.Err() != nil {
		return reply{failed: &fault{text: fmt.Sprintf("the model took longer than %v", c.timeout)}}, abandoned, nil
	}
	return r, false, nil
}

// await waits until another call may be begun, and counts it.
func (c *caller) await(ctx context.Context) error {
	for {
		returned := c.admit()
		if returned == nil {
			return nil
		}
		select {
		case <-returned:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// admit counts another call, or tells what to wait for before.
func (c *caller) admit() (returned <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.abandoned < c.most {
		c.running++
		return nil
	}
	if !c.stuck {
		c.stuck = true
		c.log.Error("stuck: calls of the model are past their time and do not return; no other one is begun until some do", "calls", c.abandoned)
	}
	if c.returned == nil {
		c.returned = make(chan struct{})
	}
	return c.returned
}

func (c *caller) load() (running, abandoned int, late int64, stuck bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running, c.abandoned, c.late, c.abandoned >= c.most
}

// call is one call of the model.
type call struct {
	c    *caller
	done chan reply

	ended, abandoned bool // under c.mu
}

// abandon leaves the call alone, unless it has ended.
func (l *call) abandon() bool {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	if l.ended {
		l.c.late++
		return false
	}
	l.abandoned = true
	l.c.running--
	l.c.abandoned++
	return true
}

// run is the goroutine of the call. It may end in the middle.
func (l *call) run(ctx context.Context, items []model.Item) {
	r := reply{failed: faultOf(model.ErrExit)}
	defer func() {
		if v := recover(); v != nil {
			r = reply{failed: faultOf(&model.PanicError{Value: v, Stack: debug.Stack()})}
		}
		l.end(&r)
		l.done <- r
	}()
	r = ask(ctx, l.c.model, items)
}

func (l *call) end(r *reply) {
	c := l.c
	c.mu.Lock()
	defer c.mu.Unlock()
	l.ended = true
	if !l.abandoned {
		c.running--
		return
	}
	c.abandoned--
	if r.failed == nil {
		c.late++
	}
	if c.stuck {
		c.stuck = false
		c.log.Info("calls of the model have returned, it goes on", "abandoned", c.abandoned)
	}
	if c.returned != nil {
		close(c.returned)
		c.returned = nil
	}
}

// ask calls the model and reads all of its answer, whose errors are the model's
// too and may be anything.
func ask(ctx context.Context, m model.Model, items []model.Item) reply {
	answers, err := m.Predict(ctx, items)
	if err != nil {
		return reply{failed: faultOf(err)}
	}
	if len(answers) != len(items) {
		return reply{failed: faultOf(fmt.Errorf("%w: %d answers to %d items", model.ErrCount, len(answers), len(items)))}
	}
	r := reply{answers: answers}
	for n := range answers {
		if answers[n].Err == nil {
			continue
		}
		if r.faults == nil {
			r.faults = make([]*fault, len(answers))
		}
		r.faults[n] = faultOf(answers[n].Err)
	}
	return r
}

// fault is an error of a model, with who is to blame for it.
type fault struct {
	text  string
	of    blame
	stack []byte // of a panic
}

// blame is who an error's kind alone puts the blame on; see [outcome.guilty].
type blame uint8

const (
	unknown blame = iota // a plain error, or no answer in time
	invalid              // the item: model.Invalid
	away                 // the model: model.Unavailable
	broken               // the model broke on the item, if that was alone: a panic, another number of answers
)

// faultOf reads an error. Reading it may panic, as one that is a nil pointer of
// its own type does.
func faultOf(err error) (f *fault) {
	defer func() {
		if v := recover(); v != nil {
			f = faultOf(&model.PanicError{Value: fmt.Sprintf("the error of type %T: %v", err, v), Stack: debug.Stack()})
		}
	}()
	f = &fault{text: sanitize.Cut(err.Error(), maxText)}
	var panicked *model.PanicError
	switch {
	case errors.Is(err, model.ErrInvalid):
		f.of = invalid
	case errors.Is(err, model.ErrUnavailable):
		f.of = away
	case errors.As(err, &panicked):
		f.of, f.stack = broken, panicked.Stack
	case errors.Is(err, model.ErrExit), errors.Is(err, model.ErrCount):
		f.of = broken
	}
	return f
}
