// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/test/servers/proxy"
)

// Franz-go gives up all records of a partition when the context of the first one
// ends.
func TestAPublisherThatGivesUpTakesNoOtherWithIt(t *testing.T) {
	t.Parallel()
	d := newDesk(t, node(t).URL(), 2)
	b, p := cutOff(t)
	record := func(partition int32, value string) broker.Record {
		return broker.Record{Topic: d.out, Partition: partition, Pinned: true, Value: []byte(value)}
	}
	if _, err := b.Publish(t.Context(), record(0, "0"), record(1, "before")); err != nil {
		t.Fatal(err)
	}
	p.Set(proxy.Faults{Refuse: true})
	giveUp := func(r ...broker.Record) {
		impatient, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, err := b.Publish(impatient, r...); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the one that gives up: %v", err)
		}
	}
	giveUp(record(0, "0")) // may go into the connection that is no more
	var first sync.WaitGroup
	first.Go(func() { giveUp(record(1, "given up"), record(1, "given up, too")) })
	for b.Driver().(*driver).client.BufferedProduceRecords() < 2 { // until it is the first
		time.Sleep(time.Millisecond)
	}
	waits := make(chan error, 1)
	go func() {
		_, err := b.Publish(t.Context(), record(1, "waits"))
		waits <- err
	}()
	first.Wait()
	select {
	case err := <-waits:
		t.Fatalf("the other one got %v while no server could be reached", err)
	case <-time.After(time.Second): // franz-go gives up what it can within this
	}
	p.Set(proxy.Faults{})
	if err := <-waits; err != nil {
		t.Errorf("the other one: %v", err)
	}
	var got []string
	for r, err := range broker.Records(t.Context(), d.b, d.out, 1, broker.Start(), broker.Position{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(r.Value))
	}
	if !slices.Equal(got, []string{"before", "waits"}) {
		t.Errorf("published were %q", got)
	}
}

// A topic that was known is looked for a while when it is gone, and then not any
// more.
func TestATopicThatWasDeletedIsUnknown(t *testing.T) {
	t.Parallel()
	d := newDesk(t, node(t).URL(), 1)
	d.publish("a")
	if _, err := d.b.Driver().(*driver).admin.DeleteTopics(t.Context(), d.in); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	publish := func() error {
		_, err := d.b.Publish(ctx, broker.Record{Topic: d.in, Pinned: true, Value: []byte("b")})
		return err
	}
	err := publish()
	for err == nil { // it goes a little later
		err = publish()
	}
	for range 2 {
		if !errors.Is(err, broker.ErrUnknownTopic) {
			t.Fatalf("publish to a topic that was deleted: %v, want an error that is %q", err, broker.ErrUnknownTopic)
		}
		err = publish()
	}
	began := time.Now()
	if err := publish(); !errors.Is(err, broker.ErrUnknownTopic) || time.Since(began) > decision/2 {
		t.Errorf("after that publish took %v and returned %v", time.Since(began), err)
	}
	if _, err := d.b.Publish(ctx, broker.Record{Value: []byte("b")}); !errors.Is(err, broker.ErrUnknownTopic) {
		t.Errorf("publish to no topic: %v", err)
	}
}
