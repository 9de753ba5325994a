// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/service"
)

// CallsResult is how well a service keeps slow calls of a model in flight.
type CallsResult struct {
	PerSecond  float64 // records settled
	Ideal      float64 // as many calls as may be in flight, one after the other without a pause
	Disordered int     // records of a key that stand before one that was published earlier
	Waiting    int     // records predicted that waited for earlier ones, at most
}

// Ratio is the throughput as a part of the ideal.
func (r CallsResult) Ratio() float64 { return r.PerSecond / r.Ideal }

// CallsOptions say what to run.
type CallsOptions struct {
	Dir         string
	Median      time.Duration // of a call
	Sigma       float64       // of the logarithm of its length
	Concurrency int
	Partitions  int
	For         time.Duration // how long to measure, once all calls are under way
}

// slow is a model whose calls take as long as a log-normal draw.
type slow struct{ o CallsOptions }

func (slow) Name() string { return "slow@1" }

func (s slow) Predict(ctx context.Context, items []model.Item) ([]model.Answer, error) {
	t := time.NewTimer(time.Duration(float64(s.o.Median) * math.Exp(s.o.Sigma*rand.NormFloat64())))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	answers := make([]model.Answer, len(items))
	for i := range items {
		answers[i] = model.One(items[i].Value)
	}
	return answers, nil
}

// Calls runs a service of slow calls on the embedded broker.
func Calls(ctx context.Context, o CallsOptions) (CallsResult, error) {
	b, err := embedded.Open(filepath.Join(o.Dir, "calls"), embedded.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return CallsResult{}, fmt.Errorf("bench calls: %w", err)
	}
	defer b.Close()
	mean := float64(o.Median) * math.Exp(o.Sigma*o.Sigma/2)
	ideal := float64(o.Concurrency) / (mean / float64(time.Second))
	result, err := calls(ctx, b, o, ideal)
	if err != nil {
		return CallsResult{}, fmt.Errorf("bench calls: %w", err)
	}
	return result, nil
}

func calls(ctx context.Context, b *broker.Broker, o CallsOptions, ideal float64) (CallsResult, error) {
	var topics []broker.Topic
	for _, name := range []string{"in", "out", "dead"} {
		topics = append(topics, broker.Topic{Name: name, Partitions: o.Partitions})
	}
	if err := b.CreateTopics(ctx, topics...); err != nil {
		return CallsResult{}, err
	}
	// The first and the last records of a run do not count: all calls are to be
	// under way, and so are the settles that wait for the slowest.
	warm := 4 * o.Median
	if err := publishNumbered(ctx, b, int(2*ideal*(warm+o.For).Seconds())+16*o.Concurrency); err != nil {
		return CallsResult{}, err
	}
	var settled atomic.Int64
	s, err := service.New(b, service.Config{
		Name: "slow", Group: "slow", From: []string{"in"}, To: "out", Dead: "dead", Model: slow{o},
		Concurrency: o.Concurrency, Batch: broker.Want{Records: 1}, Timeout: 100 * o.Median, Grace: time.Second,
		Observe: func(seen service.Observation) { settled.Add(int64(seen.Records)) },
		Logger:  slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return CallsResult{}, err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(running) }()
	result := CallsResult{Ideal: ideal}
	err = observe(ctx, s, warm, nil)
	before, began := settled.Load(), time.Now()
	if err == nil {
		err = observe(ctx, s, o.For, &result)
	}
	result.PerSecond = float64(settled.Load()-before) / time.Since(began).Seconds()
	stop()
	if e := <-ended; err == nil {
		err = e
	}
	if err != nil {
		return CallsResult{}, err
	}
	result.Disordered, err = disordered(ctx, b)
	return result, err
}

// observe looks at the service for a while.
func observe(ctx context.Context, s *service.Service, d time.Duration, r *CallsResult) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < d; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if r != nil {
			r.Waiting = max(r.Waiting, s.Load().Waiting)
		}
	}
	return nil
}

// publishNumbered publishes n records of 97 keys, each with its number.
func publishNumbered(ctx context.Context, b *broker.Broker, n int) error {
	for next := 0; next < n; {
		var records []broker.Record
		for ; len(records) < publishing && next < n; next++ {
			records = append(records, broker.Record{
				Topic: "in", Key: fmt.Appendf(nil, "customer-%d", next%97), Value: binary.BigEndian.AppendUint64(nil, uint64(next)),
			})
		}
		if _, err := b.Publish(ctx, records...); err != nil {
			return err
		}
	}
	return nil
}

// disordered counts the results that stand before an earlier one of their key.
func disordered(ctx context.Context, b *broker.Broker) (int, error) {
	n, last := 0, map[string]uint64{}
	for r, err := range broker.Records(ctx, b, "out", broker.AllPartitions, broker.Start(), broker.Position{}) {
		if err != nil {
			return 0, err
		}
		number := binary.BigEndian.Uint64(r.Value) + 1
		if number <= last[string(r.Key)] {
			n++
		}
		last[string(r.Key)] = max(number, last[string(r.Key)])
	}
	return n, nil
}
