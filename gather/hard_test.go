// SPDX-License-Identifier: Apache-2.0

package gather_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/gather"
	"github.com/millrace-ml/millrace/lineage"
)

// The tests here are about records that come in an order, or are of a kind, that
// a pipeline at peace does not produce.

func deadTagger(offset int) broker.Record {
	return broker.Record{Topic: "tagger.dead", Key: []byte("k"), Headers: []broker.Header{
		{Key: lineage.ID, Value: fmt.Appendf(nil, "tickets/0/%d", offset)},
		{Key: lineage.DeadService, Value: []byte("tagger")}, {Key: lineage.Error, Value: []byte("is ill")}}}
}

// A dead letter that is retried gives the answer its part, whether it was given
// already or not.
func TestARetriedDeadLetterAmendsTheAnswer(t *testing.T) {
	d := newDesk(t, long)
	d.serve()
	d.publish(ticket(`{"id":"A"}`), ticket(`{"id":"B"}`))
	d.publish(mood(0, `1`), deadTagger(0), deadTagger(1))
	d.want(`A partial 1 mood=ok:1 class=failed:tagger: is ill`)
	d.publish(class(0, `2`), class(1, `3`))
	d.settled()
	d.publish(mood(1, `4`))
	d.settled()
	d.want(
		`A partial 1 mood=ok:1 class=failed:tagger: is ill`,
		`A complete 2 mood=ok:1 class=late:2`,
		`B complete 1 mood=ok:4 class=ok:3`)
}

// The values of an item are appended together but need not be polled together.
func TestSeveralValuesThatThePollSplitAreNotLost(t *testing.T) {
	d := newDesk(t, 10*time.Millisecond)
	d.c.Batch.Records = 1
	d.publish(ticket(`{"id":"A"}`))
	time.Sleep(15 * time.Millisecond) // the deadline passes
	d.publish(mood(0, `4`))
	d.publish(part("classes", "tagger/class:1of3", 0, `1`), part("classes", "tagger/class:2of3", 0, `2`), part("classes", "tagger/class:3of3", 0, `3`))
	d.serve()
	d.settled()
	all := d.answers(1)
	last := all[len(all)-1]
	if !strings.Contains(last, "complete") || !strings.Contains(last, ":[1,2,3]") {
		t.Errorf("in the end the answer is %q, of %q", last, all)
	}
}

// A service that begins at the end of its topic leaves out the tickets before.
// When there are many, its answers to later ones are ahead.
func TestAServiceThatPassesTicketsOverDoesNotBlockTheGather(t *testing.T) {
	d := newDesk(t, 300*time.Millisecond)
	d.c.MaxOpen, d.c.Batch.Records = 8, 4
	const n = 60
	for i := range n {
		d.publish(ticket(fmt.Sprintf(`{"id":"%d"}`, i)), class(i, `2`))
		if i >= 20 {
			d.publish(mood(i, `1`))
		}
	}
	d.serve()
	all := d.answers(n)
	for i, line := range all[:n] {
		want := fmt.Sprintf("%d complete 1 mood=ok:1 class=ok:2", i)
		if i < 20 {
			want = fmt.Sprintf("%d partial 1 mood=missing:no answer within 300ms class=ok:2", i)
		}
		if line != want {
			t.Fatalf("got %s, want %s", line, want)
		}
	}
}

// What cannot be written as it is must not keep the gather from the rest.
func TestAnAnswerTooLargeToWriteIsCutDown(t *testing.T) {
	limit := 1 << 20
	small := func(t *testing.T) *desk {
		d := newDesk(t, long)
		b, err := embedded.Open("small", embedded.Options{FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler), MaxRecordBytes: limit})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		for _, name := range []string{"tickets", "moods", "classes", "tagger.dead", "desk"} {
			if err := b.CreateTopics(t.Context(), broker.Topic{Name: name, Partitions: 1}); err != nil {
				t.Fatal(err)
			}
		}
		d.b = b
		return d
	}
	text := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	t.Run("for its key", func(t *testing.T) {
		d := small(t)
		r := ticket(`{"id":"A"}`)
		r.Key = []byte(strings.Repeat("k", limit*3/4))
		d.publish(r, ticket(`{"id":"B"}`))
		d.publish(mood(0, `1`), class(0, `2`), mood(1, `3`), class(1, `4`))
		d.serve()
		all := d.answers(2)
		if !strings.HasPrefix(all[0], "A complete 1 mood=ok:1 class=ok:2") || all[1] != "B complete 1 mood=ok:3 class=ok:4" {
			t.Errorf("answers are %.300q", all)
		}
	})
	t.Run("for its own id", func(t *testing.T) {
		d := small(t)
		r := ticket(`{}`)
		r.Headers = []broker.Header{{Key: lineage.SourceID, Value: []byte(strings.Repeat("\x01", limit*3/4))}}
		d.publish(r, ticket(`{"id":"B"}`))
		d.publish(mood(0, `1`), class(0, `2`), mood(1, `3`), class(1, `4`))
		d.serve()
		if all := d.answers(2); all[1] != "B complete 1 mood=ok:3 class=ok:4" {
			t.Errorf("answers are %.300q", all)
		}
	})
	t.Run("for a late part", func(t *testing.T) {
		d := small(t)
		d.c.Deadline = 20 * time.Millisecond
		d.publish(ticket(text(limit/2)), ticket(`{"id":"B"}`))
		d.publish(mood(0, text(limit*7/16)))
		d.serve()
		d.answers(2)
		d.publish(class(0, text(limit/9)), class(1, `1`), mood(1, `2`))
		d.settled()
		all := d.answers(4)
		last := all[len(all)-1]
		if !strings.HasPrefix(last, "B complete") {
			t.Errorf("in the end the answer is %.200q", last)
		}
	})
}

// However few answers the gather remembers, all are found again.
func TestMorePartsComeLateThanTheIndexHolds(t *testing.T) {
	d := newDesk(t, time.Millisecond)
	const n = 30
	for i := range n {
		d.publish(ticket(fmt.Sprintf(`{"id":"%d"}`, i)))
	}
	g, err := gather.New(d.b, d.c)
	if err != nil {
		t.Fatal(err)
	}
	g.LimitIndex(4)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	d.answers(n)
	var classes []broker.Record
	for i := range n {
		classes = append(classes, class(i, `2`))
	}
	d.publish(classes...)
	d.answers(2 * n)
	for i := n - 1; i >= 0; i-- {
		d.publish(mood(i, `1`))
		if i%7 == 0 {
			d.settled()
		}
	}
	newest := map[string]string{}
	for _, line := range d.answers(3 * n) {
		id, rest, _ := strings.Cut(line, " ")
		newest[id] = rest
	}
	for i := range n {
		if got := newest[fmt.Sprint(i)]; got != "complete 3 mood=late:1 class=late:2" {
			t.Errorf("in the end %d is %s", i, got)
		}
	}
}

// forgetful is a broker whose retention has deleted all answers so far.
type forgetful struct {
	broker.Driver
	before int64
}

func (f forgetful) Read(ctx context.Context, topic string, partitions []int32, from, to broker.Position) (broker.Cursor, error) {
	if offset, ok := from.Offset(); topic == "desk" && (!ok || offset < f.before) {
		from = broker.Offset(f.before)
	}
	return f.Driver.Read(ctx, topic, partitions, from, to)
}

// When the answers are deleted, what they answered is not answered again.
func TestAnEmptiedOutputTopicIsNotFilledAgain(t *testing.T) {
	for _, deadline := range []time.Duration{0, 10 * time.Millisecond} {
		t.Run(fmt.Sprint(deadline), func(t *testing.T) {
			d := newDesk(t, deadline)
			stop := d.serve()
			d.publish(ticket(`{"id":"A"}`), ticket(`{"id":"B"}`))
			d.publish(mood(0, `1`), class(0, `2`), mood(1, `3`), class(1, `4`))
			n := len(d.answers(2))
			d.settled()
			stop()
			time.Sleep(deadline)
			g, err := gather.New(broker.New(forgetful{d.b.Driver(), int64(n)}, d.b.Options()), d.c)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- g.Run(ctx) }()
			d.publish(ticket(`{"id":"C"}`), mood(2, `5`), class(2, `6`))
			d.settled()
			cancel()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			all := d.answers(n + 1)
			for _, line := range all[n:] {
				if !strings.HasPrefix(line, "C ") {
					t.Errorf("answered again: %s", line)
				}
			}
		})
	}
}
