// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/millrace-ml/millrace"
	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/brokers"
	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/model/builtin"
	"github.com/millrace-ml/millrace/pipeline"
)

// GraphResult is how fast a whole pipeline answers tickets, every hop fsynced.
type GraphResult struct {
	Tickets    int64
	PerSecond  float64       // tickets answered by the gather, from the first publish to the last answer
	Incomplete int64         // answers with a part missing or failed
	InModels   float64       // share of the process's CPU time spent in the models; -1 when not profiled
	Hot        []Hot         // where the CPU time went, largest first
	Elapsed    time.Duration // of the measured part
}

// GraphOptions say what to run. Pipeline has one gather.
type GraphOptions struct {
	Dir      string // of the embedded broker's data
	Broker   string // URL of another broker, whose topics get names of their own; empty means embedded
	Pipeline *pipeline.Pipeline
	Tickets  [][]byte      // values to publish, over and over
	Identity bool          // models that answer with their input, to see what the rest costs
	Batch    int           // records of a batch; 0 as the pipeline says
	For      time.Duration // how long to publish
}

// Bounds of the tickets that are published but not answered. With real models
// they are answered well within the gather's deadline.
const (
	flightIdentity = 1 << 16
	flightModels   = 1 << 13
)

// publishing is how many tickets are published at once.
const publishing = 2048

// Graph runs the pipeline for about the given time.
func Graph(ctx context.Context, o GraphOptions) (GraphResult, error) {
	p := withBatch(o.Pipeline, o.Batch)
	if o.Broker != "" {
		p = apart(p, "bench."+strings.ToLower(rand.Text()[:8])+".")
	}
	b, err := brokers.Open(ctx, o.Broker, brokers.Options{DataDir: filepath.Join(o.Dir, "graph"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return GraphResult{}, fmt.Errorf("bench graph: %w", err)
	}
	defer b.Close()
	a, err := millrace.New(ctx, b, p, millrace.Options{Model: models(p, o.Identity)})
	if err != nil {
		return GraphResult{}, fmt.Errorf("bench graph: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()

	var result GraphResult
	profile, err := startProfile()
	if err == nil {
		result, err = flow(ctx, a, b, p.Sources()[0], o)
		if e := profile.stop(&result); err == nil {
			err = e
		}
	}
	cancel()
	if e := <-ended; err == nil {
		err = e
	}
	if err != nil {
		return GraphResult{}, fmt.Errorf("bench graph: %w", err)
	}
	return result, nil
}

// flow publishes for the time and waits for the last answer.
func flow(ctx context.Context, a *millrace.App, b *broker.Broker, topic string, o GraphOptions) (GraphResult, error) {
	flight := int64(flightModels)
	if o.Identity {
		flight = flightIdentity
	}
	records := make([]broker.Record, publishing)
	begun, published := time.Now(), int64(0)
	for next := 0; time.Since(begun) < o.For; {
		for i := range records {
			records[i] = broker.Record{
				Topic: topic,
				Key:   fmt.Appendf(nil, "customer-%d", (published+int64(i))%997),
				Value: o.Tickets[next%len(o.Tickets)],
			}
			next++
		}
		if _, err := b.Publish(ctx, records...); err != nil {
			return GraphResult{}, err
		}
		published += publishing
		if err := answered(ctx, a, published-flight); err != nil {
			return GraphResult{}, err
		}
	}
	if err := answered(ctx, a, published); err != nil {
		return GraphResult{}, err
	}
	took := time.Since(begun)
	all := a.Status()
	return GraphResult{
		Tickets: published, Elapsed: took, PerSecond: float64(published) / took.Seconds(),
		Incomplete: all[len(all)-1].Failed,
	}, nil
}

// answered waits until the gather, which is the last unit, has given n answers.
func answered(ctx context.Context, a *millrace.App, n int64) error {
	for {
		all := a.Status()
		if desk := all[len(all)-1]; desk.Values+desk.Failed >= n {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// apart copies a pipeline with a prefix before the names of its topics, services
// and groups, so that it shares nothing with others on the broker.
func apart(p *pipeline.Pipeline, prefix string) *pipeline.Pipeline {
	copied := *p
	copied.Name = prefix + p.Name
	copied.Topics, copied.Services, copied.Gather = map[string]pipeline.Topic{}, map[string]pipeline.Service{}, map[string]pipeline.Gather{}
	prefixed := func(names []string) (list []string) {
		for _, name := range names {
			list = append(list, prefix+name)
		}
		return list
	}
	for name, t := range p.Topics {
		copied.Topics[prefix+name] = t
	}
	for name, s := range p.Services {
		s.From, s.To = prefixed(s.From), prefix+s.To
		copied.Services[prefix+name] = s
	}
	for name, g := range p.Gather {
		g.Of, g.From, g.To = prefix+g.Of, prefixed(g.From), prefix+g.To
		copied.Gather[prefix+name] = g
	}
	return &copied
}

// withBatch copies a pipeline with another batch size.
func withBatch(p *pipeline.Pipeline, n int) *pipeline.Pipeline {
	if n == 0 {
		return p
	}
	copied := *p
	copied.Services = map[string]pipeline.Service{}
	for name, s := range p.Services {
		s.Batch.Auto, s.Batch.Max = false, n
		copied.Services[name] = s
	}
	return &copied
}

// models makes the pipeline's models, or identities, each labelled for the profile.
func models(p *pipeline.Pipeline, identity bool) func(string, pipeline.Model) (model.Model, error) {
	return func(service string, _ pipeline.Model) (made model.Model, err error) {
		if identity {
			made, err = builtin.New(context.Background(), "identity", nil, "")
		} else {
			made, err = millrace.Models(nil).Make(context.Background(), p, service, nil)
		}
		if err != nil {
			return nil, err
		}
		return labelled{made}, nil
	}
}
