// SPDX-License-Identifier: Apache-2.0

package millrace

import (
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
)

func TestAPausedServiceIsDoneWithoutAndAmendsItsAnswersWhenItGoesOn(t *testing.T) {
	b := open(t, vfs.NewMem())
	a, stop := start(t, b, load(t, strings.Replace(graph, "deadline: 1m", "deadline: 300ms", 1)), Options{})
	publish := func() {
		t.Helper()
		if _, err := b.Publish(t.Context(), broker.Record{Topic: "tickets", Value: []byte(`{"id":"T-1"}`)}); err != nil {
			t.Fatal(err)
		}
	}
	publish()
	if first := answers(t, b, "desk", 1)[0]; first.Status != "complete" {
		t.Fatalf("before the pause: %+v", first)
	}

	if err := a.Pause(t.Context(), "sentiment"); err != nil {
		t.Fatal(err)
	}
	publish()
	partial := answers(t, b, "desk", 2)
	if n := counted(partial, "partial"); n != 1 {
		t.Fatalf("in the pause: %+v", partial)
	}
	for _, answer := range partial {
		if answer.Status == "partial" && (answer.Parts["sentiment"].Status != "missing" || answer.Parts["classifier"].Status != "ok") {
			t.Errorf("in the pause: %+v", answer.Parts)
		}
	}
	for _, s := range a.Status() {
		if s.Paused != (s.Name == "sentiment") {
			t.Errorf("%s: paused is %v", s.Name, s.Paused)
		}
	}

	if err := a.Resume("sentiment"); err != nil {
		t.Fatal(err)
	}
	amended := 0
	for _, answer := range answers(t, b, "desk", 3) {
		if answer.Revision == 2 && answer.Status == "complete" && answer.Parts["sentiment"].Status == "late" {
			amended++
		}
	}
	if amended != 1 {
		t.Errorf("%d answers are amended, want 1", amended)
	}
	stop()
}

func TestAPausedServiceDoesNotKeepTheOthersFromDraining(t *testing.T) {
	b := open(t, vfs.NewMem())
	a, stop := start(t, b, load(t, graph), Options{})
	if err := a.Pause(t.Context(), "tagger"); err != nil {
		t.Fatal(err)
	}
	stop()
}

func TestOnlyWhatRunsHereCanBePaused(t *testing.T) {
	b := open(t, vfs.NewMem())
	a, stop := start(t, b, load(t, graph), Options{Only: []string{"tagger"}})
	defer stop()
	if err := a.Pause(t.Context(), "sentiment"); err == nil || !strings.Contains(err.Error(), `"sentiment"`) {
		t.Errorf("error %v", err)
	}
}

func counted(all []answer, status string) int {
	n := 0
	for _, a := range all {
		if a.Status == status {
			n++
		}
	}
	return n
}
