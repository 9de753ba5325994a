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
// ctx ends. Then it returns at once, and a call that is under way ends by itself.
func call[T any](ctx context.Context, d *driver, op func(context.Context) (T, error)) (T, error) {
	var none T
	unanswered := false // a call may be under way still
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		v, err := attempt(ctx, d, op)
		switch {
		case err == nil:
			d.outage.over()
			return v, nil
		case ctx.Err() != nil:
			return none, ctx.Err()
		case !passing(err):
			return none, explain(err, unanswered)
		}
		unanswered = unanswered || !isAnswer(err)
		d.outage.note(err)
		if !sleep(ctx, pause) {
			return none, ctx.Err()
		}
	}
}

type outcome[T any] struct {
	value T
	err   error
}

// attempt makes the call once. The client library does not end a call when its
// context does, so it is left alone then, until the driver is closed.
func attempt[T any](ctx context.Context, d *driver, op func(context.Context) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	done := make(chan outcome[T], 1)
	d.background.Go(func() {
		v, err := op(d.life)
		done <- outcome[T]{v, err}
	})
	select {
	case out := <-done:
		return out.value, out.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// sleep waits about that long; it reports whether nothing ended the wait.
func sleep(ctx context.Context, about time.Duration) bool {
	t := time.NewTimer(about/2 + rand.N(about))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// isAnswer reports whether the server has answered with this error.
func isAnswer(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// passing reports whether the same call may succeed later: the server is not
// there, is starting, is being replaced, or is busy.
func passing(err error) bool {
	if !isAnswer(err) {
		return true // of the network
	}
	for _, code := range []string{"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "NOREPLICAS", "MOVED", "ASK"} {
		if isReply(err, code) {
			return true
		}
	}
	return false
}

// explain makes the error of a call the contract's. ErrFull says that nothing was
// changed, which is not known when the same call has been made before without an
// answer.
func explain(err error, unanswered bool) error {
	full := broker.ErrFull
	if unanswered {
		full = errors.New("no room, and no answer to an earlier try")
	}
	switch {
	case isReply(err, "OOM"):
		return fmt.Errorf("%w: Redis has reached its maxmemory: raise it or shorten the topics' retention", full)
	case isReply(err, "MISCONF"):
		return fmt.Errorf("%w: Redis cannot write to its disk: %s", full, detail(err))
	case isReply(err, "NOPERM"):
		return fmt.Errorf("%w: give the user the rights that docs/brokers/redis.md lists", err)
	}
	return err
}

// outage logs once that the server is gone, and once that it is back.
type outage struct {
	d     *driver
	mu    sync.Mutex
	since time.Time
}

func (o *outage) note(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() {
		o.since = time.Now()
		o.d.options.Logger.Warn("Redis is out of reach, trying again until it is back", "server", o.d.server, "err", plain(err))
	}
}

func (o *outage) over() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.since.IsZero() {
		o.d.options.Logger.Info("Redis is back", "server", o.d.server, "after", time.Since(o.since).Round(time.Millisecond))
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
