// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// counted is a model that knows how often it was asked about each value.
type counted struct {
	predict
	mu    sync.Mutex
	asked map[string]int
}

func counting(p predict) *counted { return &counted{predict: p, asked: map[string]int{}} }

func (c *counted) Predict(ctx context.Context, items []model.Item) ([]model.Answer, error) {
	c.mu.Lock()
	for _, item := range items {
		c.asked[string(item.Value)]++
	}
	c.mu.Unlock()
	return c.predict(ctx, items)
}

func (c *counted) times(value string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked[value]
}

// outages are the ways in which a model can be away.
func outages() map[string]predict {
	refused := errors.New("connection refused")
	return map[string]predict{
		"each call fails": func(context.Context, []model.Item) ([]model.Answer, error) { return nil, refused },
		"each item fails": each(func(string) model.Answer { return model.Fail(refused) }),
		"it says that it is away": func(context.Context, []model.Item) ([]model.Answer, error) {
			return nil, fmt.Errorf("model server: %w", model.Unavailable(refused))
		},
		"it says so of each item": each(func(string) model.Answer { return model.Fail(model.Unavailable(refused)) }),
		"its own client gives up": func(context.Context, []model.Item) ([]model.Answer, error) {
			return nil, fmt.Errorf("POST: %w", context.DeadlineExceeded)
		},
		"it does not answer in time": func(ctx context.Context, _ []model.Item) ([]model.Answer, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
	}
}

// A model that is away makes no dead letters, however it is away, whether it has
// answered something before or not, and however many records come meanwhile.
func TestAModelThatIsAwayIsWaitedFor(t *testing.T) {
	for name, outage := range outages() {
		for _, before := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, answered before: %v", name, before), func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				var away atomic.Bool
				m := counting(func(ctx context.Context, items []model.Item) ([]model.Answer, error) {
					if away.Load() {
						return outage(ctx, items)
					}
					return upper(ctx, items)
				})
				svc, stop := b.run(m, func(c *service.Config) { c.Timeout, c.Concurrency, c.Batch.Records = 50*time.Millisecond, 2, 4 })
				if before {
					b.publish("first")
					b.read("out", 1)
				}
				away.Store(true)
				b.publish("a", "b", "c", "d", "e", "f", "g")
				until(t, "the service to wait", func() bool { return !svc.Load().Away.IsZero() && svc.Load().Why != "" })
				b.publish("h")
				until(t, "some more tries", func() bool { return m.times("a")+m.times("first") > 5 })
				away.Store(false)
				expected := []string{"A", "B", "C", "D", "E", "F", "G", "H"}
				if before {
					expected = append([]string{"FIRST"}, expected...)
				}
				want(t, "results", values(b.read("out", len(expected))), expected)
				until(t, "the service not to wait", func() bool { return svc.Load().Away.IsZero() })
				stop()
				if n := b.count("svc.dead"); n != 0 {
					t.Errorf("there are %d dead letters", n)
				}
			})
		}
	}
}

// count is how many records a topic has.
func (b bench) count(topic string) (n int) {
	b.Helper()
	infos, err := b.b.Topics(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	i := slices.IndexFunc(infos, func(info broker.TopicInfo) bool { return info.Name == topic })
	return int(infos[i].Ends[0].End)
}

// bad fails on the value in a way, and answers all others.
func bad(value string, fail func() ([]model.Answer, error)) predict {
	return func(ctx context.Context, items []model.Item) ([]model.Answer, error) {
		for _, item := range items {
			if string(item.Value) == value {
				return fail()
			}
		}
		return upper(ctx, items)
	}
}

// Attempts counts what its documentation says: predictions of the item alone.
func TestAnItemIsPredictedAsOftenAsAttemptsSays(t *testing.T) {
	plain := func() ([]model.Answer, error) { return nil, errors.New("cannot bear it") }
	panics := func() ([]model.Answer, error) { panic("cannot bear it") }
	own := func() ([]model.Answer, error) { return []model.Answer{model.Fail(errors.New("cannot bear it"))}, nil }
	invalid := func() ([]model.Answer, error) { return nil, model.Invalid(errors.New("cannot bear it")) }
	for _, c := range []struct {
		name     string
		fail     func() ([]model.Answer, error)
		attempts int
		want     int
	}{
		{"a plain error", plain, 3, 3}, {"a plain error", plain, 5, 5}, {"a plain error", plain, 1, 2},
		{"an item's own error", own, 3, 3}, {"an item's own error", own, 1, 2},
		{"a panic", panics, 3, 3}, {"a panic", panics, 1, 1},
		{"an invalid item", invalid, 3, 1},
	} {
		t.Run(fmt.Sprint(c.name, c.attempts), func(t *testing.T) {
			b := newBench(t)
			m := counting(bad("bad", c.fail))
			stop := b.serve(m, func(s *service.Config) { s.Attempts = c.attempts })
			b.publish("good")
			b.read("out", 1)
			b.publish("bad") // alone in its batch
			want(t, "results", values(b.read("out", 2)), []string{"GOOD", "failed"})
			dead := b.read("svc.dead", 1)[0]
			stop()
			if n := string(dead.Header(lineage.Attempts)); m.times("bad") != c.want || n != fmt.Sprint(c.want) {
				t.Errorf("it was predicted %d times, the letter says %s, want %d", m.times("bad"), n, c.want)
			}
		})
	}
}

// Without anything that the model has answered nobody knows who is to blame. The
// record waits, and the next one brings the proof.
func TestAnItemIsNotGuiltyBeforeTheModelHasAnsweredAnything(t *testing.T) {
	b := newBench(t)
	m := counting(bad("bad", func() ([]model.Answer, error) { return nil, errors.New("cannot bear it") }))
	svc, stop := b.run(m)
	b.publish("bad")
	until(t, "it to wait", func() bool { return svc.Load().Why == "cannot bear it" && m.times("bad") >= 5 })
	if n := b.count("svc.dead") + b.count("out"); n != 0 {
		t.Errorf("it is guilty without proof")
	}
	b.publish("good")
	want(t, "results", values(b.read("out", 2)), []string{"failed", "GOOD"})
	stop()
	if svc.Load().Why != "" {
		t.Error("it still waits")
	}
}

// Poison is found although every call of its batch fails, the proof being its mates.
func TestPoisonInAFirstBatchIsFoundByItsMates(t *testing.T) {
	b := newBench(t)
	b.publish("a", "bad", "b", "c")
	b.serve(bad("bad", func() ([]model.Answer, error) { return nil, errors.New("cannot bear it") }))
	want(t, "results", values(b.read("out", 4)), []string{"A", "failed", "B", "C"})
}

// A model that is overloaded by some items and answers others does not make them
// guilty.
func TestWhatTheModelIsUnavailableForIsNeverGuilty(t *testing.T) {
	b := newBench(t)
	var busy atomic.Bool
	busy.Store(true)
	m := counting(each(func(v string) model.Answer {
		if strings.HasPrefix(v, "busy") && busy.Load() {
			return model.Fail(model.Unavailable(errors.New("429")))
		}
		return model.One([]byte(strings.ToUpper(v)))
	}))
	svc, stop := b.run(m)
	b.publish("a", "busy", "b")
	until(t, "many tries", func() bool { return m.times("busy") >= 6 && svc.Load().Why == "429" })
	if m.times("a") != 1 {
		t.Errorf("what was answered is predicted again: %d times", m.times("a"))
	}
	busy.Store(false)
	want(t, "results", values(b.read("out", 3)), []string{"A", "BUSY", "B"})
	stop()
}

func TestPatienceEndsTheWaitingWithDeadLetters(t *testing.T) {
	b := newBench(t)
	b.publish("a", "b")
	b.serve(predict(func(context.Context, []model.Item) ([]model.Answer, error) {
		return nil, model.Unavailable(errors.New("connection refused"))
	}), func(c *service.Config) { c.Patience = 20 * time.Millisecond })
	want(t, "results", values(b.read("out", 2)), []string{"failed", "failed"})
	if why := string(b.read("svc.dead", 2)[1].Header(lineage.Error)); why != "the model answered nothing for 20ms: connection refused" {
		t.Errorf("the letter says %q", why)
	}
}

// Letters that are tried again while the model is away stay as they are.
func TestARetryWhileTheModelIsAwayMakesNoLetters(t *testing.T) {
	letters := []service.Letter{{Service: "svc", Record: broker.Record{Topic: "in", Value: []byte("a")}}, {Service: "svc", Record: broker.Record{Topic: "in", Offset: 1, Value: []byte("b")}}}
	for name, outage := range outages() {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			svc := b.service(service.Config{
				Name: "svc", Group: "g.svc", From: []string{"in"}, To: "out", Dead: "svc.dead", Model: outage,
				Backoff: time.Millisecond, Timeout: 10 * time.Millisecond,
			})
			_, err := svc.Retry(t.Context(), letters, func([]broker.Record) error {
				t.Error("something is settled")
				return nil
			})
			if !errors.Is(err, model.ErrUnavailable) || !strings.HasPrefix(err.Error(), "service svc: the model answers nothing: ") {
				t.Errorf("it returned %v", err)
			}
			if l := svc.Load(); !l.Away.IsZero() {
				t.Errorf("it waits since %v", l.Away)
			}
		})
	}
}
