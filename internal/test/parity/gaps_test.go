// SPDX-License-Identifier: Apache-2.0

package parity

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/brokers"
	"github.com/millrace-ml/millrace/gather"
	"github.com/millrace-ml/millrace/internal/transfer"
	"github.com/millrace-ml/millrace/lineage"
	"github.com/millrace-ml/millrace/timeline"
)

// gappy is a gather on Kafka, where aborted transactions stand between, before and
// after the records of every topic.
type gappy struct {
	*testing.T
	b      *broker.Broker
	client *kgo.Client
	topics []string
	sent   int // tickets
}

func newGappy(t *testing.T) *gappy {
	t.Helper()
	url := onKafka(t)
	b, err := brokers.Open(t.Context(), url, brokers.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.Addrs()), kgo.TransactionalID("aborts"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	g := &gappy{T: t, b: b, client: client, topics: []string{"g.tickets", "g.moods", "g.desk"}}
	for _, topic := range append(g.topics, lineage.WindowTopic("g.desk")) {
		if err := b.CreateTopics(t.Context(), broker.Topic{Name: topic, Partitions: 1}); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

// abort leaves an aborted transaction at the end of each topic. With its marker it
// takes four offsets.
func (g *gappy) abort() {
	g.Helper()
	if err := g.client.BeginTransaction(); err != nil {
		g.Fatal(err)
	}
	for _, topic := range append(g.topics, lineage.WindowTopic("g.desk")) {
		for range 3 {
			g.client.Produce(g.Context(), &kgo.Record{Topic: topic, Value: []byte("aborted")}, nil)
		}
	}
	if err := g.client.Flush(g.Context()); err != nil {
		g.Fatal(err)
	}
	if err := g.client.EndTransaction(g.Context(), kgo.TryAbort); err != nil {
		g.Fatal(err)
	}
}

// publish publishes tickets, and returns their offsets.
func (g *gappy) publish(n int) []int64 {
	g.Helper()
	var records []broker.Record
	for range n {
		records = append(records, broker.Record{Topic: "g.tickets", Key: []byte("k"), Value: fmt.Appendf(nil, `{"id":"T-%d"}`, g.sent)})
		g.sent++
	}
	places, err := g.b.Publish(g.Context(), records...)
	if err != nil {
		g.Fatal(err)
	}
	var offsets []int64
	for _, p := range places {
		offsets = append(offsets, p.Offset)
	}
	return offsets
}

// answer publishes the moods of tickets.
func (g *gappy) answer(offsets []int64) {
	g.Helper()
	for _, offset := range offsets {
		id := fmt.Appendf(nil, "g.tickets/0/%d/mood", offset)
		if _, err := g.b.Publish(g.Context(), broker.Record{Topic: "g.moods", Value: []byte(`1`), Headers: []broker.Header{{Key: lineage.ID, Value: id}}}); err != nil {
			g.Fatal(err)
		}
	}
}

// gather runs the gather on a broker until its group has nothing left to take.
func (g *gappy) gather(b *broker.Broker, deadline time.Duration) {
	g.Helper()
	join, err := gather.New(b, gather.Config{
		Name: "desk", Group: "g.desk", Of: "g.tickets", To: "g.desk", Deadline: deadline,
		Parts: []gather.Part{{Name: "mood", Topic: "g.moods"}}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		g.Fatal(err)
	}
	ctx, stop := context.WithCancel(g.Context())
	done := make(chan error, 1)
	go func() { done <- join.Run(ctx) }()
	for limit := time.Now().Add(time.Minute); g.lag(b) != 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(limit) {
			g.Error("the gather does not take in everything")
			break
		}
	}
	stop()
	if err := <-done; err != nil {
		g.Fatal(err)
	}
}

// lag is that of the gather's group, -1 while there is none.
func (g *gappy) lag(b *broker.Broker) int64 {
	g.Helper()
	lags, err := b.Lag(g.Context(), "g.desk")
	if err != nil {
		g.Fatal(err)
	}
	if len(lags) == 0 {
		return -1
	}
	sum := int64(0)
	for _, l := range lags {
		sum += l.Lag
	}
	return sum
}

// want checks that the desk answers each ticket once, completely and in order.
func (g *gappy) want(b *broker.Broker, n int) {
	g.Helper()
	got := 0
	for r, err := range broker.Records(g.Context(), b, "g.desk", 0, broker.Start(), broker.Position{}) {
		if err != nil {
			g.Fatal(err)
		}
		id := fmt.Sprintf(`{"id":"T-%d",`, got)
		if string(r.Header(lineage.JoinStatus)) != lineage.JoinComplete || len(r.Value) < len(id) || string(r.Value[:len(id)]) != id {
			g.Errorf("answer %d is %s %s", got, r.Header(lineage.JoinStatus), r.Value)
		}
		got++
	}
	if got != n {
		g.Errorf("%d tickets are answered, want %d", got, n)
	}
}

// Wherever ends or last records are asked for, aborted transactions and markers
// are not taken for records: when a gather is restored, in lags, in copies, in
// what became of a record.
func TestAbortedTransactionsAreNotTakenForRecords(t *testing.T) {
	g := newGappy(t)
	g.abort()
	first := g.publish(10)
	g.abort()
	g.gather(g.b, time.Hour) // takes them in and cannot answer
	g.abort()                // what would have been the first answers
	g.answer(first)
	g.abort()
	g.gather(g.b, time.Millisecond)
	g.want(g.b, 10)

	g.abort()
	second := g.publish(5)
	g.gather(g.b, time.Hour)
	g.abort()
	g.answer(second)
	g.gather(g.b, time.Millisecond)
	g.abort()
	g.want(g.b, 15)
	if lag := g.lag(g.b); lag != 0 {
		t.Errorf("the lag is %d although nothing is left to take", lag)
	}
	last, err := broker.Last(t.Context(), g.b, "g.desk", 0)
	if err != nil || last == nil || last.Header(lineage.JoinOf) == nil {
		t.Errorf("the last answer is %v, %v", last, err)
	}

	events, err := timeline.Of(t.Context(), g.b, "T-3", broker.Position{})
	if err != nil {
		t.Fatal(err)
	}
	what := ""
	for _, e := range events {
		what += e.What + " " + e.Topic + "; "
	}
	if want := "published g.tickets; answered g.moods; gathered g.desk; "; what != want {
		t.Errorf("became of T-3: %s, want %s", what, want)
	}
	g.copied()
}

// copied checks that a copy in the middle of the work goes on elsewhere.
func (g *gappy) copied() {
	g.Helper()
	third := g.publish(3)
	g.abort()
	g.gather(g.b, time.Hour)
	g.abort()
	there, err := brokers.Open(g.Context(), "embedded", brokers.Options{DataDir: g.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		g.Fatal(err)
	}
	defer there.Close()
	copying, err := transfer.Prepare(g.Context(), transfer.Config{From: g.b, To: there, Joins: []transfer.Join{{Of: "g.tickets", To: "g.desk"}}})
	if err != nil {
		g.Fatal(err)
	}
	g.abort() // meanwhile, as of a member that was killed before
	if err := copying.Run(g.Context()); err != nil {
		g.Fatal(err)
	}
	if lag := g.lag(there); lag != 0 {
		g.Errorf("the lag of the copy is %d", lag)
	}
	for i := range third { // offsets have no gaps there
		id := fmt.Appendf(nil, "g.tickets/0/%d/mood", 15+i)
		if _, err := there.Publish(g.Context(), broker.Record{Topic: "g.moods", Value: []byte(`1`), Headers: []broker.Header{{Key: lineage.ID, Value: id}}}); err != nil {
			g.Fatal(err)
		}
	}
	g.gather(there, time.Millisecond)
	g.want(there, 18)
}
