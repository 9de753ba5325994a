// SPDX-License-Identifier: Apache-2.0

package gather_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/gather"
)

// gaps is a broker on which aborted transactions stand at the end of each
// partition, as on Kafka: the ends are beyond the records.
type gaps struct{ broker.Driver }

func (g gaps) Topics(ctx context.Context) ([]broker.TopicInfo, error) {
	infos, err := g.Driver.Topics(ctx)
	for i := range infos {
		for p := range infos[i].Ends {
			infos[i].Ends[p].End += 100
			infos[i].Ends[p].Records += 100
		}
	}
	return infos, err
}

// What was taken in and not answered is known from what was settled, whatever the
// ends of the topic of answers say.
func TestSourcesTakenInBeforeTheFirstAnswerAreAnsweredAfterARestart(t *testing.T) {
	for name, start := range map[string]broker.Position{"from the start": broker.Start(), "from the end": broker.End()} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, long)
			d.b = broker.New(gaps{d.b.Driver()}, d.b.Options())
			d.c.Start = start
			before := 0
			if start.IsEnd() { // there is something that is not to be answered
				d.publish(ticket(`{"id":"old"}`))
				before = 1
			}
			stop := d.serve()
			if before > 0 {
				d.joined()
			}
			for i := range 10 {
				d.publish(ticket(fmt.Sprintf(`{"id":"%d"}`, i)))
			}
			d.settled()
			stop()

			d.c.Deadline = time.Millisecond // long over for all of them
			time.Sleep(2 * time.Millisecond)
			d.serve()
			for i, line := range d.answers(10) {
				if want := fmt.Sprintf("%d partial 1 mood=missing:no answer within 1ms class=missing:no answer within 1ms", i); line != want {
					t.Errorf("got %s, want %s", line, want)
				}
			}
		})
	}
}

// joined waits until the group has a position.
func (d *desk) joined() {
	d.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		lags, err := d.b.Lag(d.Context(), "g.desk")
		if err != nil {
			d.Fatal(err)
		}
		if len(lags) > 0 {
			return
		}
		if time.Now().After(deadline) {
			d.Fatal("the gather does not join")
		}
	}
}

// When retention has deleted every answer, a source that is younger than the
// retention was not answered: its answer would be there.
func TestYoungSourcesAreAnsweredAlthoughAllAnswersAreDeleted(t *testing.T) {
	d := newDesk(t, long)
	if err := d.b.CreateTopics(t.Context(), broker.Topic{Name: "desk", Partitions: 1, Retention: time.Hour}); err != nil {
		t.Fatal(err)
	}
	stop := d.serve()
	d.publish(ticket(`{"id":"A"}`), ticket(`{"id":"B"}`), ticket(`{"id":"C"}`))
	d.publish(mood(0, `1`), class(0, `2`))
	d.answers(1)
	d.settled()
	stop()
	d.c.Deadline = time.Millisecond
	time.Sleep(2 * time.Millisecond)
	// The first answer is gone, and A with it, which is older than an hour.
	g, err := gather.New(broker.New(trimmed{forgetful{d.b.Driver(), 1}}, d.b.Options()), d.c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	all := d.answers(3)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for i, id := range []string{"B", "C"} {
		if want := id + " partial 1 mood=missing:no answer within 1ms class=missing:no answer within 1ms"; all[1+i] != want {
			t.Errorf("got %s, want %s", all[1+i], want)
		}
	}
}

// trimmed is a broker whose retention has deleted the first source.
type trimmed struct{ broker.Driver }

func (b trimmed) Read(ctx context.Context, topic string, partitions []int32, from, to broker.Position) (broker.Cursor, error) {
	if _, at := from.Time(); topic == "tickets" && at {
		from = broker.Offset(1)
	}
	return b.Driver.Read(ctx, topic, partitions, from, to)
}

// What others write into the topic of answers is passed over.
func TestForeignRecordsInTheTopicOfAnswersAreLeftOut(t *testing.T) {
	d := newDesk(t, long)
	foreign := 0
	d.c.Observe = func(o gather.Observation) { foreign += o.Foreign }
	stop := d.serve()
	d.publish(ticket(`{"id":"A"}`), ticket(`{"id":"B"}`), mood(0, `1`), class(0, `2`))
	d.answers(1)
	d.settled()
	stop()
	for range 20 {
		d.publish(broker.Record{Topic: "desk", Value: []byte(`"from somebody else"`)})
	}
	low := func(of, value string) broker.Record {
		return broker.Record{Topic: "desk", Value: []byte(`"forged"`), Headers: []broker.Header{{Key: "mr-of", Value: []byte(of)}, {Key: "mr-low", Value: []byte(value)}}}
	}
	d.publish(low("tickets/0/0", "x"), low("others/0/0", "2"), low("tickets/1/0", "2"), low("tickets/0/9", "2"))
	stop = d.serve()
	d.publish(mood(1, `3`), class(1, `4`))
	d.settled()
	stop()
	var lines []string
	for r, err := range broker.Records(t.Context(), d.b, "desk", 0, broker.Start(), broker.Position{}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Header("mr-joined") != nil {
			lines = append(lines, d.line(r.Value))
		}
	}
	if fmt.Sprint(lines) != "[A complete 1 mood=ok:1 class=ok:2 B complete 1 mood=ok:3 class=ok:4]" {
		t.Errorf("answers are %q", lines)
	}
	if foreign != 24 {
		t.Errorf("%d foreign records were counted, want 24", foreign)
	}
}
