// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/gather"
	"github.com/millrace-ml/millrace/internal/backoff"
	"github.com/millrace-ml/millrace/lineage"
)

// LateResult is how fast a gather takes in the last part of its sources.
type LateResult struct {
	InTime float64 // answers a second, whose last part comes before their deadline
	Late   float64 // revisions a second, whose last part comes after it
}

// Ratio is the rate of late parts as a part of that of those in time.
func (r LateResult) Ratio() float64 { return r.Late / r.InTime }

// lateRound is how many sources are answered at a time.
const lateRound = 4096

// Late measures both for about the given time, on the embedded broker. Only the
// last part is counted: the sources and their other part are taken in before.
func Late(ctx context.Context, dir string, long time.Duration) (LateResult, error) {
	b, err := embedded.Open(filepath.Join(dir, "late"), embedded.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return LateResult{}, fmt.Errorf("bench late: %w", err)
	}
	defer b.Close()
	var result LateResult
	if result.InTime, err = lateRate(ctx, b, "intime", time.Hour, long/2); err == nil {
		result.Late, err = lateRate(ctx, b, "late", time.Millisecond, long/2)
	}
	if err != nil {
		return LateResult{}, fmt.Errorf("bench late: %w", err)
	}
	return result, nil
}

// lateRate runs a gather with a deadline on topics of its own, and returns how many
// last parts it takes in a second.
func lateRate(ctx context.Context, b *broker.Broker, name string, deadline, long time.Duration) (rate float64, err error) {
	topic := func(what string) string { return name + "." + what }
	for _, what := range []string{"tickets", "moods", "classes", "desk"} {
		if err := b.CreateTopics(ctx, broker.Topic{Name: topic(what), Partitions: 1}); err != nil {
			return 0, err
		}
	}
	var taken, answered, complete atomic.Int64
	g, err := gather.New(b, gather.Config{
		Name: "desk", Group: name, Of: topic("tickets"), To: topic("desk"), Deadline: deadline,
		Parts: []gather.Part{{Name: "mood", Topic: topic("moods")}, {Name: "class", Topic: topic("classes")}},
		Observe: func(o gather.Observation) {
			taken.Add(int64(o.Records))
			answered.Add(int64(o.Complete + o.Partial))
			complete.Add(int64(o.Complete + o.Revisions))
		},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	defer func() {
		cancel()
		if e := <-ended; err == nil {
			err = e
		}
	}()
	var took time.Duration
	rounds := int64(0)
	for begun := time.Now(); rounds == 0 || time.Since(begun) < long; rounds++ {
		tickets, moods, classes := lateSamples(topic, rounds*lateRound)
		if _, err := b.Publish(ctx, append(tickets, moods...)...); err != nil {
			return 0, err
		}
		before := func() bool {
			return taken.Load() == (3*rounds+2)*lateRound && (deadline == time.Hour || answered.Load() == (rounds+1)*lateRound)
		}
		if err := await(ctx, before); err != nil {
			return 0, err
		}
		at := time.Now()
		if _, err := b.Publish(ctx, classes...); err != nil {
			return 0, err
		}
		if err := await(ctx, func() bool { return complete.Load() == (rounds+1)*lateRound }); err != nil {
			return 0, err
		}
		took += time.Since(at)
	}
	return float64(rounds*lateRound) / took.Seconds(), nil
}

func await(ctx context.Context, done func() bool) error {
	for !done() {
		if err := backoff.Sleep(ctx, 200*time.Microsecond); err != nil {
			return err
		}
	}
	return nil
}

// lateSamples are a round of tickets and their parts.
func lateSamples(topic func(string) string, first int64) (tickets, moods, classes []broker.Record) {
	value := []byte(`{"text":"` + strings.Repeat("x", 200) + `"}`)
	part := func(what, service string, offset int64) broker.Record {
		return broker.Record{Topic: topic(what), Value: value,
			Headers: []broker.Header{{Key: lineage.ID, Value: fmt.Appendf(nil, "%s/0/%d/%s", topic("tickets"), offset, service)}}}
	}
	for i := range int64(lateRound) {
		tickets = append(tickets, broker.Record{Topic: topic("tickets"), Value: value})
		moods = append(moods, part("moods", "mood", first+i))
		classes = append(classes, part("classes", "class", first+i))
	}
	return tickets, moods, classes
}
