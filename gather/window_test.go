// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"bytes"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// The source topic lost records to its retention before the gather read them.
// Parts of what is gone must not take the room of parts to come: a topic with
// too many of them ahead is not polled.
func TestPartsOfDeletedSourcesAreLetGoOf(t *testing.T) {
	g, err := New(broker.New(nil, broker.Options{}), Config{Name: "desk", Group: "g", Of: "tickets", To: "desk", MaxOpen: 4, Parts: []Part{{Name: "mood", Topic: "moods"}}})
	if err != nil {
		t.Fatal(err)
	}
	w := newWindow(g, 0)
	for offset := range int64(6) {
		w.take(&broker.Record{Topic: "moods", Value: []byte("1")}, g.feeds["moods"], offset)
	}
	if paused := w.pause(nil); len(paused) != 1 || paused[0].Topic != "moods" {
		t.Fatalf("with 6 moods ahead of their tickets, %v is paused", paused)
	}
	w.add(&broker.Record{Topic: "tickets", Offset: 5}, time.Now()) // those before it are gone
	if j := w.open.front(); j.waiting != 0 {
		t.Error("the ticket did not get its mood")
	}
	if paused := w.pause(nil); len(paused) != 0 || len(w.ahead) != 0 || w.aheadCount["moods"] != 0 || w.aheadBytes["moods"] != 0 {
		t.Errorf("paused %v, ahead %d, counted %d, %d bytes", paused, len(w.ahead), w.aheadCount["moods"], w.aheadBytes["moods"])
	}
}

// Whoever publishes past the gateway can write anything into a topic.
func TestAValueThatIsNestedWithoutEndIsAText(t *testing.T) {
	deep := bytes.Repeat([]byte("["), 8<<20)
	if got := appendJSON(nil, deep); len(got) != len(deep)+2 || got[0] != '"' {
		t.Errorf("%d brackets are written as %d bytes that begin with %q", len(deep), len(got), got[:10])
	}
}
