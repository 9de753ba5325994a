// SPDX-License-Identifier: Apache-2.0

// Package app wires a pipeline to a broker and runs it. It is the only package
// that knows all parts; it decides nothing that the parts can decide.
package millrace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/gather"
	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/pipeline"
	"github.com/millrace-ml/millrace/service"
)

// Config says what to run. Pipeline and Broker are required.
type Config struct {
	Pipeline *pipeline.Pipeline
	Broker   broker.Broker // stays the caller's, who closes it after Run

	Only       []string      // services and gathers to run here; empty runs all
	NoDeadline bool          // gathers wait for every part
	Grace      time.Duration // for running batches at the end; 0 means 10 s
	Stall      time.Duration // lag without progress for so long is unhealthy; 0 means 1 min

	// Models are those that the program brings: {go: NAME} in the pipeline.
	Models Models

	// Model, if set, makes the models instead of their kinds (for measuring).
	Model func(service string, m pipeline.Model) (model.Model, error)

	Registry prometheus.Registerer // nil: no metrics
	Tracer   trace.Tracer          // nil: no traces
	Logger   *slog.Logger          // nil discards
}

func (c *Config) setDefaults() {
	if c.Grace == 0 {
		c.Grace = 10 * time.Second
	}
	if c.Stall == 0 {
		c.Stall = time.Minute
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// App is a pipeline ready to run, once.
type App struct {
	c       Config
	units   []*unit
	metrics *metrics
	started chan struct{}
	retrier *retrier
}

// unit is a service or a gather.
type unit struct {
	Status
	group string
	model model.Model                 // nil of a gather
	run   func(context.Context) error // joins the group, serves and leaves it; may be called again
	gate  gate

	mu   sync.Mutex
	stat counters
}

// GroupOf is the consumer group of a service or gather.
func GroupOf(pipeline, name string) string { return pipeline + "." + name }

// New loads the models and creates the topics.
func New(ctx context.Context, c Config) (*App, error) {
	c.setDefaults()
	if err := c.resolve(); err != nil {
		return nil, err
	}
	a := &App{c: c, metrics: newMetrics(), started: make(chan struct{}), retrier: newRetrier(c)}
	if err := a.checkOnly(); err != nil {
		return nil, err
	}
	for _, name := range c.Pipeline.Order() {
		if a.wanted(name) {
			if err := a.addService(ctx, name); err != nil {
				return nil, err
			}
		}
	}
	for _, name := range c.Pipeline.Gathers() {
		if a.wanted(name) {
			if err := a.addGather(name); err != nil {
				return nil, err
			}
		}
	}
	if c.Registry != nil {
		if err := a.metrics.register(c.Registry); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	if err := c.Broker.CreateTopics(ctx, c.Pipeline.AllTopics()...); err != nil {
		return nil, fmt.Errorf("create the pipeline's topics: %w", err)
	}
	return a, nil
}

func (a *App) wanted(name string) bool {
	return len(a.c.Only) == 0 || slices.Contains(a.c.Only, name)
}

func (a *App) checkOnly() error {
	known := append(a.c.Pipeline.Order(), a.c.Pipeline.Gathers()...)
	for _, name := range a.c.Only {
		if !slices.Contains(known, name) {
			return fmt.Errorf("no service or gather is called %q: the pipeline has %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}

func (a *App) addService(ctx context.Context, name string) error {
	config, err := a.c.service(ctx, name)
	if err != nil {
		return err
	}
	u := &unit{group: config.Group, model: config.Model, Status: Status{Name: name, From: config.From, To: config.To, Model: config.Model.Name()}}
	a.retrier.loaded[name] = service.New(a.c.Broker, config)
	config.Observe = func(o service.Observation) {
		u.service(o)
		a.metrics.service(name, o)
	}
	u.run = func(ctx context.Context) error { return service.New(a.c.Broker, config).Run(ctx) }
	a.units = append(a.units, u)
	return nil
}

// service loads the model of a service and describes it.
func (c *Config) service(ctx context.Context, name string) (service.Config, error) {
	p, s := c.Pipeline, c.Pipeline.Services[name]
	m, err := c.model(ctx, name)
	if err != nil {
		return service.Config{}, err
	}
	start, err := pipeline.StartPosition(s.Start, time.Now())
	if err != nil {
		return service.Config{}, fmt.Errorf("service %s: %w", name, err)
	}
	return service.Config{
		Name:      name,
		Group:     GroupOf(p.Name, name),
		From:      s.From,
		To:        s.To,
		Dead:      pipeline.DeadTopic(name),
		Model:     m,
		Batch:     broker.Want{Records: s.Batch.Max, Bytes: int(s.Batch.Bytes), Wait: s.Batch.Wait.Std()},
		Consumers: min(s.Concurrency, c.partitions(s.From[0])), // more would be idle
		Start:     start,
		Attempts:  s.Retry.Attempts,
		Backoff:   s.Retry.Backoff.Std(),
		Timeout:   s.Timeout.Std(),
		Grace:     c.Grace,
		Logger:    c.Logger,
		Tracer:    c.Tracer,
	}, nil
}

func (a *App) addGather(name string) error {
	p, g := a.c.Pipeline, a.c.Pipeline.Gather[name]
	start, err := pipeline.StartPosition(g.Start, time.Now())
	if err != nil {
		return fmt.Errorf("gather %s: %w", name, err)
	}
	deadline := g.Deadline.Std()
	if a.c.NoDeadline {
		deadline = 0
	}
	u := &unit{group: GroupOf(p.Name, name), Status: Status{Name: name, Gather: true, From: g.From, To: g.To}}
	config := gather.Config{
		Name:     name,
		Group:    u.group,
		Of:       g.Of,
		Parts:    parts(p, name),
		To:       g.To,
		Deadline: deadline,
		Start:    start,
		Grace:    a.c.Grace,
		Observe: func(o gather.Observation) {
			u.gather(o)
			a.metrics.gather(name, o)
		},
		Logger: a.c.Logger,
		Tracer: a.c.Tracer,
	}
	if _, err := gather.New(a.c.Broker, config); err != nil {
		return err
	}
	u.run = func(ctx context.Context) error {
		join, err := gather.New(a.c.Broker, config)
		if err != nil {
			return err
		}
		return join.Run(ctx)
	}
	a.units = append(a.units, u)
	return nil
}

// parts are a gather's parts, each with the dead letters that rule it out. Its
// own service's failures it sees in the part's topic.
func parts(p *pipeline.Pipeline, name string) []gather.Part {
	var parts []gather.Part
	for _, part := range p.Parts(name) {
		var upstream []string
		for _, service := range part.Via {
			if service != part.Service {
				upstream = append(upstream, pipeline.DeadTopic(service))
			}
		}
		parts = append(parts, gather.Part{Name: part.Service, Topic: part.Topic, Upstream: upstream})
	}
	return parts
}

func (c *Config) partitions(topic string) int {
	for _, t := range c.Pipeline.AllTopics() {
		if t.Name == topic {
			return t.Partitions
		}
	}
	return 0
}

// Run serves until ctx ends, then drains. It returns nil after a clean drain.
func (a *App) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan *unit, len(a.units))
	for _, u := range a.units {
		go func() {
			if err := u.gate.run(ctx, u.run); err != nil {
				cancel(err)
			}
			ended <- u
		}()
	}
	var monitor sync.WaitGroup
	monitor.Go(func() { a.monitor(ctx) })
	close(a.started)

	<-ctx.Done()
	monitor.Wait()
	if err := a.drain(ended); err != nil {
		return err
	}
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// drain waits for the units to end. A model that does not return is left behind.
func (a *App) drain(ended <-chan *unit) error {
	running := map[*unit]bool{}
	for _, u := range a.units {
		running[u] = true
	}
	limit := time.NewTimer(2*a.c.Grace + time.Second)
	defer limit.Stop()
	for len(running) > 0 {
		select {
		case u := <-ended:
			delete(running, u)
		case <-limit.C:
			var names []string
			for u := range running {
				names = append(names, u.Name)
			}
			slices.Sort(names)
			return fmt.Errorf("%s did not stop: a model does not return although its time is over", strings.Join(names, ", "))
		}
	}
	return nil
}
