// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"errors"
	"sync"
	"time"
)

// life counts the calls of something that can be closed, and ends them then. What
// belongs to a Broker has a life within the Broker's: its calls are the Broker's
// too.
type life struct {
	parent *life
	ctx    context.Context // ends with ErrClosed
	kill   context.CancelCauseFunc

	mu     sync.Mutex // for closed, and for beginning a call before it is set
	closed bool
	calls  sync.WaitGroup
}

func newLife(parent *life) *life {
	outer := context.Background()
	if parent != nil {
		outer = parent.ctx
	}
	ctx, kill := context.WithCancelCause(outer)
	return &life{parent: parent, ctx: ctx, kill: kill}
}

// enter begins a call, which the caller ends with leave.
func (l *life) enter(caller context.Context) (*call, error) {
	if err := l.begin(); err != nil {
		return nil, err
	}
	if err := caller.Err(); err != nil {
		l.done()
		return nil, err
	}
	return &call{caller: caller, life: l}, nil
}

// begin counts a call, unless there are to be no more.
func (l *life) begin() error {
	if l.parent != nil {
		if err := l.parent.begin(); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		if l.parent != nil {
			l.parent.done()
		}
		return ErrClosed
	}
	l.calls.Add(1)
	return nil
}

func (l *life) done() {
	l.calls.Done()
	if l.parent != nil {
		l.parent.done()
	}
}

// end ends the calls and waits for them. It reports whether it was the first.
func (l *life) end() bool {
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	l.mu.Unlock()
	l.kill(ErrClosed)
	l.calls.Wait()
	return first
}

// call is the context of a call: it ends with the caller's, with the life of what
// is called, and when it is interrupted. What waits for both needs a context of
// its own, which costs more than a call of a broker that has at hand what is
// wanted; so it is made when somebody asks for its channel.
type call struct {
	caller context.Context
	life   *life

	mu    sync.Mutex
	cause error           // of an interrupt before there was a context
	ctx   context.Context // nil until it is needed
	kill  context.CancelCauseFunc
	stop  func() bool
}

// leave ends a call that enter began.
func (c *call) leave() {
	c.release()
	c.life.done()
}

// release lets go of what the context holds.
func (c *call) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx != nil {
		c.stop()
		c.kill(nil)
	}
}

// interrupt ends the context.
func (c *call) interrupt(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ctx != nil:
		c.kill(cause)
	case c.cause == nil:
		c.cause = cause
	}
}

// Done implements [context.Context].
func (c *call) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx == nil {
		c.ctx, c.kill = context.WithCancelCause(c.caller)
		kill := c.kill
		c.stop = context.AfterFunc(c.life.ctx, func() { kill(ErrClosed) })
		if c.cause != nil {
			kill(c.cause)
		}
	}
	return c.ctx.Done()
}

// Err implements [context.Context].
func (c *call) Err() error {
	if c.reason() == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx != nil && c.ctx.Err() != nil {
		return c.ctx.Err()
	}
	if err := c.caller.Err(); err != nil {
		return err
	}
	return context.Canceled
}

// reason is why the context has ended: the cause of the caller's, of the
// interrupt, or ErrClosed. It is nil as long as it has not.
func (c *call) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ctx != nil && c.ctx.Err() != nil:
		return context.Cause(c.ctx)
	case c.cause != nil:
		return c.cause
	case c.caller.Err() != nil:
		return context.Cause(c.caller)
	case c.life.ctx.Err() != nil:
		return ErrClosed
	}
	return nil
}

// Deadline implements [context.Context].
func (c *call) Deadline() (time.Time, bool) { return c.caller.Deadline() }

// Value implements [context.Context]. The context that was made for the channel
// answers for itself, so that contexts derived from this one find it.
func (c *call) Value(key any) any {
	c.mu.Lock()
	ctx := c.ctx
	c.mu.Unlock()
	if ctx == nil {
		ctx = c.caller
	}
	return ctx.Value(key)
}

// failed says why a call failed: that its context has ended is a consequence when
// that was by closing.
func (c *call) failed(err error) error {
	if errors.Is(c.reason(), ErrClosed) {
		return ErrClosed
	}
	return err
}
