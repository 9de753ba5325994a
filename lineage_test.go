// SPDX-License-Identifier: Apache-2.0

package millrace

import (
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/lineage"
	"github.com/millrace-ml/millrace/timeline"
)

// A pipeline may read what another one writes. Its topic is a source there: with
// each of its records a lineage begins.
func TestAPipelineOnAnothersResultsAnswersThem(t *testing.T) {
	b := open(t, vfs.NewMem())
	first := load(t, graph)
	second := load(t, strings.NewReplacer("name: test", "name: second", "tickets", "moods",
		"moods,   model", "feelings, model", "tags", "marks", "classes", "kinds", "desk", "board", "[moods,", "[feelings,").Replace(graph))
	_, stopFirst := start(t, b, first, Options{})
	_, stopSecond := start(t, b, second, Options{})
	for range 5 {
		if _, err := b.Publish(t.Context(), broker.Record{Topic: "tickets", Value: []byte(`{"id":"T"}`)}); err != nil {
			t.Fatal(err)
		}
	}
	answers(t, b, "desk", 5)
	for _, a := range answers(t, b, "board", 5) {
		if a.Status != "complete" || len(a.Parts) != 2 || a.Parts["sentiment"].Status != "ok" || a.Parts["classifier"].Status != "ok" {
			t.Errorf("the second pipeline answers %+v", a)
		}
	}
	stopFirst()
	stopSecond()
	for r, err := range broker.Records(t.Context(), b, "board", broker.AllPartitions, broker.Start(), broker.Position{}) {
		if err != nil {
			t.Fatal(err)
		}
		of := string(r.Header(lineage.JoinOf))
		if !strings.HasPrefix(of, "moods/") {
			t.Errorf("it answers %s", of)
		}
		events, err := timeline.OfSources(t.Context(), b, second.Sources(), of, broker.Position{})
		if err != nil {
			t.Fatal(err)
		}
		var whats []string
		for _, e := range events {
			whats = append(whats, e.What)
		}
		if got := strings.Join(whats, " "); got != "published answered answered answered gathered" {
			t.Errorf("became of %s: %s", of, got)
		}
	}
}

// Headers of Millrace's own on records that come from outside are not believed:
// neither that there is no value, nor who the record descends from.
func TestHeadersFromOutsideAreNotBelieved(t *testing.T) {
	b := open(t, vfs.NewMem())
	p := load(t, graph)
	_, stop := start(t, b, p, Options{})
	header := func(pairs ...string) (list []broker.Header) {
		for i := 0; i < len(pairs); i += 2 {
			list = append(list, broker.Header{Key: pairs[i], Value: []byte(pairs[i+1])})
		}
		return list
	}
	forged := [][]broker.Header{
		header(lineage.Status, lineage.StatusFailed, lineage.Error, "forged"),
		header(lineage.Status, lineage.StatusSkipped),
		header(lineage.ID, "tickets/0/0/tagger"),
		header(lineage.ID, "others/7/7/x:1of3", lineage.Attempts, "9", lineage.Model, "forged@1"),
		header(lineage.JoinOf, "tickets/0/0", lineage.JoinLow, "100", lineage.JoinStatus, "complete", lineage.JoinRevision, "9"),
		header(lineage.DeadService, "tagger", lineage.DeadRecord, "tickets/0/0"),
		header(lineage.Window, "open"),
		header(lineage.ID, "\xff", lineage.JoinTime, "soon"),
	}
	for _, headers := range forged {
		if _, err := b.Publish(t.Context(), broker.Record{Topic: "tickets", Key: []byte("k"), Value: []byte(`{"id":"T"}`), Headers: headers}); err != nil {
			t.Fatal(err)
		}
	}
	for i, a := range answers(t, b, "desk", len(forged)) {
		if a.Status != "complete" || a.Revision != 1 || a.Parts["sentiment"].Attempts != 1 {
			t.Errorf("answer %d is %+v", i, a)
		}
	}
	stop()
	events, err := timeline.OfSources(t.Context(), b, p.Sources(), "k", broker.Position{})
	if err != nil {
		t.Fatal(err)
	}
	if want := 5 * len(forged); len(events) != want {
		t.Errorf("%d events, want %d: %+v", len(events), want, events)
	}
}
