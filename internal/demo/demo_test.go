// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/model/builtin"
	"github.com/millrace-ml/millrace/pipeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quick makes models that start at once and answer with what they are given.
func quick(string, pipeline.Model) (model.Model, error) {
	return builtin.New(context.Background(), "identity", nil, "")
}

// play runs a demo until the returned function is called, which waits for the
// drain.
func play(t *testing.T, c Config) (d *Demo, stop func() error) {
	t.Helper()
	d, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d, stop
}

// collector gives the answers to a test.
func collector() (answers chan Answer, answered func(Answer) error) {
	answers = make(chan Answer, 4*maxOpen)
	return answers, func(a Answer) error { answers <- a; return nil }
}

func next(t *testing.T, answers <-chan Answer) Answer {
	t.Helper()
	select {
	case a := <-answers:
		return a
	case <-time.After(30 * time.Second):
		t.Fatal("no answer comes")
		return Answer{}
	}
}

func TestOnceAnswersEverySampleOnceByAllModels(t *testing.T) {
	answers, answered := collector()
	d, err := New(t.Context(), Config{Once: true, Rate: 2000, Answered: answered, patient: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	close(answers)
	seen := map[string]bool{}
	classes, sentiments, checklists := map[string]int{}, map[string]int{}, map[string]int{}
	for a := range answers {
		if seen[a.ID] {
			t.Errorf("%s is answered twice", a.ID)
		}
		seen[a.ID] = true
		if !a.Complete || len(a.Lacking) > 0 || a.Revision != 1 {
			t.Errorf("%s is not complete: %s", a.ID, a.Record)
		}
		if a.Text == "" || a.Customer == "" || a.Sentiment == "" || a.Class == "" || a.Latency <= 0 || !json.Valid(a.Record) {
			t.Errorf("answer %+v", a)
		}
		classes[a.Class]++
		sentiments[a.Sentiment]++
		checklists[a.Checklist.Title]++
	}
	s := d.State()
	if n := len(d.samples); n < 300 || len(seen) != n || s.Written != int64(n) || s.Complete != int64(n) || s.Partial != 0 || s.Open != 0 {
		t.Errorf("%d answers to %d samples; state %+v", len(seen), n, s.Counts)
	}
	// Real models tell messages apart.
	if len(classes) < 4 || len(sentiments) != 3 || len(checklists) < 10 {
		t.Errorf("classes %v, sentiments %v, %d checklists", classes, sentiments, len(checklists))
	}
	for _, service := range s.Services {
		if want := s.Written; !service.Gather && service.Records != want || service.Lag != 0 || service.Batches == 0 {
			t.Errorf("%s at the end: %+v, want %d records", service.Name, service.Status, want)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(d.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is still there: %v", err)
	}
}

func TestABurstFillsBatchesAndIsAnsweredBeforeTheEnd(t *testing.T) {
	d, stop := play(t, Config{Rate: 0.001, patient: true, model: quick})
	if !d.Burst(400) {
		t.Fatal("the burst is refused")
	}
	for d.State().Written < 400 {
		select {
		case <-d.progress:
		case <-time.After(30 * time.Second):
			t.Fatal("the burst is not written")
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	s := d.State()
	if s.Complete != s.Written || s.Open != 0 {
		t.Errorf("%+v, %d open", s.Counts, s.Open)
	}
	for _, service := range s.Services {
		if mean := float64(service.Records) / float64(service.Batches); mean < 10 {
			t.Errorf("%s: %.1f records a batch", service.Name, mean)
		}
	}
}

func TestAHeldDemoWritesOnlyBursts(t *testing.T) {
	answers, answered := collector()
	d, err := New(t.Context(), Config{Rate: 1000, Answered: answered, model: quick})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	d.Hold(true)
	if !d.Burst(40) {
		t.Fatal("the burst is refused")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	for range 40 {
		next(t, answers)
	}
	if s := d.State(); !s.Held || s.Written != 40 {
		t.Errorf("held: %v, written: %d, want 40", s.Held, s.Written)
	}
	d.Hold(false)
	next(t, answers) // it goes on
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestEachRoundHasIdsOfItsOwn(t *testing.T) {
	samples := []sample{{ID: "T-1", Customer: "c-1", Text: "<hello>"}, {ID: "T-2", Customer: "c-2"}}
	p := player{samples: samples, topic: "tickets"}
	for _, want := range []string{"T-1", "T-2", "T-1-2", "T-2-2", "T-1-3"} {
		id, r, ok := p.next()
		var published sample
		if err := json.Unmarshal(r.Value, &published); err != nil {
			t.Fatal(err)
		}
		if !ok || id != want || published.ID != want || string(r.Key) != published.Customer || r.Topic != "tickets" {
			t.Errorf("message %q: %s by %s, want %s", id, r.Value, r.Key, want)
		}
	}
	p = player{samples: samples, once: true}
	for n := 0; ; n++ {
		if _, _, ok := p.next(); !ok {
			if n != 2 {
				t.Errorf("once: %d messages, want 2", n)
			}
			break
		}
	}
}

func TestABurstIsRefusedWhenTooMuchWaits(t *testing.T) {
	d, err := New(t.Context(), Config{model: quick})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.Burst(maxOpen + 1) {
		t.Error("a burst larger than the bound is taken")
	}
	if !d.Burst(1) {
		t.Error("a small burst is refused")
	}
	if d.Burst(1) {
		t.Error("a second burst is taken before the first was written")
	}
}

func TestAnErrorOfTheReaderEndsTheDemo(t *testing.T) {
	gone := errors.New("nobody reads")
	d, err := New(t.Context(), Config{Rate: 100, Answered: func(Answer) error { return gone }, model: quick})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Run(t.Context()); !errors.Is(err, gone) {
		t.Errorf("error %v, want %v", err, gone)
	}
}

func TestWithoutATemporaryDirectoryItSaysWhatToDo(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()+"/none")
	t.Setenv("TMP", t.TempDir()+"/none") // Windows
	if _, err := New(t.Context(), Config{}); err == nil || !strings.Contains(err.Error(), "TMPDIR says where") {
		t.Errorf("error %v", err)
	}
}

func TestAFailedStartLeavesNothingBehind(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := New(ctx, Config{model: quick}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("%v is left in the temporary directory (%v)", left, err)
	}
}
