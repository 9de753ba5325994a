// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/lineage"
	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/service"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// predict makes a model of a function.
type predict func(ctx context.Context, items []model.Item) ([]model.Answer, error)

func (predict) Name() string { return "test@1" }

func (p predict) Predict(ctx context.Context, items []model.Item) ([]model.Answer, error) {
	return p(ctx, items)
}

// each makes a model that answers items one by one.
func each(f func(value string) model.Answer) predict {
	return func(_ context.Context, items []model.Item) ([]model.Answer, error) {
		answers := make([]model.Answer, len(items))
		for i, item := range items {
			answers[i] = f(string(item.Value))
		}
		return answers, nil
	}
}

var upper = each(func(v string) model.Answer { return model.One([]byte(strings.ToUpper(v))) })

// bench is a broker with a service's topics.
type bench struct {
	*testing.T
	b *broker.Broker
}

func newBench(t *testing.T) bench {
	t.Helper()
	b, err := embedded.Open("data", embedded.Options{FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler), MaxRecordBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	for _, name := range []string{"in", "out", "svc.dead"} {
		if err := b.CreateTopics(t.Context(), broker.Topic{Name: name, Partitions: 1}); err != nil {
			t.Fatal(err)
		}
	}
	return bench{t, b}
}

func (b bench) publish(values ...string) {
	b.Helper()
	var records []broker.Record
	for _, v := range values {
		records = append(records, broker.Record{Topic: "in", Key: []byte("k"), Value: []byte(v)})
	}
	if _, err := b.b.Publish(b.Context(), records...); err != nil {
		b.Fatal(err)
	}
}

// service makes a service of the configuration.
func (b bench) service(c service.Config) *service.Service {
	b.Helper()
	svc, err := service.New(b.b, c)
	if err != nil {
		b.Fatal(err)
	}
	return svc
}

// serve runs the service until the returned function is called.
func (b bench) serve(m model.Model, change ...func(*service.Config)) (stop func()) {
	b.Helper()
	_, stop = b.run(m, change...)
	return stop
}

// run is serve that shows the service.
func (b bench) run(m model.Model, change ...func(*service.Config)) (svc *service.Service, stop func()) {
	b.Helper()
	c := service.Config{Name: "svc", Group: "g.svc", From: []string{"in"}, To: "out", Dead: "svc.dead", Model: m, Backoff: time.Millisecond}
	for _, f := range change {
		f(&c)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	svc = b.service(c)
	go func() { done <- svc.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.Errorf("run: %v", err)
		}
	})
	b.Cleanup(stop)
	return svc, stop
}

// until waits for something that comes about by itself.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// read waits for n records of a topic.
func (b bench) read(topic string, n int) []broker.Record {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 20*time.Second)
	defer cancel()
	r, err := b.b.Read(ctx, topic, 0, broker.Start(), broker.Forever())
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	var all []broker.Record
	for len(all) < n {
		records, err := r.Next(ctx, 0)
		if err != nil {
			b.Fatalf("%s has %d records, want %d: %v", topic, len(all), n, err)
		}
		all = append(all, records...)
	}
	return all
}

func values(records []broker.Record) []string {
	var all []string
	for i := range records {
		v := string(records[i].Value)
		if s := records[i].Header(lineage.Status); s != nil {
			v = string(s)
		}
		all = append(all, v)
	}
	return all
}

func want(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestEachInputIsAnsweredInOrder(t *testing.T) {
	b := newBench(t)
	b.publish("a", "b", "c")
	b.serve(upper)
	out := b.read("out", 3)
	want(t, "results", values(out), []string{"A", "B", "C"})
	if id := string(out[2].Header(lineage.ID)); id != "in/0/2/svc" {
		t.Errorf("the third result's id is %q", id)
	}
	if m := string(out[0].Header(lineage.Model)); m != "test@1" || string(out[0].Key) != "k" {
		t.Errorf("model %q, key %q", m, out[0].Key)
	}
}

func TestAModelMayAnswerWithNoneOrSeveralValues(t *testing.T) {
	b := newBench(t)
	b.publish("x y z", "", "w")
	b.serve(each(func(v string) model.Answer {
		var all [][]byte
		for _, word := range strings.Fields(v) {
			all = append(all, []byte(word))
		}
		return model.Many(all...)
	}))
	out := b.read("out", 5)
	want(t, "results", values(out), []string{"x", "y", "z", "skipped", "w"})
	if id := string(out[1].Header(lineage.ID)); id != "in/0/0/svc:2of3" {
		t.Errorf("the second value's id is %q", id)
	}
}

func TestAFailedCallIsTriedAgain(t *testing.T) {
	b := newBench(t)
	b.publish("a", "b")
	var calls atomic.Int32
	b.serve(predict(func(ctx context.Context, items []model.Item) ([]model.Answer, error) {
		if calls.Add(1) < 3 {
			return nil, errors.New("not yet")
		}
		return upper(ctx, items)
	}))
	out := b.read("out", 2)
	want(t, "results", values(out), []string{"A", "B"})
	if n := string(out[0].Header(lineage.Attempts)); n != "3" {
		t.Errorf("attempts: %q, want 3", n)
	}
}

// A poison record is one that makes the whole call fail.
func TestAPoisonRecordIsOneDeadLetterAndItsMatesAreAnswered(t *testing.T) {
	for name, poison := range map[string]predict{
		"an error": func(ctx context.Context, items []model.Item) ([]model.Answer, error) {
			for _, item := range items {
				if string(item.Value) == "poison" {
					return nil, errors.New("cannot bear it")
				}
			}
			return upper(ctx, items)
		},
		"a panic": func(ctx context.Context, items []model.Item) ([]model.Answer, error) {
			for _, item := range items {
				if string(item.Value) == "poison" {
					panic("cannot bear it")
				}
			}
			return upper(ctx, items)
		},
		"a wrong number of answers": func(ctx context.Context, items []model.Item) ([]model.Answer, error) {
			for _, item := range items {
				if string(item.Value) == "poison" {
					return make([]model.Answer, len(items)+1), nil
				}
			}
			return upper(ctx, items)
		},
		"an answer that stays an error": each(func(v string) model.Answer {
			if v == "poison" {
				return model.Fail(errors.New("cannot bear it"))
			}
			return model.One([]byte(strings.ToUpper(v)))
		}),
		"the end of its goroutine": func(ctx context.Context, items []model.Item) ([]model.Answer, error) {
			for _, item := range items {
				if string(item.Value) == "poison" {
					runtime.Goexit()
				}
			}
			return upper(ctx, items)
		},
		"a call that takes too long": func(ctx context.Context, items []model.Item) ([]model.Answer, error) {
			for _, item := range items {
				if string(item.Value) == "poison" {
					<-ctx.Done()
					return nil, ctx.Err()
				}
			}
			return upper(ctx, items)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			in, expected := make([]string, 37), make([]string, 37)
			for i := range in {
				in[i], expected[i] = fmt.Sprintf("v%d", i), fmt.Sprintf("V%d", i)
			}
			in[11], expected[11] = "poison", "failed"
			b.publish(in...)
			var seen service.Observation
			stop := b.serve(poison, func(c *service.Config) {
				c.Timeout = 100 * time.Millisecond
				c.Attempts = 2
				c.Observe = func(o service.Observation) { seen = o }
			})
			out := b.read("out", len(in))
			want(t, "results", values(out), expected)
			dead := b.read("svc.dead", 1)[0]
			stop()
			if string(dead.Value) != "poison" || string(dead.Header(lineage.DeadRecord)) != "in/0/11" ||
				string(dead.Header(lineage.DeadService)) != "svc" || dead.Header(lineage.Error) == nil {
				t.Errorf("dead letter %s %v", dead.Value, dead.Headers)
			}
			if strings.Contains(name, "panic") && !strings.Contains(string(dead.Header(lineage.DeadStack)), "service_test") {
				t.Errorf("the dead letter has no stack: %s", dead.Header(lineage.DeadStack))
			}
			if seen.Failed != 1 || seen.Values != 36 || seen.Retries == 0 {
				t.Errorf("observed %+v", seen)
			}
		})
	}
}

// A model that never answers each item once has answered nothing else, and its
// items become dead letters all the same.
func TestATypedModelThatMiscountsIsNotAway(t *testing.T) {
	b := newBench(t)
	b.publish("1", "2", "3")
	b.serve(model.JSON("typed@1", func(_ context.Context, items []int) ([]int, error) {
		return make([]int, len(items)+1), nil
	}), func(c *service.Config) { c.Attempts = 2 })
	want(t, "results", values(b.read("out", 3)), []string{"failed", "failed", "failed"})
}

func TestAnInvalidItemIsNotTriedAgain(t *testing.T) {
	b := newBench(t)
	b.publish("bad")
	var calls atomic.Int32
	stop := b.serve(each(func(string) model.Answer {
		calls.Add(1)
		return model.Fail(model.Invalid(errors.New("no text")))
	}))
	want(t, "results", values(b.read("out", 1)), []string{"failed"})
	stop()
	if calls.Load() != 1 {
		t.Errorf("predicted %d times", calls.Load())
	}
}

func TestMarkersArePassedOnWithoutPredicting(t *testing.T) {
	b := newBench(t)
	_, err := b.b.Publish(t.Context(),
		broker.Record{Topic: "in", Key: []byte("k"), Headers: []broker.Header{
			{Key: lineage.ID, Value: []byte("tickets/0/7/tagger")}, {Key: lineage.Status, Value: []byte(lineage.StatusFailed)}, {Key: lineage.Error, Value: []byte("tagger: is ill")}}},
		broker.Record{Topic: "in", Key: []byte("k"), Value: []byte("a")})
	if err != nil {
		t.Fatal(err)
	}
	b.serve(upper)
	out := b.read("out", 2)
	want(t, "results", values(out), []string{"failed", "A"})
	if id, why := string(out[0].Header(lineage.ID)), string(out[0].Header(lineage.Error)); id != "tickets/0/7/tagger/svc" || why != "tagger: is ill" {
		t.Errorf("marker %q says %q", id, why)
	}
}

func TestDrainLetsTheRunningBatchSettle(t *testing.T) {
	b := newBench(t)
	b.publish("a")
	began, release := make(chan struct{}), make(chan struct{})
	stop := b.serve(predict(func(ctx context.Context, items []model.Item) ([]model.Answer, error) {
		close(began)
		<-release
		return upper(ctx, items)
	}))
	<-began
	time.AfterFunc(20*time.Millisecond, func() { close(release) })
	stop()
	want(t, "results", values(b.read("out", 1)), []string{"A"})
	lag, err := b.b.Lag(t.Context(), "g.svc")
	if err != nil || len(lag) != 1 || lag[0].Lag != 0 || lag[0].Member != "" {
		t.Errorf("after the drain: %+v, %v", lag, err)
	}
}

func TestABatchBeyondTheGracePeriodIsGivenBack(t *testing.T) {
	b := newBench(t)
	b.publish("a")
	began := make(chan struct{})
	stop := b.serve(predict(func(ctx context.Context, _ []model.Item) ([]model.Answer, error) {
		close(began)
		<-ctx.Done()
		return nil, ctx.Err()
	}), func(c *service.Config) { c.Grace = 10 * time.Millisecond })
	<-began
	stop()
	b.serve(upper)
	want(t, "results of the next process", values(b.read("out", 1)), []string{"A"})
}

func TestSeveralCallsInFlightShareTheWorkAndKeepTheOrderOfKeys(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"in4", "out4", "dead4"} {
		if err := b.b.CreateTopics(t.Context(), broker.Topic{Name: name, Partitions: 4}); err != nil {
			t.Fatal(err)
		}
	}
	const n = 2000
	var records []broker.Record
	for i := range n {
		records = append(records, broker.Record{Topic: "in4", Key: fmt.Appendf(nil, "k%d", i%16), Value: fmt.Appendf(nil, "%d", i)})
	}
	if _, err := b.b.Publish(t.Context(), records...); err != nil {
		t.Fatal(err)
	}
	b.serve(upper, func(c *service.Config) {
		c.From, c.To, c.Dead, c.Concurrency, c.Batch.Records = []string{"in4"}, "out4", "dead4", 3, 50
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, err := b.b.Read(ctx, "out4", broker.AllPartitions, broker.Start(), broker.Forever())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	last, seen := map[string]int{}, 0
	for seen < n {
		out, err := r.Next(ctx, 0)
		if err != nil {
			t.Fatalf("after %d: %v", seen, err)
		}
		for _, rec := range out {
			var i int
			fmt.Sscan(string(rec.Value), &i)
			if prev, ok := last[string(rec.Key)]; ok && i <= prev {
				t.Fatalf("%s: %d after %d", rec.Key, i, prev)
			}
			last[string(rec.Key)] = i
			seen++
		}
	}
}

func TestADeadLetterCanBeTriedAgain(t *testing.T) {
	b := newBench(t)
	b.publish("ok", "poison")
	stop := b.serve(each(func(v string) model.Answer {
		if v == "poison" {
			return model.Fail(model.Invalid(errors.New("not yet")))
		}
		return model.One([]byte(v))
	}))
	letter := b.read("svc.dead", 1)[0]
	stop()

	read, err := service.ReadLetter(&letter)
	if err != nil {
		t.Fatal(err)
	}
	retry := func(m model.Model) (results []broker.Record) {
		svc := b.service(service.Config{Name: "svc", Group: "g.svc", From: []string{"in"}, To: "out", Dead: "svc.dead", Model: m})
		seen, err := svc.Retry(t.Context(), []service.Letter{read}, func(made []broker.Record) error {
			results = slices.Clone(made)
			return nil
		})
		if err != nil || seen.Records != 1 {
			t.Fatalf("%+v, %v", seen, err)
		}
		return results
	}

	// Its failure is marked in the topic already, so all there is is another letter.
	again := retry(each(func(string) model.Answer { return model.Fail(model.Invalid(errors.New("still not"))) }))
	if len(again) != 1 || again[0].Topic != "svc.dead" {
		t.Fatalf("failed again: %v", again)
	}
	next, err := service.ReadLetter(&again[0])
	if err != nil || next.Attempts != 2 || next.Error != "still not" || next.Record.Offset != 1 {
		t.Errorf("the next letter is %+v, %v", next, err)
	}
	if n := len(again[0].Headers); n != len(letter.Headers) {
		t.Errorf("buried twice it has %d headers, once %d", n, len(letter.Headers))
	}
	results := retry(upper)
	if len(results) != 1 {
		t.Fatalf("answered: %v", results)
	}
	if id := string(results[0].Header(lineage.ID)); id != "in/0/1/svc" || string(results[0].Value) != "POISON" {
		t.Errorf("the result is %q %q", id, results[0].Value)
	}
	if n := string(results[0].Header(lineage.Attempts)); n != "2" {
		t.Errorf("it was predicted %s times", n)
	}
}

// What the model saw when it failed is what it sees again, to the byte.
func TestALetterGivesBackTheRecordAsItCame(t *testing.T) {
	b := newBench(t)
	came := broker.Record{Topic: "in", Key: []byte("k\xff"), Value: []byte("\x00v"), Headers: []broker.Header{
		{Key: "tenant", Value: []byte("a")}, {Key: lineage.ID, Value: []byte("tickets/3/9/tagger")}, {Key: "tenant", Value: []byte("b")}}}
	if _, err := b.b.Publish(t.Context(), came); err != nil {
		t.Fatal(err)
	}
	b.serve(each(func(string) model.Answer { return model.Fail(model.Invalid(errors.New("no"))) }))
	letter := b.read("svc.dead", 1)[0]
	l, err := service.ReadLetter(&letter)
	if err != nil {
		t.Fatal(err)
	}
	if l.Service != "svc" || l.Model != "test@1" || l.Attempts != 1 || l.Error != "no" || l.Cut {
		t.Errorf("the letter is %+v", l)
	}
	if !reflect.DeepEqual(l.Record, came) {
		t.Errorf("the record is %+v, it came as %+v", l.Record, came)
	}
	if _, err := service.ReadLetter(&came); err == nil {
		t.Error("any record passes for a letter")
	}
}

func TestAModelGetsNoMoreLettersAtOnceThanItTakesRecords(t *testing.T) {
	b := newBench(t)
	var calls []int
	m := predict(func(ctx context.Context, items []model.Item) ([]model.Answer, error) {
		calls = append(calls, len(items))
		return upper.Predict(ctx, items)
	})
	svc := b.service(service.Config{Name: "svc", Group: "g.svc", From: []string{"in"}, To: "out", Dead: "svc.dead", Model: m, Batch: broker.Want{Records: 2}})
	letters := make([]service.Letter, 5)
	for i := range letters {
		letters[i] = service.Letter{Service: "svc", Record: broker.Record{Topic: "in", Offset: int64(i), Value: []byte{byte('a' + i)}}}
	}
	var settled [][]string
	_, err := svc.Retry(t.Context(), letters, func(made []broker.Record) error {
		settled = append(settled, values(made))
		return nil
	})
	if want := [][]string{{"A", "B", "C", "D", "E"}}; err != nil || !reflect.DeepEqual(settled, want) {
		t.Errorf("settled %v (%v), want %v", settled, err, want)
	}
	if !slices.Equal(calls, []int{2, 2, 1}) {
		t.Errorf("the model was called with %v letters", calls)
	}
}

// An answer that the broker refuses as too large is a failure like any other.
func TestATriedLetterWhoseAnswerIsTooLargeIsALetterAgain(t *testing.T) {
	b := newBench(t)
	large := &broker.TooLargeError{Index: 0, Size: 2, Limit: 1}
	svc := b.service(service.Config{Name: "svc", Group: "g.svc", From: []string{"in"}, To: "out", Dead: "svc.dead", Model: upper})
	var tries [][]string
	_, err := svc.Retry(t.Context(), []service.Letter{{Service: "svc", Record: broker.Record{Topic: "in", Value: []byte("a")}}}, func(made []broker.Record) error {
		var topics []string
		for _, r := range made {
			topics = append(topics, r.Topic)
		}
		if tries = append(tries, topics); len(tries) == 1 {
			return large
		}
		return nil
	})
	if want := [][]string{{"out"}, {"svc.dead"}}; err != nil || !reflect.DeepEqual(tries, want) {
		t.Errorf("settled %v (%v), want %v", tries, err, want)
	}
}

// ill is an error type whose nil pointer cannot be asked for its text.
type ill struct{ text string }

func (i *ill) Error() string { return i.text }

func TestAnErrorThatCannotBeReadIsADeadLetter(t *testing.T) {
	var none *ill
	for name, m := range map[string]model.Model{
		"of an item": each(func(string) model.Answer { return model.Fail(none) }),
		"of a call":  predict(func(context.Context, []model.Item) ([]model.Answer, error) { return nil, none }),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.publish("poison")
			defer b.serve(m)()
			dead := b.read("svc.dead", 1)[0]
			if got := string(dead.Header(lineage.Error)); !strings.Contains(got, "*service_test.ill") {
				t.Errorf("the letter says %q", got)
			}
		})
	}
}
