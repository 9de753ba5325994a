// SPDX-License-Identifier: Apache-2.0

// Package service runs one model as a service on a broker.
//
// The one idea: the loop Poll, predict, Settle. A batch is what has accumulated
// while the model was busy, so nothing waits at low load and batches are full
// under load. The next batch is predicted while the last ones settle, and with
// more than one call of the model in flight, while earlier ones are still being
// predicted; they settle in the order in which they were polled, partition by
// partition, so that a key's order is kept whatever takes how long. Every input is
// answered in the service's topic exactly once: with the model's values, or with a
// marker that says that there is none because the model failed on it or chose not
// to answer. Markers that come in are passed on without predicting, so those
// downstream never wait for what cannot come.
package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
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

	// Sources are those of From that no service or gather writes. Headers of
	// Millrace's own (lineage.Reserved) that their records have are left out: a new
	// lineage begins with each.
	Sources []string

	Model model.Model

	Batch broker.Want     // its records, bytes and wait
	Start broker.Position // where a new group begins; unset means the beginning

	// Concurrency is how many calls of the model are in flight at most; 0 means 1.
	// Batches that are predicted wait for those before them to settle: up to eight
	// times as many are open, with up to 64 MiB of records.
	Concurrency int

	// Attempts is how often an item fails alone, or with an error of its own, before
	// it is a dead letter, and how often a batch that fails as a whole is tried before
	// it is halved; 0 means 3. An item fails twice at least unless the model panics.
	Attempts int
	Backoff  time.Duration // before the second attempt, then doubled; 0 means 100 ms

	// Timeout is how long one call of the model may take; 0 means 30 s. One that has
	// not returned by then is abandoned: it has failed, and what it answers is dropped.
	// With twice Concurrency abandoned calls that run on, and with two at least, no
	// other one is begun until one of them returns.
	Timeout time.Duration

	// Patience is how long the service waits for a model that answers nothing before
	// what it does not answer becomes dead letters; 0 means for ever.
	Patience time.Duration

	// Grace is how long a batch may go on after Run is to stop, before it
	// is given back to the broker; 0 means 10 s.
	Grace time.Duration

	Observe func(Observation) // called after each settled batch, by several goroutines; may be nil
	Logger  *slog.Logger      // nil means slog.Default()
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
	Settle   time.Duration // from the prediction on, until the results were durable
	Backlog  int64         // records that waited behind the batch when it was polled
	Queueing time.Duration // from the oldest record's append to its poll
}

// Service is a service. It may be run again when Run has
// returned, and retry letters meanwhile.
type Service struct {
	c     Config
	b     *broker.Broker
	model []byte // its name, as results carry it
	load  load

	caller   *caller
	answered atomic.Int64 // how much the model has answered, to anybody
	known    known
	absence  absence
}

// New makes a service. Its topics must exist when it runs, or retries a letter.
func New(b *broker.Broker, c Config) (*Service, error) {
	if err := c.check(b); err != nil {
		return nil, fmt.Errorf("service %q: %w", c.Name, err)
	}
	c.Batch.Records = cmp.Or(c.Batch.Records, 256)
	c.Concurrency = cmp.Or(c.Concurrency, 1)
	c.Attempts = cmp.Or(c.Attempts, 3)
	c.Backoff = cmp.Or(c.Backoff, 100*time.Millisecond)
	c.Timeout = cmp.Or(c.Timeout, 30*time.Second)
	c.Grace = cmp.Or(c.Grace, 10*time.Second)
	if c.Start.IsZero() {
		c.Start = broker.Start()
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Logger = c.Logger.With("service", c.Name)
	return &Service{
		c: c, b: b, model: []byte(c.Model.Name()),
		caller:  &caller{model: c.Model, timeout: c.Timeout, most: max(2, 2*c.Concurrency), log: c.Logger},
		absence: absence{log: c.Logger},
	}, nil
}

// maxConcurrency is the most calls in flight, as in a pipeline file.
const maxConcurrency = 4096

// check finds what is missing in a configuration or cannot be.
func (c *Config) check(b *broker.Broker) error {
	if b == nil {
		return errors.New("it has no broker")
	}
	if limit := b.Options().MaxRecordBytes; limit < minRecord {
		return fmt.Errorf("its broker takes records of at most %d bytes: a dead letter needs room for %d", limit, minRecord)
	}
	if err := model.Check(c.Model); err != nil {
		return fmt.Errorf("Config.Model: %w", err)
	}
	for _, field := range []struct{ name, value string }{
		{"Name", c.Name}, {"Group", c.Group}, {"To", c.To}, {"Dead", c.Dead}, {"From", strings.Join(c.From, "")},
	} {
		if field.value == "" {
			return fmt.Errorf("Config.%s is empty", field.name)
		}
	}
	if err := broker.ValidName(c.Name); err != nil { // which is in every id
		return fmt.Errorf("Config.Name: %w", err)
	}
	if err := broker.ValidName(c.Group); err != nil {
		return fmt.Errorf("Config.Group: %w", err)
	}
	if c.Start.IsForever() {
		return fmt.Errorf("Config.Start is %q: a group cannot begin there", c.Start)
	}
	if slices.Contains(c.From, "") {
		return errors.New("Config.From has a topic without a name")
	}
	if c.To == c.Dead || slices.Contains(c.From, c.To) || slices.Contains(c.From, c.Dead) {
		return fmt.Errorf("it reads %s, writes %s and its dead letters go to %s: these must be different topics", strings.Join(c.From, ", "), c.To, c.Dead)
	}
	for name, n := range map[string]int64{
		"Concurrency": int64(c.Concurrency), "Attempts": int64(c.Attempts), "Backoff": int64(c.Backoff), "Timeout": int64(c.Timeout), "Patience": int64(c.Patience),
		"Grace": int64(c.Grace), "Batch.Records": int64(c.Batch.Records), "Batch.Bytes": int64(c.Batch.Bytes), "Batch.Wait": int64(c.Batch.Wait),
	} {
		if n < 0 {
			return fmt.Errorf("Config.%s is negative", name)
		}
	}
	if c.Concurrency > maxConcurrency {
		return fmt.Errorf("Config.Concurrency is %d, give it at most %d", c.Concurrency, maxConcurrency)
	}
	return nil
}

// Run serves until ctx ends, then lets the running batches settle within the
// grace period, gives back the rest and leaves the group. A broker that is out of
// reach is waited for, as it begins and later. It returns nil after
// a clean drain, and an error when the broker is closed or when trying again
// cannot help: a topic is missing, or the broker refuses.
func (s *Service) Run(ctx context.Context) error {
	member := loop.Member{
		Broker: s.b, Group: s.c.Group, Start: s.c.Start, Topics: s.c.From, Grace: s.c.Grace,
		Logger: s.c.Logger, Fits: s.fits,
	}
	err := member.Run(ctx, func(ctx, work context.Context, c *broker.Consumer) error {
		return newFlow(s, c).run(ctx, work)
	})
	if err != nil {
		return fmt.Errorf("service %s: %w", s.c.Name, err)
	}
	return nil
}

// fits checks that what is made of a record can stand in the record's partition,
// where a join finds it whatever the key.
func (s *Service) fits(ctx context.Context) error {
	in, err := s.b.Partitions(ctx, s.c.From[0])
	if err != nil {
		return err
	}
	for topic, what := range map[string]string{s.c.To: "results", s.c.Dead: "dead letters"} {
		n, err := s.b.Partitions(ctx, topic)
		if err != nil {
			return err
		}
		if n < in {
			return fmt.Errorf("%w: topic %s has %d partitions and %s has %d: %s stay in the partition of their record, give %s as many",
				broker.ErrTopicConflict, topic, n, s.c.From[0], in, what, topic)
		}
	}
	return nil
}

// Load is what a service has under way, and what keeps it from its work.
type Load struct {
	Calls   int // of the model, within their time
	Open    int // records polled and not settled
	Waiting int // of these, predicted: they settle, or wait for earlier ones that do not yet

	Abandoned int   // calls of the model past their time that have not returned
	Late      int64 // answers to such calls, which were dropped, since New
	Stuck     bool  // so many are abandoned that no other call is begun

	Away time.Time // since when it waits for its model; zero: it does not
	Why  string    // the model's last error then
}

// Load tells what is under way now.
func (s *Service) Load() Load {
	l := Load{Open: int(s.load.open.Load()), Waiting: int(s.load.waiting.Load())}
	l.Calls, l.Abandoned, l.Late, l.Stuck = s.caller.load()
	l.Away, l.Why = s.absence.state()
	return l
}

type load struct{ open, waiting atomic.Int64 }
