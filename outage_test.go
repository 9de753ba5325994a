// SPDX-License-Identifier: Apache-2.0

package millrace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
)

// distant is a broker that is out of reach at times.
type distant struct {
	broker.Driver
	away  *atomic.Bool
	shy   *atomic.Int32 // how many more looks at topics and joins fail
	tries *atomic.Int32 // to make topics
}

var errAway = errors.New("connection refused")

func (d distant) reach() error {
	if d.away.Load() || d.shy.Add(-1) >= 0 {
		return errAway
	}
	return nil
}

func (d distant) CreateTopics(ctx context.Context, topics []broker.Topic) error {
	d.tries.Add(1)
	if d.away.Load() {
		return errAway
	}
	return d.Driver.CreateTopics(ctx, topics)
}

func (d distant) Partitions(ctx context.Context, topic string) (int, error) {
	if err := d.reach(); err != nil {
		return 0, err
	}
	return d.Driver.Partitions(ctx, topic)
}

func (d distant) Join(ctx context.Context, group string, start broker.Position, topics []string) (broker.Member, error) {
	if err := d.reach(); err != nil {
		return nil, err
	}
	return d.Driver.Join(ctx, group, start, topics)
}

func (d distant) Lag(ctx context.Context, group string) ([]broker.Lag, error) {
	if d.away.Load() {
		return nil, errAway
	}
	return d.Driver.Lag(ctx, group)
}

func TestAPipelineWaitsForABrokerThatIsOutOfReach(t *testing.T) {
	near := open(t, vfs.NewMem())
	d := distant{near.Driver(), &atomic.Bool{}, &atomic.Int32{}, &atomic.Int32{}}
	d.away.Store(true)
	d.shy.Store(12) // of the services and gathers, some several times
	b := broker.New(d, near.Options())
	var log safeBuffer
	a, err := New(t.Context(), b, load(t, graph), Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()

	until(t, "some tries", func() bool { return d.tries.Load() >= 4 })
	if err := a.Ready(); err == nil || !strings.Contains(err.Error(), "has not been reached yet") {
		t.Errorf("without a broker it is ready: %v", err)
	}
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "creating the pipeline's topics failed, trying again") || !strings.Contains(got, errAway.Error()) {
		t.Errorf("the log says\n%s", got)
	}
	d.away.Store(false)
	until(t, "it to be ready", func() bool { return a.Ready() == nil && d.shy.Load() < 0 })
	if _, err := b.Publish(t.Context(), broker.Record{Topic: "tickets", Value: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	answers(t, near, "desk", 1)

	d.away.Store(true)
	until(t, "it not to be ready", func() bool { return errors.Is(a.Ready(), errAway) })
	d.away.Store(false)
	until(t, "it to be ready again", func() bool { return a.Ready() == nil })
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run returned %v", err)
	}
}

func TestWaitingForABrokerEndsWithTheContext(t *testing.T) {
	near := open(t, vfs.NewMem())
	d := distant{near.Driver(), &atomic.Bool{}, &atomic.Int32{}, &atomic.Int32{}}
	d.away.Store(true)
	a, err := New(t.Context(), broker.New(d, near.Options()), load(t, graph), Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	if err := a.Run(ctx); err != nil {
		t.Errorf("Run returned %v", err)
	}
}

// refusing is a broker that will never make a topic.
type refusing struct{ broker.Driver }

func (refusing) CreateTopics(context.Context, []broker.Topic) error {
	return fmt.Errorf("%w: not by you", broker.ErrRefused)
}

func TestWhatTheBrokerRefusesForGoodIsAnErrorOfNew(t *testing.T) {
	near := open(t, vfs.NewMem())
	if _, err := New(t.Context(), broker.New(refusing{near.Driver()}, near.Options()), load(t, graph), Options{}); !errors.Is(err, broker.ErrRefused) {
		t.Errorf("New returned %v", err)
	}
}
