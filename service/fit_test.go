// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/lineage"
	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/service"
)

func TestAResultThatIsTooLargeFailsItsItemOnly(t *testing.T) {
	b := newBench(t)
	b.publish("a", "huge", "b")
	b.serve(each(func(v string) model.Answer {
		if v == "huge" {
			return model.One(make([]byte, 2<<20))
		}
		return model.One([]byte(v))
	}))
	out := b.read("out", 3)
	want(t, "results", values(out), []string{"a", "failed", "b"})
	if why := string(out[1].Header(lineage.Error)); !strings.Contains(why, "too large") {
		t.Errorf("the marker says %q", why)
	}
}

// A record at the size limit has no room left for a dead letter's headers.
func TestADeadLetterOfARecordAtTheLimitNamesItsPlace(t *testing.T) {
	b := newBench(t)
	big := strings.Repeat("x", 1<<20-1)
	b.publish(big)
	b.serve(each(func(string) model.Answer { return model.Fail(model.Invalid(errors.New("no"))) }))
	dead := b.read("svc.dead", 1)[0]
	if len(dead.Value) != 0 || string(dead.Header(lineage.DeadRecord)) != "in/0/0" {
		t.Errorf("dead letter of %d bytes, %v", len(dead.Value), dead.Headers)
	}
}

// A key near the limit leaves no room for the headers of results, markers and
// dead letters, whatever their value.
func TestARecordWithAKeyAtTheLimitDoesNotStopTheService(t *testing.T) {
	b := newBench(t)
	big := broker.Record{Topic: "in", Key: make([]byte, 1<<20-8), Value: []byte("a")}
	marker := broker.Record{Topic: "in", Key: make([]byte, 1<<20-100), Headers: []broker.Header{
		{Key: lineage.ID, Value: []byte("tickets/0/7/tagger")}, {Key: lineage.Status, Value: []byte(lineage.StatusFailed)}}}
	if _, err := b.b.Publish(t.Context(), big, marker, broker.Record{Topic: "in", Key: []byte("k"), Value: []byte("b")}); err != nil {
		t.Fatal(err)
	}
	b.serve(upper)
	out := b.read("out", 3)
	want(t, "results", values(out), []string{"failed", "failed", "B"})
	if id := string(out[1].Header(lineage.ID)); id != "tickets/0/7/tagger/svc" {
		t.Errorf("the marker's id is %q", id)
	}
	if dead := b.read("svc.dead", 1)[0]; string(dead.Header(lineage.DeadRecord)) != "in/0/0" {
		t.Errorf("dead letter %v", dead.Headers)
	}
}

// Whatever a record is filled with, as long as the broker took it, what the
// service makes of it fits too.
func TestNoRecordIsTooLargeToBeAnsweredOrBuried(t *testing.T) {
	fill := func(n int) []byte { return []byte(strings.Repeat("x", n)) }
	var many []broker.Header
	for i := range broker.MaxHeaders {
		many = append(many, broker.Header{Key: fmt.Sprintf("h%05d", i), Value: fill(9)})
	}
	failed := broker.Header{Key: lineage.Status, Value: []byte(lineage.StatusFailed)}
	for name, c := range map[string]struct {
		headers []broker.Header
		cut     string // what its letter says; empty: it is a marker and has none
	}{
		"a header":                {[]broker.Header{{Key: "h", Value: fill(1<<20 - 10)}}, "6 key headers"},
		"a header's name":         {[]broker.Header{{Key: string(fill(1<<20 - 10)), Value: nil}}, "6 key headers"},
		"many headers":            {many, "6 key headers"},
		"a header of Millrace's":  {[]broker.Header{{Key: lineage.JoinOf, Value: fill(1<<20 - 20)}}, "6 key headers"},
		"its id":                  {[]broker.Header{{Key: lineage.ID, Value: append([]byte("in/0/1/"), fill(1<<20-20)...)}}, "6 key headers"},
		"its trace":               {[]broker.Header{{Key: lineage.Traceparent, Value: fill(1<<20 - 20)}}, "6 key headers"},
		"a marker's status":       {[]broker.Header{{Key: lineage.Status, Value: fill(1<<20 - 20)}}, ""},
		"a marker's error":        {[]broker.Header{failed, {Key: lineage.Error, Value: fill(1<<20 - 40)}}, ""},
		"a marker's trace":        {[]broker.Header{failed, {Key: lineage.Traceparent, Value: fill(1<<20 - 40)}}, ""},
		"a marker's id":           {[]broker.Header{failed, {Key: lineage.ID, Value: append([]byte("in/0/1/"), fill(1<<20-50)...)}}, ""},
		"an id as long as may be": {[]broker.Header{{Key: lineage.ID, Value: append([]byte("in/0/1/"), fill(lineage.MaxID-7)...)}, {Key: "h", Value: fill(1<<20 - lineage.MaxID - 20)}}, "6 key headers"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			full := broker.Record{Topic: "in", Key: []byte("k"), Value: []byte("poison"), Headers: c.headers}
			if _, err := b.b.Publish(t.Context(), full, broker.Record{Topic: "in", Key: []byte("k"), Value: []byte("b")}); err != nil {
				t.Fatal(err)
			}
			stop := b.serve(each(func(v string) model.Answer {
				if v == "poison" {
					panic(model.Invalid(errors.New("no")))
				}
				return model.One([]byte("B"))
			}))
			out := b.read("out", 2)
			if got := values(out); got[1] != "B" || len(got[0]) > 100 || got[0] == "" {
				t.Errorf("results %.200q", got)
			}
			if id := out[0].Header(lineage.ID); len(id) < lineage.MaxID && string(id) != "in/0/0/svc" {
				t.Errorf("the id is %q", id)
			}
			stop()
			if c.cut == "" {
				return
			}
			dead := b.read("svc.dead", 1)[0]
			if got := string(dead.Header(lineage.DeadCut)); got != c.cut || string(dead.Header(lineage.DeadRecord)) != "in/0/0" {
				t.Errorf("the letter says that it is cut %q, want %q", got, c.cut)
			}
		})
	}
}

func TestEachOfSeveralResultsThatAreTooLargeFailsItsOwnItem(t *testing.T) {
	b := newBench(t)
	b.publish("a", "huge1", "b", "c", "huge2", "d")
	b.serve(each(func(v string) model.Answer {
		if strings.HasPrefix(v, "huge") {
			return model.One(make([]byte, 2<<20))
		}
		return model.Many([]byte(v), []byte(v))
	}))
	want(t, "results", values(b.read("out", 10)), []string{"a", "a", "failed", "b", "b", "c", "c", "failed", "d", "d"})
	dead := b.read("svc.dead", 2)
	want(t, "letters", values(dead), []string{"huge1", "huge2"})
}

// picky is a broker that takes less than it says: any settle with a record that
// it does not like is refused as too large, as a whole.
type picky struct {
	broker.Driver
	refuses func(r *broker.Record) bool
}

func (p picky) Join(ctx context.Context, group string, start broker.Position, topics []string) (broker.Member, error) {
	m, err := p.Driver.Join(ctx, group, start, topics)
	return pickyMember{m, p.refuses}, err
}

type pickyMember struct {
	broker.Member
	refuses func(r *broker.Record) bool
}

func (m pickyMember) Settle(ctx context.Context, s *broker.Settlement) error {
	for i := range s.Records {
		if m.refuses(&s.Records[i]) {
			return fmt.Errorf("%w: the topic has a limit of its own", broker.ErrTooLarge)
		}
	}
	return m.Member.Settle(ctx, s)
}

func TestWhatTheBrokerRefusesAsTooLargeIsTheLargestRecord(t *testing.T) {
	b := newBench(t)
	b.b = broker.New(picky{b.b.Driver(), func(r *broker.Record) bool { return r.Size() > 400 }}, b.b.Options())
	b.publish("a", strings.Repeat("x", 300), "b")
	b.serve(each(func(v string) model.Answer { return model.One([]byte(v + v)) }))
	want(t, "results", values(b.read("out", 3)), []string{"aa", "failed", "bb"})
	dead := b.read("svc.dead", 1)[0]
	if len(dead.Value) != 0 || !strings.Contains(string(dead.Header(lineage.Error)), "a limit of its own") {
		t.Errorf("the letter is %q %v", dead.Value, dead.Headers)
	}
}

// If the broker takes nothing about a record, the service goes on without it.
func TestARecordOfWhichNothingIsTakenIsLeftOut(t *testing.T) {
	b := newBench(t)
	b.b = broker.New(picky{b.b.Driver(), func(r *broker.Record) bool {
		return strings.HasPrefix(string(r.Header(lineage.ID)), "in/0/1")
	}}, b.b.Options())
	b.publish("a", strings.Repeat("bad", 9), "c")
	var once sync.Once
	failed := make(chan int, 1)
	b.serve(upper, func(c *service.Config) {
		c.Observe = func(o service.Observation) { once.Do(func() { failed <- o.Failed }) }
	})
	want(t, "results", values(b.read("out", 2)), []string{"A", "C"})
	if n := <-failed; n != 1 {
		t.Errorf("%d are counted as failed", n)
	}
}
