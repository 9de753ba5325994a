// SPDX-License-Identifier: Apache-2.0

// Package millrace runs a pipeline of machine-learning models on a broker.
//
// The one idea: a pipeline says which services read which topics with which
// models; [New] loads the models and makes the topics, [App.Run] runs the services
// and gathers until its context ends, and [App.Handler] is the pipeline over HTTP:
// records in and out, dead letters, metrics, health. A program brings models of
// its own in Go as [Models], which the pipeline's file names {go: NAME}. The
// broker is any that package brokers opens, or a driver's package.
//
// It is the only package that knows all parts, and decides nothing that the parts
// can decide. Package cli is all of this as a command line.
package millrace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/gateway"
	"github.com/millrace-ml/millrace/gather"
	"github.com/millrace-ml/millrace/internal/loop"
	"github.com/millrace-ml/millrace/lineage"
	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/pipeline"
	"github.com/millrace-ml/millrace/service"
)

// Options of an App. The zero value is a good default.
type Options struct {
	// Models are those that the program brings: {go: NAME} in the pipeline.
	Models Models

	// Announce, if set, is called by Serve with the URL that it serves, before
	// anything runs. With brokers.SetAddress the commands of other processes, such
	// as dead retry, find this one by its embedded broker's directory.
	Announce func(b *broker.Broker, url string) error

	// Access says who may do what over HTTP, by tokens. Nil: nobody is asked, and only
	// this machine is answered.
	Access *gateway.Access

	Only       []string      // services and gathers to run here; empty runs all
	NoDeadline bool          // gathers wait for every part
	Grace      time.Duration // for running batches at the end; 0 means 10 s
	Stall      time.Duration // lag without progress for so long is unhealthy; 0 means 1 min

	// Model, if set, makes every model instead of its kind: to measure what the
	// rest costs, and for tests.
	Model func(service string, m pipeline.Model) (model.Model, error)

	Registry *prometheus.Registry // takes the metrics that Handler shows; nil: one of the app's own
	Tracer   trace.Tracer         // nil: no traces
	Logger   *slog.Logger         // nil means slog.Default()
}

// config is what an App is made of.
type config struct {
	Options
	Pipeline *pipeline.Pipeline
	Broker   *broker.Broker
}

// newConfig checks what is given and fills in the defaults.
func newConfig(b *broker.Broker, p *pipeline.Pipeline, o Options) (config, error) {
	if b == nil {
		return config{}, errors.New("millrace: the broker is nil: open one first")
	}
	if p == nil {
		return config{}, errors.New("millrace: the pipeline is nil: load one first")
	}
	if o.Grace < 0 || o.Stall < 0 {
		return config{}, errors.New("millrace: Options.Grace and Options.Stall are 0 or more")
	}
	o.Grace = cmp.Or(o.Grace, 10*time.Second)
	o.Stall = cmp.Or(o.Stall, time.Minute)
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return config{Options: o, Pipeline: p, Broker: b}, nil
}

// App is a pipeline ready to run, once.
type App struct {
	c       config
	units   []*unit
	metrics *metrics
	ran     atomic.Bool // Run was called
	topics  atomic.Bool // are there
	started chan struct{}
	retrier *retrier
	gateway *gateway.Gateway
	watched []func() error // what Healthy asks beside the units
}

// unit is a service or a gather.
type unit struct {
	Status
	group string
	model model.Model                 // nil of a gather
	run   func(context.Context) error // joins the group, serves and leaves it; may be called again
	load  func() service.Load         // of a service
	gate  gate

	trouble loop.Trouble // of looking at its lag

	mu   sync.Mutex
	stat counters
}

// New loads the models, makes the topics and checks all that can be checked. If the
// broker is out of reach, Run makes the topics when it is there. The
// broker stays the caller's, who closes it after Run. What is wrong with the
// pipeline's models is an error of type [pipeline.Problems], with lines and columns.
func New(ctx context.Context, b *broker.Broker, p *pipeline.Pipeline, o Options) (*App, error) {
	c, err := newConfig(b, p, o)
	if err != nil {
		return nil, err
	}
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
	if err := a.firstLook(ctx); err != nil {
		return nil, err
	}
	// From here on nothing else can fail, or the registry would keep what belongs to
	// an app that does not exist.
	if err := a.metrics.register(c.Registry); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	if a.gateway, err = a.newGateway(); err != nil {
		a.metrics.unregister(c.Registry)
		return nil, err
	}
	return a, nil
}

// lookTime is how long one look at the broker may take.
const lookTime = 10 * time.Second

// firstLook makes the topics, if the broker is within reach; else that is left to
// Run. So what the broker refuses is known before anything runs.
func (a *App) firstLook(ctx context.Context) error {
	look, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	err := a.createTopics(look)
	if err != nil && (ctx.Err() != nil || broker.Lasting(err)) {
		return err
	}
	return nil
}

func (a *App) createTopics(ctx context.Context) error {
	if a.topics.Load() {
		return nil
	}
	if err := a.c.Broker.CreateTopics(ctx, a.c.Pipeline.AllTopics()...); err != nil {
		return fmt.Errorf("create the pipeline's topics: %w", err)
	}
	a.topics.Store(true)
	return nil
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
	config.Observe = func(o service.Observation) {
		u.service(o)
		a.metrics.service(name, o)
	}
	s, err := service.New(a.c.Broker, config)
	if err != nil {
		return err
	}
	a.retrier.loaded[name] = s
	u.run, u.load = s.Run, s.Load
	a.units = append(a.units, u)
	return nil
}

// service loads the model of a service and describes it.
func (c *config) service(ctx context.Context, name string) (service.Config, error) {
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
		Name:        name,
		Group:       lineage.GroupOf(p.Name, name),
		From:        s.From,
		To:          s.To,
		Dead:        lineage.DeadTopic(name),
		Sources:     p.Sources(),
		Model:       m,
		Batch:       broker.Want{Records: s.Batch.Max, Bytes: int(s.Batch.Bytes), Wait: s.Batch.Wait.Std()},
		Concurrency: s.Concurrency,
		Start:       start,
		Attempts:    s.Retry.Attempts,
		Backoff:     s.Retry.Backoff.Std(),
		Patience:    s.Retry.Patience.Std(),
		Timeout:     s.Timeout.Std(),
		Grace:       c.Grace,
		Logger:      c.Logger,
		Tracer:      c.Tracer,
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
	u := &unit{group: lineage.GroupOf(p.Name, name), Status: Status{Name: name, Gather: true, From: g.From, To: g.To}}
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
	join, err := gather.New(a.c.Broker, config)
	if err != nil {
		return err
	}
	u.run = join.Run
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
				upstream = append(upstream, lineage.DeadTopic(service))
			}
		}
		parts = append(parts, gather.Part{Name: part.Service, Topic: part.Topic, Upstream: upstream})
	}
	return parts
}

// Run serves until ctx ends, then drains. It waits for a broker that is out of
// reach, as it begins and later, and is not ready meanwhile. It returns nil after a
// clean drain.
func (a *App) Run(caller context.Context) error {
	if a.ran.Swap(true) {
		return errRan
	}
	return a.run(caller)
}

var errRan = errors.New("millrace: Run was called before: make another App")

func (a *App) run(caller context.Context) error {
	ctx, cancel := context.WithCancelCause(caller)
	defer cancel(nil)
	defer a.gateway.Close()
	defer context.AfterFunc(ctx, a.gateway.Drain)()
	if err := loop.Retry(ctx, a.c.Logger, "creating the pipeline's topics", a.createTopics); err != nil {
		if caller.Err() != nil {
			return nil
		}
		return err
	}
	ended := make(chan *unit, len(a.units))
	for _, u := range a.units {
		u.trouble = loop.Trouble{Logger: a.c.Logger.With("of", u.Name), What: "looking at the lag"}
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
	if caller.Err() != nil {
		return nil
	}
	return context.Cause(ctx) // what a service or gather ended with
}

// drain waits for the units to end. A model that does not return is left behind.
func (a *App) drain(ended <-chan *unit) error {
	running := map[*unit]bool{}
	for _, u := range a.units {
		running[u] = true
	}
	limit := time.NewTimer(2*min(a.c.Grace, math.MaxInt64/4) + time.Second)
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
