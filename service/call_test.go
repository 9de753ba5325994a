// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/lineage"
	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/service"
)

// logged is a log that several goroutines write.
type logged struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *logged) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.Buffer.String(), text)
}

// A model that hangs, and does not look at its context, holds up its service until
// calls return, and nothing else: the number of calls that hang has a bound.
func TestAModelThatHangsIsCalledAFewTimesAndThenTheServiceIsStuck(t *testing.T) {
	b := newBench(t)
	release := make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	defer free()
	var calls atomic.Int32
	m := predict(func(ctx context.Context, items []model.Item) ([]model.Answer, error) {
		calls.Add(1)
		<-release
		return upper(ctx, items)
	})
	var log logged
	svc, stop := b.run(m, func(c *service.Config) {
		c.Timeout, c.Logger = 5*time.Millisecond, slog.New(slog.NewTextHandler(&log, nil))
	})
	b.publish("a", "b", "c")
	until(t, "it to be stuck", func() bool { return svc.Load().Stuck && log.count("stuck: calls of the model") == 1 })
	if l := svc.Load(); l.Abandoned != 2 || l.Calls != 0 || l.Late != 0 || calls.Load() != 2 {
		t.Errorf("the load is %+v after %d calls", l, calls.Load())
	}
	free()
	want(t, "results", values(b.read("out", 3)), []string{"A", "B", "C"})
	until(t, "the late answers to be dropped", func() bool {
		l := svc.Load()
		return !l.Stuck && l.Abandoned == 0 && l.Late >= 2
	})
	stop()
	if log.count("calls of the model have returned") != 1 || log.count("dead letter") != 0 {
		t.Errorf("the log says\n%s", log.Buffer.String())
	}
}

func TestRunEndsThoughTheModelHangs(t *testing.T) {
	for name, timeout := range map[string]time.Duration{"within its time": time.Hour, "past it": time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			began, release := make(chan struct{}, 10), make(chan struct{})
			defer close(release)
			stop := b.serve(predict(func(ctx context.Context, items []model.Item) ([]model.Answer, error) {
				began <- struct{}{}
				<-release
				return upper(ctx, items)
			}), func(c *service.Config) { c.Timeout, c.Grace = timeout, 20*time.Millisecond })
			b.publish("a")
			<-began
			stop()
			b.serve(upper)
			want(t, "results of the next process", values(b.read("out", 1)), []string{"A"})
		})
	}
}

// An answer that comes after its time is none, even if it is the only one.
func TestALateAnswerIsDropped(t *testing.T) {
	b := newBench(t)
	var calls atomic.Int32
	svc, stop := b.run(predict(func(ctx context.Context, items []model.Item) ([]model.Answer, error) {
		if calls.Add(1) == 1 {
			<-ctx.Done()
			return []model.Answer{model.One([]byte("late"))}, nil
		}
		return upper(ctx, items)
	}), func(c *service.Config) { c.Timeout = time.Second })
	b.publish("a")
	out := b.read("out", 1)
	want(t, "results", values(out), []string{"A"})
	if n := string(out[0].Header(lineage.Attempts)); n == "" {
		t.Error("it was predicted once")
	}
	until(t, "the answer to be dropped", func() bool { return svc.Load().Late == 1 && svc.Load().Abandoned == 0 })
	stop()
}

// A call that was abandoned still reads its items, which nobody may change then.
// The race detector looks on.
func TestAnAbandonedCallKeepsItsItems(t *testing.T) {
	b := newBench(t)
	read := make(chan string, 1)
	release := make(chan struct{})
	var calls atomic.Int32
	b.serve(predict(func(ctx context.Context, items []model.Item) ([]model.Answer, error) {
		if calls.Add(1) == 1 {
			<-release
			var all []string
			for _, item := range items {
				all = append(all, string(item.Value))
			}
			read <- strings.Join(all, " ")
		}
		return upper(ctx, items)
	}), func(c *service.Config) { c.Timeout, c.Batch = 100*time.Millisecond, broker.Want{Records: 3} })
	b.publish("a", "b", "c")
	b.read("out", 3)
	b.publish("d", "e", "f", "g", "h", "i")
	b.read("out", 9)
	close(release)
	if got := <-read; got != "a b c" {
		t.Errorf("it sees %q", got)
	}
}
