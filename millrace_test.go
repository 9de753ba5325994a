// SPDX-License-Identifier: Apache-2.0

package millrace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/pipeline"
)

const graph = `
name: test
topics:
  tickets: {partitions: 4}
services:
  tagger:     {from: tickets, to: tags,    model: {builtin: identity}}
  sentiment:  {from: tickets, to: moods,   model: {builtin: identity}}
  classifier: {from: tags,    to: classes, model: {builtin: identity}, concurrency: 2}
gather:
  desk: {of: tickets, from: [moods, classes], to: desk, deadline: 1m}
`

// answer is a gathered record as its reader sees it.
type answer struct {
	ID       string          `json:"id"`
	Key      string          `json:"key"`
	Status   string          `json:"status"`
	Revision int             `json:"revision"`
	Source   json.RawMessage `json:"source"`
	Parts    map[string]struct {
		Status   string          `json:"status"`
		Value    json.RawMessage `json:"value"`
		Error    string          `json:"error"`
		Service  string          `json:"service"`
		Model    string          `json:"model"`
		Attempts int             `json:"attempts"`
	} `json:"parts"`
}

func load(t *testing.T, yaml string) *pipeline.Pipeline {
	t.Helper()
	p, err := pipeline.Parse("test.yaml", []byte(yaml), nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func open(t *testing.T, fs vfs.FS) *broker.Broker {
	t.Helper()
	b, err := embedded.Open("data", embedded.Options{FS: fs, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// start runs the pipeline until stop is called, which waits for a clean drain.
func start(t *testing.T, b *broker.Broker, p *pipeline.Pipeline, o Options) (a *App, stop func()) {
	t.Helper()
	a, err := New(t.Context(), b, p, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	var stopped bool
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("run: %v", err)
			}
		case <-time.After(30 * time.Second):
			t.Error("the pipeline does not drain")
		}
	}
	t.Cleanup(stop)
	return a, stop
}

// answers reads n records of a gather's topic.
func answers(t *testing.T, b *broker.Broker, topic string, n int) []answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	r, err := b.Read(ctx, topic, broker.AllPartitions, broker.Start(), broker.Forever())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var all []answer
	for len(all) < n {
		records, err := r.Next(ctx, 0)
		if err != nil {
			t.Fatalf("after %d of %d answers: %v", len(all), n, err)
		}
		for _, rec := range records {
			var a answer
			if err := json.Unmarshal(rec.Value, &a); err != nil {
				t.Fatalf("%s: %v", rec.Value, err)
			}
			all = append(all, a)
		}
	}
	return all
}

func count(t *testing.T, b *broker.Broker, topic string) int {
	t.Helper()
	r, err := b.Read(t.Context(), topic, broker.AllPartitions, broker.Start(), broker.Position{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n := 0
	for {
		records, err := r.Next(t.Context(), 0)
		if errors.Is(err, io.EOF) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		n += len(records)
	}
}

func TestEveryTicketIsAnsweredOnceWithAllItsParts(t *testing.T) {
	b := open(t, vfs.NewMem())
	_, stop := start(t, b, load(t, graph), Options{})
	const n = 5000
	var tickets []broker.Record
	for i := range n {
		tickets = append(tickets, broker.Record{
			Topic: "tickets", Key: fmt.Appendf(nil, "customer-%d", i%97),
			Value: fmt.Appendf(nil, `{"id":"T-%d","text":"hello %d"}`, i, i),
		})
	}
	// Two tickets with the same id are two records, and a key is not needed.
	tickets[1].Value, tickets[2].Key = tickets[0].Value, nil
	for i := 0; i < n; i += 500 {
		if _, err := b.Publish(t.Context(), tickets[i:i+500]...); err != nil {
			t.Fatal(err)
		}
	}
	all := answers(t, b, "desk", n)
	stop()
	if got := count(t, b, "desk"); got != n {
		t.Errorf("%d answers to %d tickets", got, n)
	}
	ids, last := map[string]int{}, map[string]int{}
	for _, a := range all {
		ids[a.ID]++
		if a.Status != "complete" || a.Revision != 1 || len(a.Parts) != 2 {
			t.Fatalf("answer %+v", a)
		}
		for name, p := range a.Parts {
			if p.Status != "ok" || p.Service != name || p.Attempts != 1 || string(p.Value) != string(a.Source) {
				t.Fatalf("part %s of %s: %+v", name, a.ID, p)
			}
		}
		var i int
		fmt.Sscanf(a.ID, "T-%d", &i)
		if a.Key != "" && i < last[a.Key] && i > 2 {
			t.Errorf("ticket %d of %s is answered after %d", i, a.Key, last[a.Key])
		}
		last[a.Key] = i
	}
	if len(ids) != n-1 || ids["T-0"] != 2 {
		t.Errorf("%d different ids, T-0 is there %d times", len(ids), ids["T-0"])
	}
}

func TestRunIsOnceOnly(t *testing.T) {
	b := open(t, vfs.NewMem())
	a, stop := start(t, b, load(t, graph), Options{})
	stop()
	if err := a.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "called before") {
		t.Errorf("a second Run: %v", err)
	}
}

// hasty is a driver that refuses, after some waiting of its own.
type hasty struct{ broker.Driver }

func (hasty) Join(context.Context, string, broker.Position, []string) (broker.Member, error) {
	return nil, fmt.Errorf("%w: metadata: %w", broker.ErrRefused, context.DeadlineExceeded)
}

// Who stops serving with a context that lives must not look as if it had drained.
func TestRunEndsWithWhatEndedAServiceWhateverItWraps(t *testing.T) {
	b := open(t, vfs.NewMem())
	a, err := New(t.Context(), broker.New(hasty{b.Driver()}, b.Options()), load(t, graph), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Run(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run returned %v", err)
	}
}

func TestACallersCauseIsNoErrorOfRun(t *testing.T) {
	b := open(t, vfs.NewMem())
	a, err := New(t.Context(), b, load(t, graph), Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("operator asked"))
	if err := a.Run(ctx); err != nil {
		t.Errorf("Run returned %v after a drain", err)
	}
}
