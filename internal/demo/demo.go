// SPDX-License-Identifier: Apache-2.0

// Package demo plays the support-desk example: its pipeline with its real
// models on an embedded broker in a temporary directory, and customers who
// write its sample messages.
//
// The one idea: the demo is a user of Millrace like any other. It publishes to
// the pipeline's source, reads the gather's topic and asks how the services
// are; nothing is acted out. Who shows it (package cli) asks for its [State] as
// often as it likes, or is called with each answer.
package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace-ml/millrace"
	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/brokers"
	supportdesk "github.com/millrace-ml/millrace/examples/support-desk"
	"github.com/millrace-ml/millrace/lineage"
	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/pipeline"
)

// Config says how to play. The zero value is a good default.
type Config struct {
	Rate float64 // messages a second, on average; 0 means 2
	Once bool    // end when every sample was answered once

	// Answered is called with each answer in the order in which they are read,
	// by one goroutine. An error ends the demo. It may be nil.
	Answered func(Answer) error

	Logger *slog.Logger // nil means slog.Default()

	// For tests, on machines that are busy: no deadline, and other models.
	patient bool
	model   func(service string, m pipeline.Model) (model.Model, error)
}

// Demo is made by New, run once, and closed.
type Demo struct {
	c        Config
	dir      string
	pipeline *pipeline.Pipeline
	broker   *broker.Broker
	app      *millrace.App
	source   string // the topic that customers write to
	gather   string
	deadline time.Duration
	samples  []sample
	bursts   chan int
	progress chan struct{} // an answer was read

	mu    sync.Mutex
	book  book
	meter meter
	held  bool
}

// New writes the example to a temporary directory, opens a broker there and
// loads the models.
func New(ctx context.Context, c Config) (_ *Demo, err error) {
	if c.Rate == 0 {
		c.Rate = 2
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	d := &Demo{c: c, bursts: make(chan int, 1), progress: make(chan struct{}, 1)}
	if d.dir, err = os.MkdirTemp("", "millrace-demo-"); err != nil {
		return nil, fmt.Errorf("make a temporary directory for the demo (TMPDIR says where): %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if err := d.load(); err != nil {
		return nil, fmt.Errorf("load the support-desk example: %w", err)
	}
	if d.broker, err = brokers.Open(ctx, "embedded", brokers.Options{DataDir: filepath.Join(d.dir, "data"), Logger: c.Logger}); err != nil {
		return nil, err
	}
	if d.app, err = millrace.New(ctx, d.broker, d.pipeline, millrace.Options{
		NoDeadline: c.patient, Model: c.model, Logger: c.Logger,
	}); err != nil {
		return nil, err
	}
	d.book = book{sent: map[string]time.Time{}, begun: time.Now()}
	d.meter = newMeter(d.app.Status())
	return d, nil
}

func (d *Demo) load() error {
	file, err := supportdesk.Write(d.dir)
	if err != nil {
		return err
	}
	if d.pipeline, err = pipeline.Load(file); err != nil {
		return err
	}
	sources, gathers := d.pipeline.Sources(), d.pipeline.Gathers()
	if len(sources) != 1 || len(gathers) != 1 {
		return errors.New("the demo wants one source topic and one gather")
	}
	d.source, d.gather = sources[0], gathers[0]
	d.deadline = d.pipeline.Gather[d.gather].Deadline.Std()
	d.samples, err = readSamples(supportdesk.Tickets)
	return err
}

// Close closes the broker and removes the temporary directory. It is called
// after Run has returned.
func (d *Demo) Close() error {
	var err error
	if d.broker != nil {
		err = d.broker.Close()
	}
	if e := os.RemoveAll(d.dir); e != nil {
		err = errors.Join(err, fmt.Errorf("remove the demo's directory: %w", e))
	}
	return err
}

// Run plays until ctx ends or, with Once, until the samples are at an end. Then
// it waits for the answers to what was published, and returns nil when the
// services have drained.
func (d *Demo) Run(ctx context.Context) error {
	// The services outlive the customers, whom they still owe answers.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	parts, life := errgroup.WithContext(life)
	parts.Go(func() error { return d.app.Run(life) })
	parts.Go(func() error { return d.follow(life) })
	parts.Go(func() error { return d.watch(life) })
	parts.Go(func() error {
		defer end()
		writing, stop := context.WithCancel(ctx)
		defer stop()
		defer context.AfterFunc(life, stop)()
		if err := d.write(writing); err != nil {
			return err
		}
		return d.await(life)
	})
	err := parts.Wait()
	d.measure(context.WithoutCancel(ctx)) // the last figures
	return err
}

// await waits for the answers to what was published.
func (d *Demo) await(ctx context.Context) error {
	patience := d.deadline + 25*time.Second // since the last one
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		open := d.open()
		if open == 0 {
			return nil
		}
		select {
		case <-d.progress:
			limit.Reset(patience)
		case <-limit.C:
			return fmt.Errorf("%d messages were not answered within %v", open, patience)
		case <-ctx.Done():
			return nil
		}
	}
}

// follow reads the gather's topic.
func (d *Demo) follow(ctx context.Context) error {
	to := d.pipeline.Gather[d.gather].To
	for r, err := range broker.Records(ctx, d.broker, to, broker.AllPartitions, broker.Start(), broker.Forever()) {
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		a, err := parseAnswer(r)
		if err != nil {
			return err
		}
		d.mu.Lock()
		d.book.enter(&a)
		d.mu.Unlock()
		if d.c.Answered != nil {
			if err := d.c.Answered(a); err != nil {
				return err
			}
		}
		select {
		case d.progress <- struct{}{}:
		default:
		}
	}
	return nil
}

// watch measures the services ten times a second.
func (d *Demo) watch(ctx context.Context) error {
	tick := time.NewTicker(sampling)
	defer tick.Stop()
	for {
		d.measure(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (d *Demo) measure(ctx context.Context) {
	status := d.app.Status()
	for i := range status {
		// The app looks at the lag once a second, which misses a burst.
		lags, err := d.broker.Lag(ctx, lineage.GroupOf(d.pipeline.Name, status[i].Name))
		if err != nil {
			continue // the app warns of it
		}
		status[i].Lag = 0
		for _, l := range lags {
			status[i].Lag += l.Lag
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.meter.add(time.Now(), status)
}
