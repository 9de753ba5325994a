// SPDX-License-Identifier: Apache-2.0

// Package service runs one model as a service on a broker.
//
// The one idea: the loop Poll, predict, Settle. A batch is what has accumulated
// while the model was busy, so nothing waits at low load and batches are full
// under load. Every input is answered in the service's topic exactly once and
// in order: with the model's values, or with a marker that says that there is
// none because the model failed on it or chose not to answer. Markers that come
// in are passed on without predicting, so those downstream never wait for what
// cannot come.
package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/loop"
	"github.com/millrace-ml/millrace/model"
)

// Config describes a service. Name, Group, From, To, Dead and Model are
// required; the zero value of the rest is a good default.
type Config struct {
	Name  string // its name, the last segment of its records' ids
	Group string // its consumer group
	From  []string
	To    string // results stay in the partition of their input: it has as many as From
	Dead  string // topic of its dead letters, with as many partitions too
	Model model.Model

	Batch     broker.Want     // its records, bytes and wait
	Consumers int             // members of the group in this process; 0 means 1
	Start     broker.Position // where a new group begins; unset means the beginning

	Attempts int           // predictions of an item before it is a dead letter; 0 means 3
	Backoff  time.Duration // before the second attempt, then doubled; 0 means 100 ms
	Timeout  time.Duration // of one call of the model; 0 means 30 s

	// Grace is how long a batch may go on after Run was told to stop, before it
	// is given back to the broker; 0 means 10 s.
	Grace time.Duration

	MaxRecordBytes int // a larger result is a failed item; 0 means broker.DefaultMaxRecordBytes

	Observe func(Observation) // called after each settled batch, by several goroutines; may be nil
	Logger  *slog.Logger      // nil discards
	Tracer  trace.Tracer      // nil does not trace
}

// Observation is what became of a batch.
type Observation struct {
	Records  int // polled
	Values   int // published
	Failed   int // items out of tries, each a dead letter
	Skipped  int // items the model did not answer
	Passed   int // markers passed on
	Retries  int // model calls beyond the first
	Bytes    int // of the polled records
	Predict  time.Duration
	Settle   time.Duration
	Queueing time.Duration // from the oldest record's append to its poll
}

// Service is a service. It is made by New and run once.
type Service struct {
	c     Config
	b     broker.Broker
	model []byte // its name, as results carry it
}

// New makes a service on a broker whose topics exist.
func New(b broker.Broker, c Config) *Service {
	if c.Consumers == 0 {
		c.Consumers = 1
	}
	if c.Batch.Records == 0 {
		c.Batch.Records = 256
	}
	if c.Start.IsZero() {
		c.Start = broker.Start()
	}
	if c.Attempts == 0 {
		c.Attempts = 3
	}
	if c.Backoff == 0 {
		c.Backoff = 100 * time.Millisecond
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	if c.Grace == 0 {
		c.Grace = 10 * time.Second
	}
	if c.MaxRecordBytes == 0 {
		c.MaxRecordBytes = broker.DefaultMaxRecordBytes
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = c.Logger.With("service", c.Name)
	return &Service{c: c, b: b, model: []byte(c.Model.Name())}
}

// Run serves until ctx ends, then lets the running batches settle within the
// grace period, gives back the rest and leaves the group. It returns nil after
// a clean drain, and an error when the broker is closed or refuses the group.
func (s *Service) Run(ctx context.Context) error {
	err := loop.Members{
		Broker: s.b, Group: s.c.Group, Start: s.c.Start, Topics: s.c.From,
		Count: s.c.Consumers, Grace: s.c.Grace, Logger: s.c.Logger,
	}.Run(ctx, s.member)
	if err != nil {
		return fmt.Errorf("service %s: %w", s.c.Name, err)
	}
	return nil
}

// member is one consumer's life. It polls until ctx ends and works until work ends.
func (s *Service) member(ctx, work context.Context, consumer broker.Consumer) error {
	batch := newBatch(s)
	pause := loop.NewPause(s.c.Backoff)
	for ctx.Err() == nil {
		records, err := consumer.Poll(ctx, s.c.Batch)
		switch {
		case ctx.Err() != nil:
			consumer.Rewind()
			return nil
		case errors.Is(err, broker.ErrClosed):
			return err
		case err != nil:
			s.c.Logger.Warn("poll failed, trying again", "error", err)
			pause.Wait(ctx)
			continue
		}
		pause.Reset()
		if err := s.answer(work, consumer, batch, records); err != nil {
			if work.Err() != nil {
				consumer.Rewind()
				s.c.Logger.Warn("batch given back: the grace period is over", "records", len(records))
				return nil
			}
			return err
		}
	}
	return nil
}

// answer predicts on a batch and settles it. It returns an error when work
// ends or the broker is closed.
func (s *Service) answer(work context.Context, consumer broker.Consumer, batch *batch, records []broker.Record) error {
	batch.begin(records)
	if err := batch.predict(work); err != nil {
		return err
	}
	began := time.Now()
	settled, err := loop.Settle(work, consumer, s.c.Logger, batch.results, batch.tooLarge)
	if err != nil || !settled {
		return err
	}
	batch.seen.Settle = time.Since(began)
	batch.end()
	if s.c.Observe != nil {
		s.c.Observe(batch.seen)
	}
	return nil
}
