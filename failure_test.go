// SPDX-License-Identifier: Apache-2.0

package millrace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/pipeline"
)

// failing is a broker whose members of one group fail.
type failing struct {
	broker.Driver
	group string
	fail  func(what string) error // what a member is about to do
}

func (f failing) Join(ctx context.Context, group string, start broker.Position, topics []string) (broker.Member, error) {
	if group != f.group {
		return f.Driver.Join(ctx, group, start, topics)
	}
	if err := f.fail("join"); err != nil {
		return nil, err
	}
	m, err := f.Driver.Join(ctx, group, start, topics)
	return failingMember{m, f.fail}, err
}

type failingMember struct {
	broker.Member
	fail func(string) error
}

func (m failingMember) Poll(ctx context.Context, w broker.Want) (broker.Polled, error) {
	if err := m.fail("poll"); err != nil {
		return broker.Polled{}, err
	}
	return m.Member.Poll(ctx, w)
}

func (m failingMember) Settle(ctx context.Context, s *broker.Settlement) error {
	if err := m.fail("settle"); err != nil {
		return err
	}
	return m.Member.Settle(ctx, s)
}

// appOn makes an app of the graph, with a ticket to answer, whose members of the
// group fail.
func appOn(t *testing.T, group string, fail func(what string) error) *App {
	t.Helper()
	b := open(t, vfs.NewMem())
	a, err := New(t.Context(), broker.New(failing{b.Driver(), group, fail}, b.Options()), load(t, graph), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Publish(t.Context(), broker.Record{Topic: "tickets", Value: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	return a
}

// What trying again cannot heal ends Run with the error, wherever it comes up and
// while the rest of the pipeline is well.
func TestRunEndsWithWhatCanNeverSucceed(t *testing.T) {
	for _, group := range []string{"test.tagger", "test.desk"} {
		for _, when := range []string{"join", "poll", "settle"} {
			for _, lasting := range []error{broker.ErrRefused, broker.ErrUnknownTopic, broker.ErrTopicConflict} {
				t.Run(group+" "+when+" "+lasting.Error(), func(t *testing.T) {
					t.Parallel()
					a := appOn(t, group, func(what string) error {
						if what == when {
							return fmt.Errorf("the broker says: %w", lasting)
						}
						return nil
					})
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					err := a.Run(ctx)
					_, name, _ := strings.Cut(group, ".")
					if !errors.Is(err, lasting) || !strings.Contains(err.Error(), name) {
						t.Errorf("it ended with %v", err)
					}
				})
			}
		}
	}
}

// safeBuffer is written by several goroutines.
type safeBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

// A program that passes no logger hears of what fails for a while.
func TestWithoutALoggerFailureIsLoggedByDefault(t *testing.T) {
	var log safeBuffer
	was := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(was)
	var mu sync.Mutex
	failed := map[string]int{}
	a := appOn(t, "test.tagger", func(what string) error {
		mu.Lock()
		defer mu.Unlock()
		failed[what]++
		if what != "join" && failed[what] == 1 {
			return errors.New("a cable is loose")
		}
		return nil
	})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	answers(t, a.c.Broker, "desk", 1)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for _, want := range []string{"poll failed, trying again", "settle failed, trying again", "a cable is loose", "service=tagger"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, log.String())
		}
	}
}

func TestNewChecksWhatItIsGiven(t *testing.T) {
	b := open(t, vfs.NewMem())
	if err := b.CreateTopics(t.Context(), broker.Topic{Name: "tags", Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	p, q := load(t, graph), load(t, strings.ReplaceAll(strings.ReplaceAll(graph, "tags", "words"), "name: test", "name: other"))
	for name, c := range map[string]struct {
		b    *broker.Broker
		p    *pipeline.Pipeline
		o    Options
		want string // empty: no error
	}{
		"all that it needs":    {b, q, Options{}, ""},
		"no broker":            {nil, q, Options{}, "the broker is nil: open one first"},
		"no pipeline":          {b, nil, Options{}, "the pipeline is nil: load one first"},
		"an empty pipeline":    {b, &pipeline.Pipeline{Name: "p"}, Options{}, "services is missing"},
		"a negative grace":     {b, q, Options{Grace: -1}, "Options.Grace and Options.Stall are 0 or more"},
		"a negative stall":     {b, q, Options{Stall: -1}, "Options.Grace and Options.Stall are 0 or more"},
		"an unknown service":   {b, q, Options{Only: []string{"sentiments"}}, `no service or gather is called "sentiments"`},
		"a model that is not":  {b, q, Options{Model: func(string, pipeline.Model) (model.Model, error) { return nil, nil }}, "the model is nil"},
		"a topic that differs": {b, p, Options{}, `tags`},
	} {
		_, err := New(t.Context(), c.b, c.p, c.o)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// A registry can be used again after New has failed, whatever it failed for.
func TestAFailedNewLeavesNoMetricsBehind(t *testing.T) {
	b := open(t, vfs.NewMem())
	registry := prometheus.NewRegistry()
	count := func() int {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		return len(families)
	}
	near := broker.New(refusing{b.Driver()}, b.Options())
	if _, err := New(t.Context(), near, load(t, graph), Options{Registry: registry}); !errors.Is(err, broker.ErrRefused) {
		t.Fatalf("New returned %v", err)
	}
	taken := newMetrics().predict // of another app
	taken.WithLabelValues("s")
	registry.MustRegister(taken)
	if _, err := New(t.Context(), b, load(t, graph), Options{Registry: registry}); err == nil || !strings.Contains(err.Error(), "register metrics") {
		t.Fatalf("New returned %v", err)
	}
	if n := count(); n != 1 {
		t.Errorf("the registry has %d families", n)
	}
	registry.Unregister(taken)
	if _, err := New(t.Context(), b, load(t, graph), Options{Registry: registry}); err != nil {
		t.Error(err)
	}
}
