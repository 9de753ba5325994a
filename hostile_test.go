// SPDX-License-Identifier: Apache-2.0

// The race detector makes minutes of the seconds that these values take.
//go:build !race

package millrace

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/deadletter"
	"github.com/millrace-ml/millrace/gateway"
	"github.com/millrace-ml/millrace/internal/jsontext"
	"github.com/millrace-ml/millrace/internal/transfer"
	"github.com/millrace-ml/millrace/lineage"
	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/pipeline"
	"github.com/millrace-ml/millrace/timeline"
)

const hostileGraph = `
name: test
topics: {tickets: {partitions: 1}}
services:
  echo:      {from: tickets, to: echoes, model: {builtin: identity}, retry: {attempts: 1}}
  away:      {from: tickets, to: aways,  model: {builtin: identity}, retry: {attempts: 1}}
  ill:       {from: tickets, to: ills,   model: {go: ill}, retry: {attempts: 1}}
  sentiment: {from: tickets, to: moods,  model: {builtin: sentiment}, retry: {attempts: 1}}
  keywords:  {from: tickets, to: words,  model: {builtin: keywords}, retry: {attempts: 1}}
  typed:     {from: tickets, to: types,  model: {go: typed}, retry: {attempts: 1}}
gather:
  desk: {of: tickets, from: [echoes, aways, ills, moods, words, types], to: desk, deadline: 100ms}
`

// hostileValues are what any client of a broker can publish, by key.
func hostileValues() map[string][]byte {
	repeat := func(s string, n int) []byte { return []byte(strings.Repeat(s, n)) }
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	return map[string][]byte{
		"empty":        {},
		"brackets":     repeat("[", 4_000_000),
		"objects":      repeat(`{"a":`, 800_000),
		"deep":         join(repeat("[", 10_001), repeat("]", 10_001)),
		"deep text":    join([]byte(`{"text":`), repeat("[", 300), repeat("]", 300), []byte(`}`)),
		"at the limit": join(repeat("[", jsontext.MaxDepth), repeat("]", jsontext.MaxDepth)),
		"no UTF-8":     []byte("\xff\xfe[{\""),
		"escapes":      join([]byte(`{"text":"`), repeat(`\u0001`, 200_000), []byte(`"}`)),
		"control":      repeat("\x01", 300_000),
		"number":       join([]byte(`{"text":1`), repeat("0", 1_000_000), []byte(`}`)),
		"numbers":      join([]byte(`{"id":1e`), repeat("9", 1000), []byte(`}`)),
		"text":         join([]byte(`"`), repeat("x", 3_000_000), []byte(`"`)),
		"names":        join([]byte(`{"":0`), repeat(`,"":0`, 200_000), []byte(`}`)),
		"marks":        repeat(`"`, 1_000_001),
	}
}

// hostileModels read their items as a program's own would.
func hostileModels() Models {
	return Models{
		"typed": model.Each("typed@1", func(_ context.Context, v any) (any, error) { return v, nil }),
		"ill":   model.Each("ill@1", func(context.Context, struct{ A int }) (int, error) { return 0, model.Invalid(errors.New("ill")) }),
	}
}

// Whatever is published, every part of Millrace reads it, in linear time, and goes
// on: services, a gather, late parts, a restart, what became of a record, a copy,
// and dead letters.
func TestHostileValuesStopNoPart(t *testing.T) {
	b := open(t, vfs.NewMem())
	p := load(t, hostileGraph)
	o := Options{Models: hostileModels()}
	a, stop := start(t, b, p, o)
	if err := a.Pause(t.Context(), "away"); err != nil {
		t.Fatal(err)
	}
	values := hostileValues()
	for key, value := range values {
		if _, err := b.Publish(t.Context(), broker.Record{Topic: "tickets", Key: []byte(key), Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	answered(t, b, len(values))
	began := time.Now()
	stop() // and restores what is open
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the pipeline takes %v to stop", took)
	}
	_, stop = start(t, b, p, o)
	lateParts(t, b, len(values))
	stop()
	inspectHostile(t, b, values)
	decideHostile(t, b, p, o)

	there := open(t, vfs.NewMem())
	copying, err := transfer.Prepare(t.Context(), transfer.Config{From: b, To: there, Joins: []transfer.Join{{Of: "tickets", To: "desk"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := copying.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, stop = start(t, there, p, o)
	if _, err := there.Publish(t.Context(), broker.Record{Topic: "tickets", Value: []byte(`{"id":"last","text":"fine"}`)}); err != nil {
		t.Fatal(err)
	}
	answered(t, there, len(values)+1)
	stop()
}

// answered waits for as many first answers.
func answered(t *testing.T, b *broker.Broker, n int) {
	t.Helper()
	waitForDesk(t, b, func(r *broker.Record) bool {
		if string(r.Header(lineage.JoinRevision)) == "1" {
			n--
		}
		return n == 0
	})
}

// lateParts waits until as many answers hold what came late.
func lateParts(t *testing.T, b *broker.Broker, n int) {
	t.Helper()
	seen := map[string]bool{}
	waitForDesk(t, b, func(r *broker.Record) bool {
		away := jsontext.Field(jsontext.Field(r.Value, "parts"), "away")
		if string(jsontext.Field(away, "status")) == `"late"` {
			seen[string(r.Header(lineage.JoinOf))] = true
		}
		return len(seen) == n
	})
}

func waitForDesk(t *testing.T, b *broker.Broker, done func(*broker.Record) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for r, err := range broker.Records(ctx, b, "desk", broker.AllPartitions, broker.Start(), broker.Forever()) {
		if err != nil {
			t.Fatal(err)
		}
		if !jsontext.Valid(r.Value) {
			t.Errorf("an answer cannot be read: %.100q", r.Value)
		}
		if done(r) {
			return
		}
	}
}

func inspectHostile(t *testing.T, b *broker.Broker, values map[string][]byte) {
	t.Helper()
	for key := range values {
		events, err := timeline.Of(t.Context(), b, key, broker.Position{})
		if err != nil {
			t.Errorf("%s: %v", key, err)
		}
		gathered := 0
		for _, e := range events {
			if e.What == "gathered" {
				gathered++
			}
		}
		if gathered < 2 {
			t.Errorf("%s: became %d events, %d of them answers", key, len(events), gathered)
		}
	}
	for _, topic := range []string{"tickets", "desk", "ill.dead"} {
		for r, err := range broker.Records(t.Context(), b, topic, broker.AllPartitions, broker.Start(), broker.Position{}) {
			if err != nil {
				t.Fatal(err)
			}
			wire := gateway.NewRecord(r)
			if back, err := wire.Bytes(); err != nil || !bytes.Equal(back, r.Value) {
				t.Errorf("%s comes back as another value (%v)", r.Place(), err)
			}
		}
	}
}

func decideHostile(t *testing.T, b *broker.Broker, p *pipeline.Pipeline, o Options) {
	t.Helper()
	store, err := deadletter.New(b, deadletter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	retry, err := Retrier(b, p, o)
	if err != nil {
		t.Fatal(err)
	}
	retried, err := store.Retry(t.Context(), deadletter.Selection{Services: []string{"ill"}}, retry)
	if err != nil || len(retried) != 1 || retried[0].Failed == 0 {
		t.Errorf("tried again: %+v, %v", retried, err)
	}
	if _, err := store.Drop(t.Context(), deadletter.Selection{}); err != nil {
		t.Error(err)
	}
	list, err := store.List(t.Context(), deadletter.Selection{}, deadletter.MaxList)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range list.Letters {
		if len(l.Error) > 4200 {
			t.Errorf("the error of %s has %d bytes", l.ID, len(l.Error))
		}
	}
}
