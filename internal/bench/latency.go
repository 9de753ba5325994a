// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace-ml/millrace"
	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/pipeline"
)

// LatencyResult is what a hop adds: from a record's append to the append of what
// was made of it, both durable, with a model that takes no time.
type LatencyResult struct {
	Rate   float64 // tickets a second, as published
	Hops   []Hop
	Append Quantiles // one publish of one record, fsynced: the limit of a hop
}

// Hop is a service, or a gather seen from its source.
type Hop struct {
	From, To string
	Quantiles
}

// Quantiles of a latency.
type Quantiles struct{ P50, P99 time.Duration }

// publishers publish one ticket at a time each, as separate clients do.
const publishers = 32

// Latency runs the pipeline with identity models at a steady rate.
func Latency(ctx context.Context, dir string, p *pipeline.Pipeline, rate int, d time.Duration) (LatencyResult, error) {
	b, err := embedded.Open(filepath.Join(dir, "latency"), embedded.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return LatencyResult{}, fmt.Errorf("bench latency: %w", err)
	}
	defer b.Close()
	a, err := millrace.New(ctx, b, p, millrace.Options{Model: models(p, true)})
	if err != nil {
		return LatencyResult{}, fmt.Errorf("bench latency: %w", err)
	}
	running, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- a.Run(running) }()
	result, err := steady(ctx, a, b, p.Sources()[0], rate, d)
	cancel()
	if e := <-ended; err == nil {
		err = e
	}
	if err == nil {
		result.Hops, err = hops(ctx, b, p)
	}
	if err != nil {
		return LatencyResult{}, fmt.Errorf("bench latency: %w", err)
	}
	return result, nil
}

// steady publishes at the rate and waits for the last answer.
func steady(ctx context.Context, a *millrace.App, b *broker.Broker, topic string, rate int, d time.Duration) (LatencyResult, error) {
	took := make([][]time.Duration, publishers)
	clients, ctx := errgroup.WithContext(ctx)
	begun := time.Now()
	each := time.Duration(publishers) * time.Second / time.Duration(rate)
	for n := range publishers {
		clients.Go(func() error {
			for i := 0; ; i++ {
				at := begun.Add(each*time.Duration(i) + each*time.Duration(n)/publishers)
				if at.Sub(begun) >= d {
					return nil
				}
				time.Sleep(time.Until(at))
				before := time.Now()
				_, err := b.Publish(ctx, broker.Record{Topic: topic, Key: fmt.Appendf(nil, "customer-%d-%d", n, i%31), Value: []byte(`{"id":"T-1","text":"My robot vacuum does not find its dock any more since the last update. What can I do?"}`)})
				if err != nil {
					return err
				}
				took[n] = append(took[n], time.Since(before))
			}
		})
	}
	if err := clients.Wait(); err != nil {
		return LatencyResult{}, err
	}
	all := slices.Concat(took...)
	if err := answered(context.WithoutCancel(ctx), a, int64(len(all))); err != nil {
		return LatencyResult{}, err
	}
	return LatencyResult{Rate: float64(len(all)) / d.Seconds(), Append: quantiles(all)}, nil
}

// hops compares the append times of what a topic holds with those of what it was
// made of. Each record was answered once and in order, so record i of a partition
// answers record i of the topic before.
func hops(ctx context.Context, b *broker.Broker, p *pipeline.Pipeline) ([]Hop, error) {
	var all []Hop
	add := func(from, to string) error {
		before, err := times(ctx, b, from)
		if err != nil {
			return err
		}
		after, err := times(ctx, b, to)
		if err != nil {
			return err
		}
		var took []time.Duration
		for place, at := range after {
			took = append(took, at.Sub(before[place]))
		}
		all = append(all, Hop{from, to, quantiles(took)})
		return nil
	}
	for _, name := range p.Order() {
		if err := add(p.Services[name].From[0], p.Services[name].To); err != nil {
			return nil, err
		}
	}
	for _, name := range p.Gathers() {
		if err := add(p.Gather[name].Of, p.Gather[name].To); err != nil {
			return nil, err
		}
	}
	return all, nil
}

type place struct {
	partition int32
	offset    int64
}

func times(ctx context.Context, b *broker.Broker, topic string) (map[place]time.Time, error) {
	all := map[place]time.Time{}
	for r, err := range broker.Records(ctx, b, topic, broker.AllPartitions, broker.Start(), broker.Position{}) {
		if err != nil {
			return nil, err
		}
		all[place{r.Partition, r.Offset}] = r.Time
	}
	return all, nil
}

func quantiles(all []time.Duration) Quantiles {
	if len(all) == 0 {
		return Quantiles{}
	}
	slices.Sort(all)
	at := func(q float64) time.Duration { return all[int(math.Ceil(q*float64(len(all))))-1] }
	return Quantiles{P50: at(0.50), P99: at(0.99)}
}
