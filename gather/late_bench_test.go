// SPDX-License-Identifier: Apache-2.0

package gather_test

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/gather"
)

// A service that was away comes back: every answer is amended once. The answers
// are no longer in the broker's memory.
func BenchmarkAmendingAnswers(b *testing.B) { benchmarkGathering(b, 20000, away, "revisions/s") }

// The same, in time: every answer is complete at once.
func BenchmarkAnswering(b *testing.B) { benchmarkGathering(b, 20000, present, "answers/s") }

// benchmarkGathering measures how long a gather takes for what is there already.
func benchmarkGathering(b *testing.B, n int64, prepare func(testing.TB, int) (awayDesk, *atomic.Int64), unit string) {
	for range b.N {
		b.StopTimer()
		d, count := prepare(b, int(n))
		b.StartTimer()
		stop := d.gather(b)
		await(count, n)
		b.StopTimer()
		stop()
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), unit)
}

// gather begins to gather; stop ends that, and the desk.
func (d awayDesk) gather(b *testing.B) (stop func()) {
	g, err := gather.New(d.b, d.c)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		d.b.Close()
	}
}

func await(count *atomic.Int64, n int64) {
	for count.Load() < n {
		time.Sleep(time.Millisecond)
	}
}

// All parts of a service are late, but not by much.
func BenchmarkAmendingRecentAnswers(b *testing.B) {
	const n = 5000
	for range b.N {
		b.StopTimer()
		d, revised := newAway(b)
		var answered atomic.Int64
		d.c.Observe = func(o gather.Observation) {
			answered.Add(int64(o.Partial))
			revised.Add(int64(o.Revisions))
		}
		tickets, moods, classes := samples(n)
		for _, list := range [][]broker.Record{tickets, moods} {
			if _, err := d.b.Publish(b.Context(), list...); err != nil {
				b.Fatal(err)
			}
		}
		stop := d.gather(b)
		await(&answered, n)
		b.StartTimer()
		if _, err := d.b.Publish(b.Context(), classes...); err != nil {
			b.Fatal(err)
		}
		await(revised, n)
		b.StopTimer()
		stop()
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "revisions/s")
}

// present makes n tickets with all their parts.
func present(t testing.TB, n int) (awayDesk, *atomic.Int64) {
	d, answered := newAway(t)
	tickets, moods, classes := samples(n)
	for _, list := range [][]broker.Record{tickets, moods, classes} {
		if _, err := d.b.Publish(t.Context(), list...); err != nil {
			t.Fatal(err)
		}
	}
	d.c.Deadline = time.Hour
	d.c.Observe = func(o gather.Observation) { answered.Add(int64(o.Complete)) }
	return d, answered
}

type awayDesk struct {
	b *broker.Broker
	c gather.Config
}

func newAway(t testing.TB) (awayDesk, *atomic.Int64) {
	b, err := embedded.Open("data", embedded.Options{FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler), CacheBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tickets", "moods", "classes", "desk"} {
		if err := b.CreateTopics(t.Context(), broker.Topic{Name: name, Partitions: 1}); err != nil {
			t.Fatal(err)
		}
	}
	return awayDesk{b, gather.Config{
		Name: "desk", Group: "g.desk", Of: "tickets", To: "desk", Deadline: time.Millisecond,
		Parts: []gather.Part{{Name: "mood", Topic: "moods"}, {Name: "class", Topic: "classes"}},
	}}, new(atomic.Int64)
}

func samples(n int) (tickets, moods, classes []broker.Record) {
	text := `{"text":"` + strings.Repeat("x", 200) + `"}`
	for i := range n {
		tickets = append(tickets, ticket(text))
		moods = append(moods, mood(i, text))
		classes = append(classes, class(i, text))
	}
	return tickets, moods, classes
}

// away makes n tickets that were answered without their class, and the classes.
func away(t testing.TB, n int) (awayDesk, *atomic.Int64) {
	d, revised := newAway(t)
	var answered atomic.Int64
	d.c.Observe = func(o gather.Observation) {
		answered.Add(int64(o.Partial))
		revised.Add(int64(o.Revisions))
	}
	tickets, moods, classes := samples(n)
	for _, list := range [][]broker.Record{tickets, moods} {
		if _, err := d.b.Publish(t.Context(), list...); err != nil {
			t.Fatal(err)
		}
	}
	g, err := gather.New(d.b, d.c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	for answered.Load() < int64(n) {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := d.b.Publish(t.Context(), classes...); err != nil {
		t.Fatal(err)
	}
	return d, revised
}
