// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/millrace-ml/millrace/broker"
)

const (
	firstPause   = 5 * time.Millisecond
	longestPause = 500 * time.Millisecond
)

// call makes a call of the server, which must be one that may be made twice. It
// is made again, with growing pauses, while the server is out of reach, until
// ctx ends or the broker is closed. Then it returns at once, and a call that is
// under way ends by itself.
func call[T any](ctx context.Context, b *Broker, op func(context.Context) (T, error)) (T, error) {
	var none T
	pause := firstPause
	for {
		v, err := attempt(ctx, b, op)
		if err == nil {
			b.outage.over()
			return v, nil
		}
		if !passing(err) || ctx.Err() != nil || b.isClosed() {
			return none, explain(ctx, b, err)
		}
		b.outage.note(err)
		if !b.pause(ctx, pause) {
			return none, explain(ctx, b, err)
		}
		pause = min(2*pause, longestPause)
	}
}

type outcome[T any] struct {
	value T
	err   error
}

// attempt makes the call once. The client library does not end a call when its
// context does, so it is left alone then.
func attempt[T any](ctx context.Context, b *Broker, op func(context.Context) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	if !b.enter() {
		return none, broker.ErrClosed
	}
	done := make(chan outcome[T], 1)
	go func() {
		defer b.calls.Done()
		v, err := op(b.life)
		done <- outcome[T]{v, err}
	}()
	select {
	case out := <-done:
		return out.value, out.err
	case <-ctx.Done():
		return none, ctx.Err()
	case <-b.life.Done():
		return none, broker.ErrClosed
	}
}

// enter counts a call, which the caller ends with b.calls.Done.
func (b *Broker) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.calls.Add(1)
	return true
}

// pause waits about that long; it reports whether nothing ended the wait.
func (b *Broker) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d/2 + rand.N(d))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-b.life.Done():
	}
	return false
}

// passing reports whether the same call may succeed later: the server is not
// there, is starting, is being replaced, or is busy.
func passing(err error) bool {
	if errors.Is(err, broker.ErrClosed) || errors.Is(err, context.Canceled) {
		return false
	}
	var reply redis.Error
	if !errors.As(err, &reply) {
		return true // of the network
	}
	for _, code := range []string{"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "NOREPLICAS", "MOVED", "ASK"} {
		if isReply(err, code) {
			return true
		}
	}
	return false
}

// explain makes the error of a call the contract's.
func explain(ctx context.Context, b *Broker, err error) error {
	switch {
	case b.isClosed():
		return broker.ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	case isReply(err, "OOM"):
		return fmt.Errorf("%w: Redis has reached its maxmemory: raise it or shorten the topics' retention", broker.ErrFull)
	case isReply(err, "MISCONF"):
		return fmt.Errorf("%w: Redis cannot write to its disk: %s", broker.ErrFull, detail(err))
	case isReply(err, "NOPERM"):
		return fmt.Errorf("%w: give the user the rights that docs/brokers/redis.md lists", err)
	}
	return err
}

// outage tells the log once when the server goes, and once when it is back.
type outage struct {
	b     *Broker
	mu    sync.Mutex
	since time.Time
}

func (o *outage) note(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() {
		o.since = time.Now()
		o.b.options.Logger.Warn("Redis is out of reach, trying again until it is back", "server", o.b.server, "err", plain(err))
	}
}

func (o *outage) over() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.since.IsZero() {
		o.b.options.Logger.Info("Redis is back", "server", o.b.server, "after", time.Since(o.since).Round(time.Millisecond))
		o.since = time.Time{}
	}
}

// plain is an error's text on one line.
func plain(err error) string { return strings.ReplaceAll(err.Error(), "\n", " ") }

// ignoreNil makes the answer that there is no such key no error.
func ignoreNil(err error) error {
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}
