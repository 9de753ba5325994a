// SPDX-License-Identifier: Apache-2.0

package timeline_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace"
	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/deadletter"
	"github.com/millrace-ml/millrace/lineage"
	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/pipeline"
	"github.com/millrace-ml/millrace/timeline"
)

const graph = `
name: test
topics: {tickets: {partitions: 2}}
services:
  tagger:     {from: tickets, to: tags,    model: {builtin: identity}, retry: {attempts: 2, backoff: 1ms}}
  classifier: {from: tags,    to: classes, model: {builtin: identity}}
gather:
  desk: {of: tickets, from: [classes], to: desk, deadline: 1m}
`

// picky answers with its input, but not with what says "poison", and that not
// at once.
type picky struct{}

func (picky) Name() string { return "picky@1" }

func (picky) Predict(_ context.Context, items []model.Item) ([]model.Answer, error) {
	answers := make([]model.Answer, len(items))
	for i, item := range items {
		answers[i] = model.One(item.Value)
		if strings.Contains(string(item.Value), "poison") {
			answers[i] = model.Fail(errors.New("cannot bear it"))
		}
	}
	return answers, nil
}

func TestTheTimelineShowsWhatBecameOfARecord(t *testing.T) {
	p, err := pipeline.Parse("test.yaml", []byte(graph), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := embedded.Open("data", embedded.Options{FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	a, err := millrace.New(t.Context(), b, p, millrace.Options{Model: func(string, pipeline.Model) (model.Model, error) { return picky{}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	_, err = b.Publish(ctx,
		broker.Record{Topic: "tickets", Key: []byte("ann"), Value: []byte(`{"id":"T-1"}`)},
		broker.Record{Topic: "tickets", Key: []byte("ann"), Value: []byte(`{"id":"T-2","text":"poison"}`)},
		broker.Record{Topic: "tickets", Key: []byte("bob"), Value: []byte(`{"id":"T-3","text":"poison"}`)})
	if err != nil {
		t.Fatal(err)
	}
	wait, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	n := 0
	for _, err := range broker.Records(wait, b, "desk", broker.AllPartitions, broker.Start(), broker.Forever()) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 3 {
			break
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}

	// What was wrong is fixed for one of them.
	store, err := deadletter.New(b, deadletter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	fixed, err := millrace.Retrier(b, p, millrace.Options{}) // with the models of the file
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Retry(t.Context(), deadletter.Selection{Key: "ann"}, fixed); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Drop(t.Context(), deadletter.Selection{Key: "bob"}); err != nil {
		t.Fatal(err)
	}

	for what, want := range map[string][]string{
		"T-1": {"published tickets", "answered tags tagger x1", "answered classes classifier x1", "gathered desk complete"},
		"T-2": {
			"published tickets", "failed tags tagger x2", "dead letter tagger.dead tagger picky@1 x2", "failed classes classifier", "gathered desk partial",
			"retried tagger.dead.decisions tagger", "answered tags tagger x3"},
		"T-3": {
			"published tickets", "failed tags tagger x2", "dead letter tagger.dead tagger picky@1 x2", "failed classes classifier", "gathered desk partial",
			"dropped tagger.dead.decisions tagger"},
		"ann": {
			"published tickets", "answered tags tagger x1", "answered classes classifier x1", "gathered desk complete",
			"published tickets", "failed tags tagger x2", "dead letter tagger.dead tagger picky@1 x2", "failed classes classifier", "gathered desk partial",
			"retried tagger.dead.decisions tagger", "answered tags tagger x3"},
		"T-9": nil,
	} {
		events, err := timeline.Of(t.Context(), b, what, broker.Start())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range events {
			line := e.What + " " + e.Topic
			if e.Service != "" {
				line += " " + e.Service
			}
			if e.What == "dead letter" {
				line += " " + e.Model
			}
			if e.Attempts > 0 {
				line += fmt.Sprintf(" x%d", e.Attempts)
			}
			if e.Status != "" {
				line += " " + e.Status
			}
			if e.Batch < 1 && !strings.HasSuffix(e.Topic, ".decisions") {
				t.Errorf("%s: a batch of %d", line, e.Batch)
			}
			got = append(got, line)
		}
		if !same(got, want) {
			t.Errorf("%s:\n%s\nwant:\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}

	// The id of anything on the way, and its place, lead to the same timeline.
	byKey, err := timeline.Of(t.Context(), b, "T-2", broker.Start())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range byKey {
		for _, what := range []string{e.ID, fmt.Sprintf("%s/%d/%d", e.Topic, e.Partition, e.Offset)} {
			if strings.Contains(what, ".decisions/") {
				continue
			}
			if got, err := timeline.Of(t.Context(), b, what, broker.Start()); err != nil || len(got) != len(byKey) {
				t.Errorf("by %s: %d events, by key %d (%v)", what, len(got), len(byKey), err)
			}
		}
	}
}

// same compares timelines; what is settled together has the same time and comes
// in the order of topics' names.
func same(got, want []string) bool {
	if len(got) != len(want) {
		return false
	}
	count := map[string]int{}
	for i := range got {
		count[got[i]]++
		count[want[i]]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

// Nobody but services should write such headers, but any client of the broker can.
func TestRecordsThatDescendFromEachOtherEndTheSearch(t *testing.T) {
	b, err := embedded.Open("data", embedded.Options{FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.CreateTopics(t.Context(), broker.Topic{Name: "t", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	for _, of := range []string{"t/0/1/svc", "t/0/0/svc"} {
		if _, err := b.Publish(t.Context(), broker.Record{Topic: "t", Headers: []broker.Header{{Key: lineage.ID, Value: []byte(of)}}}); err != nil {
			t.Fatal(err)
		}
	}
	if events, err := timeline.Of(t.Context(), b, "t/0/0", broker.Start()); err != nil || len(events) > 0 {
		t.Errorf("it tells %v, %v", events, err)
	}
}

func TestOfAKeyWithManyRecordsTheNewestAreShown(t *testing.T) {
	b, err := embedded.Open("data", embedded.Options{FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.CreateTopics(t.Context(), broker.Topic{Name: "tickets", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	const many = 450
	for range many {
		if _, err := b.Publish(t.Context(), broker.Record{Topic: "tickets", Key: []byte("k"), Value: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
	}
	events, err := timeline.Of(t.Context(), b, "k", broker.Start())
	if err != nil || len(events) != 100 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	for _, e := range events {
		if e.Offset < many-100 {
			t.Errorf("an older one is shown: %+v", e)
		}
	}
}
