// SPDX-License-Identifier: Apache-2.0

// Package loop is what all members of consumer groups have in common: joining,
// draining, and settling however long the broker takes.
package loop

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/backoff"
)

// Member is a member of a group.
type Member struct {
	Broker *broker.Broker
	Group  string
	Start  broker.Position
	Topics []string
	Grace  time.Duration // for running batches once it is to stop
}

// Run joins the group and runs the body until ctx ends, and returns when the
// member has left the group. The body polls with ctx and works with work, which
// ends a grace period later. Run returns nil after a clean drain.
func (m Member) Run(ctx context.Context, body func(ctx, work context.Context, c *broker.Consumer) error) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
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
	c, err := m.Broker.Join(ctx, m.Group, m.Start, m.Topics...)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	err = body(ctx, work, c)
	// The group gets the partitions back at once, even when there is no time
	// left for anything else.
	leave, cancelLeave := context.WithTimeout(context.WithoutCancel(ctx), m.Grace)
	defer cancelLeave()
	if e := c.Close(leave); err == nil && !errors.Is(e, broker.ErrClosed) {
		err = e
	}
	return err
}

// Settling is a settle that is tried until it took place or cannot.
type Settling struct {
	// Settle is [broker.Batch.Settle] or [broker.Consumer.Settle].
	Settle func(ctx context.Context, results ...broker.Record) error
	// Results makes what is published. It is called again after Shrink.
	Results func() []broker.Record
	// Shrink hears that the broker refuses results as too large
	// ([broker.ErrTooLarge]), and reports whether another try with fewer can help;
	// nil if none can.
	Shrink func(error) bool
	Logger *slog.Logger // nil means slog.Default()
}

// Run returns true when the settle took place, false when the batch belongs to
// another member, and an error when work ends or trying again cannot help.
func (s Settling) Run(work context.Context) (bool, error) {
	if s.Logger == nil {
		s.Logger = slog.Default()
	}
	pause := backoff.New(50*time.Millisecond, backoff.Longest)
	results := s.Results()
	for {
		err := s.Settle(work, results...)
		switch {
		case err == nil:
			return true, nil
		case work.Err() != nil:
			return false, work.Err()
		case errors.Is(err, broker.ErrFenced):
			s.Logger.Info("batch left to another member of the group")
			return false, nil
		case broker.Lasting(err):
			return false, err
		case errors.Is(err, broker.ErrTooLarge):
			if s.Shrink == nil || !s.Shrink(err) {
				return false, err // which lies in the results, and will be the same
			}
			results = s.Results()
		default:
			s.Logger.Warn("settle failed, trying again", "error", err)
			_ = pause.Wait(work) // the loop ends with work
		}
	}
}
