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
	Logger *slog.Logger  // nil means slog.Default()

	// Fits checks that what the member makes can stand in its topics; nil checks
	// nothing. It is called until it succeeds, unless its error is a
	// [broker.Lasting] one.
	Fits func(context.Context) error
}

// Run joins the group and runs the body until ctx ends, and returns when the
// member has left the group. The body polls with ctx and works with work, which
// ends a grace period later. A broker that is out of reach is waited for; a member
// that is of no use any more ([broker.ErrRejoin]) is followed by another one. Run
// returns nil after a clean drain.
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
	for {
		err := m.once(ctx, work, body)
		if !errors.Is(err, broker.ErrRejoin) || ctx.Err() != nil {
			return err
		}
		orDefault(m.Logger).Warn("joining the group again", "group", m.Group, "because", err)
	}
}

// once is one membership.
func (m Member) once(ctx, work context.Context, body func(ctx, work context.Context, c *broker.Consumer) error) error {
	c, err := m.join(ctx)
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

// join waits until the topics can be looked at and the group be joined.
func (m Member) join(ctx context.Context) (c *broker.Consumer, err error) {
	if err := broker.ValidName(m.Group); err != nil { // trying again would not help
		return nil, fmt.Errorf("join group: %w", err)
	}
	if m.Start.IsForever() {
		return nil, fmt.Errorf("join group %s at %q: a group cannot begin there", m.Group, m.Start)
	}
	if m.Fits != nil {
		if err := Retry(ctx, m.Logger, "looking at the topics", m.Fits); err != nil {
			return nil, err
		}
	}
	err = Retry(ctx, m.Logger, "joining the group", func(ctx context.Context) (err error) {
		c, err = m.Broker.Join(ctx, m.Group, m.Start, m.Topics...)
		return err
	})
	return c, err
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
	s.Logger = orDefault(s.Logger)
	pause, trouble := backoff.New(50*time.Millisecond, backoff.Longest), Trouble{Logger: s.Logger, What: "settle"}
	results := s.Results()
	for {
		err := s.Settle(work, results...)
		switch {
		case err == nil:
			trouble.Over()
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
			trouble.Note(err)
			_ = pause.Wait(work) // the loop ends with work
		}
	}
}
