// SPDX-License-Identifier: Apache-2.0

// Package loop is what all members of consumer groups have in common: joining,
// draining, and settling however long the broker takes.
package loop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/backoff"
)

// Members are the members of a group in this process.
type Members struct {
	Broker broker.Broker
	Group  string
	Start  broker.Position
	Topics []string
	Count  int
	Grace  time.Duration // for running batches once they are to stop
	Logger *slog.Logger
}

// Run runs the body once for each member until ctx ends, and returns when all
// have left the group. The body polls with ctx and works with work, which ends
// a grace period later. Run returns nil after a clean drain.
func (m Members) Run(ctx context.Context, body func(ctx, work context.Context, c broker.Consumer) error) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	members, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, func() {
		t := time.NewTimer(m.Grace)
		defer t.Stop()
		select {
		case <-t.C:
			cancel()
		case <-work.Done():
		}
	})
	defer stop()
	for range m.Count {
		members.Go(func() error { return m.one(ctx, work, body) })
	}
	return members.Wait()
}

func (m Members) one(ctx, work context.Context, body func(ctx, work context.Context, c broker.Consumer) error) error {
	c, err := m.Broker.Join(ctx, m.Group, m.Start, m.Topics...)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("join group %s: %w", m.Group, err)
	}
	err = body(ctx, work, c)
	// The group gets the partitions back at once, even when there is no time
	// left for anything else.
	leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.Grace)
	defer cancel()
	if e := c.Close(leave); err == nil && !errors.Is(e, broker.ErrClosed) {
		err = e
	}
	return err
}

// Settle settles results with the consumer until it took place, the batch
// belongs to another member (false), or work ends or the broker is closed (an
// error). It makes the results anew for each try; tooLarge, if not nil, is called
// with the one that the broker refuses and reports whether another try can help.
func Settle(work context.Context, c broker.Consumer, log *slog.Logger, results func() []broker.Record, tooLarge func(*broker.TooLargeError) bool) (bool, error) {
	pause := backoff.New(50*time.Millisecond, backoff.Longest)
	for {
		err := c.Settle(work, results()...)
		var large *broker.TooLargeError
		switch {
		case err == nil:
			return true, nil
		case work.Err() != nil:
			return false, work.Err()
		case errors.Is(err, broker.ErrFenced):
			log.Info("batch left to another member of the group")
			return false, nil
		case errors.Is(err, broker.ErrClosed):
			return false, err
		case tooLarge != nil && errors.As(err, &large) && tooLarge(large):
		default:
			log.Warn("settle failed, trying again", "error", err)
			if err := pause.Wait(work); err != nil {
				return false, err
			}
		}
	}
}
