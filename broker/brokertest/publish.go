// SPDX-License-Identifier: Apache-2.0

package brokertest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/test/ledger"
)

func publishProperties() []property {
	return []property{
		{name: "Publish/keeps what a record carries", check: publishRoundTrip},
		{name: "Publish/does not keep the caller's bytes", check: publishCopies},
		{name: "Publish/takes a record at the limit", check: publishAtLimit},
		{name: "Publish/refuses a record over the limit and writes nothing", check: publishOverLimit},
		{name: "Publish/puts equal keys where PartitionOf says", check: publishPartitions},
		{name: "Publish/puts a pinned record where it says", check: publishPinned},
		{name: "Publish/keeps the order of a key", check: publishOrder},
		{name: "Publish/lets time never go back in a partition", check: publishTime},
		{name: "Publish/refuses an unknown topic", check: publishUnknownTopic},
		{name: "Publish/loses nothing of many publishers at once", check: publishConcurrently},
		{name: "Publish/tells where each record went", check: publishPlaces},
	}
}

func publishRoundTrip(s *suite) {
	topic := s.create("tickets", 3)
	everyByte := make([]byte, 256)
	for i := range everyByte {
		everyByte[i] = byte(i)
	}
	sent := []broker.Record{
		{Key: []byte("k"), Value: []byte("v")},
		{},
		{Key: []byte("only a key")},
		{Value: []byte("only a value")},
		{Value: []byte{0}},
		{Key: everyByte, Value: everyByte},
		{Value: []byte("headers"), Headers: []broker.Header{
			{Key: "a", Value: []byte("1")}, {Key: "b"}, {Key: "a", Value: []byte("2")}, {Key: "ключ", Value: everyByte}, {Key: "a", Value: []byte("1")},
		}},
		{Headers: slices.Repeat([]broker.Header{{Key: "h", Value: []byte("many")}}, broker.MaxHeaders)},
		{Value: bytes.Repeat([]byte("a large value "), min(1<<20, s.h.MaxRecordBytes/2)/14)},
	}
	for i := range sent {
		sent[i].Topic, sent[i].Partition, sent[i].Pinned = topic, 1, true
	}
	s.publish(sent...)
	s.publish() // nothing is no error
	for i := range sent {
		// Without a key it goes anywhere.
		anywhere := record(s.create("anywhere", 3), "", strconv.Itoa(i))
		s.publish(anywhere, anywhere)
	}
	if n := len(s.readAll(s.name("anywhere"))); n != 2*len(sent) {
		s.Errorf("published %d records without a key, read %d", 2*len(sent), n)
	}
	got := s.readAll(topic)
	if len(got) != len(sent) {
		s.Fatalf("published %d records, read %d", len(sent), len(got))
	}
	for i := range sent {
		if diff := sameContent(&sent[i], &got[i]); diff != "" {
			s.Errorf("record %d: %s", i, diff)
		}
	}
}

func publishCopies(s *suite) {
	topic := s.create("tickets", 1)
	r := record(topic, "key", "value")
	r.Headers = []broker.Header{{Key: "h", Value: []byte("header")}}
	s.publish(r)
	for _, b := range [][]byte{r.Key, r.Value, r.Headers[0].Value} {
		clear(b)
	}
	got := s.readAll(topic)
	if len(got) != 1 || string(got[0].Key) != "key" || string(got[0].Value) != "value" || string(got[0].Header("h")) != "header" {
		s.Fatalf("the record changed with the caller's bytes: %+v", got)
	}
}

// recordOfSize has exactly that Size, spread over key, value and a header.
func recordOfSize(topic string, size int) broker.Record {
	r := record(topic, "the-key", "")
	r.Headers = []broker.Header{{Key: "name", Value: []byte("value")}}
	r.Value = bytes.Repeat([]byte{'x'}, size-r.Size())
	return r
}

func publishAtLimit(s *suite) {
	topic := s.create("tickets", 2)
	sent := recordOfSize(topic, s.h.MaxRecordBytes)
	s.publish(sent)
	got := s.readAll(topic)
	if len(got) != 1 {
		s.Fatalf("read %d records, want 1", len(got))
	}
	if diff := sameContent(&sent, &got[0]); diff != "" {
		s.Error(diff)
	}
}

func publishOverLimit(s *suite) {
	topic := s.create("tickets", 2)
	records := []broker.Record{
		record(topic, "a", "small"),
		recordOfSize(topic, s.h.MaxRecordBytes+1),
		record(topic, "b", "small"),
	}
	s.mustFail("publish a record over the limit", broker.ErrTooLarge, func(ctx context.Context) error {
		_, err := s.client.Publish(ctx, records...)
		return err
	})
	s.wantValues("after a refused publish", s.readAll(topic))
	s.publish(records[0], records[2])
	if n := len(s.readAll(topic)); n != 2 {
		s.Fatalf("read %d records after the next publish, want 2", n)
	}
}

func publishPartitions(s *suite) {
	const partitions, keys = 7, 50
	topic := s.create("tickets", partitions)
	var records []broker.Record
	for i := range keys {
		records = append(records, record(topic, fmt.Sprintf("customer-%d", i), "v"))
	}
	s.publish(records...)
	s.publish(records...)
	got := s.readAll(topic)
	if len(got) != 2*keys {
		s.Fatalf("published %d records, read %d", 2*keys, len(got))
	}
	for i := range got {
		if want := broker.PartitionOf(got[i].Key, partitions); got[i].Partition != want {
			s.Fatalf("key %q is in partition %d, PartitionOf says %d", got[i].Key, got[i].Partition, want)
		}
	}
}

func publishPinned(s *suite) {
	const partitions = 5
	topic := s.create("tickets", partitions)
	key := []byte("customer")
	for p := range int32(partitions) {
		s.publish(broker.Record{Topic: topic, Partition: p, Pinned: true, Key: key, Value: []byte(strconv.Itoa(int(p)))})
	}
	s.publish(pinned(topic, 3, "3"))
	for _, r := range s.readAll(topic) {
		if want := strconv.Itoa(int(r.Partition)); string(r.Value) != want {
			s.Errorf("a record pinned to partition %s is in partition %s", r.Value, want)
		}
	}
	s.mustFail("publish to a partition that does not exist", nil, func(ctx context.Context) error {
		_, err := s.client.Publish(ctx, pinned(topic, partitions, "x"))
		return err
	})
	s.mustFail("publish to a negative partition", nil, func(ctx context.Context) error {
		_, err := s.client.Publish(ctx, pinned(topic, -1, "x"))
		return err
	})
	if n := len(s.readAll(topic)); n != partitions+1 {
		s.Errorf("read %d records, want %d", n, partitions+1)
	}
}

func publishOrder(s *suite) {
	topic := s.create("tickets", 4)
	var sent ledger.Ledger
	for range 5 {
		var records []broker.Record
		for i := range 300 {
			records = append(records, issue(&sent, topic, fmt.Sprintf("customer-%d", i%7)))
		}
		s.publish(records...)
		acknowledge(&sent, records)
	}
	s.wantOnce(&sent, topic)
}

func publishTime(s *suite) {
	topic := s.create("tickets", 2)
	before := time.Now()
	for i := range 40 {
		s.publish(pinned(topic, int32(i%2), "a"), pinned(topic, int32(i%2), "b"))
	}
	after := time.Now()
	const clockSkew = time.Minute // a broker may have another clock
	for _, r := range s.readAll(topic) {
		if r.Time.Before(before.Add(-clockSkew)) || r.Time.After(after.Add(clockSkew)) {
			s.Fatalf("record %v was appended at %v, but has the time %v", r.Place(), after, r.Time)
		}
	}
}

func publishUnknownTopic(s *suite) {
	known, unknown := s.create("tickets", 1), s.name("nowhere")
	s.mustFail("publish to an unknown topic", broker.ErrUnknownTopic, func(ctx context.Context) error {
		_, err := s.client.Publish(ctx, record(unknown, "k", "v"))
		return err
	})
	if _, exists := s.topics()[unknown]; exists {
		s.Error("publishing to an unknown topic created it")
	}
	s.publish(record(known, "k", "v"))
}

func publishConcurrently(s *suite) {
	topic := s.create("tickets", 4)
	var sent ledger.Ledger
	s.publishNumbered(&sent, topic, 8, long(50))
	s.wantOnce(&sent, topic)
}

// publishNumbered publishes rounds of numbered records from several goroutines,
// each with keys of its own.
func (s *suite) publishNumbered(sent *ledger.Ledger, topic string, publishers, rounds int) {
	s.Helper()
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for range rounds {
				records := []broker.Record{
					issue(sent, topic, fmt.Sprintf("key-%d-a", p)),
					issue(sent, topic, fmt.Sprintf("key-%d-b", p)),
					issue(sent, topic, fmt.Sprintf("key-%d-a", p)),
				}
				ctx, cancel := s.bounded()
				_, err := s.client.Publish(ctx, records...)
				cancel()
				if err != nil {
					s.Errorf("publish: %v", err)
					return
				}
				acknowledge(sent, records)
			}
		})
	}
	wg.Wait()
}

// issue makes a record that carries the key's next number.
func issue(l *ledger.Ledger, topic, key string) broker.Record {
	return record(topic, key, strconv.FormatInt(l.Issue(key), 10))
}

func acknowledge(l *ledger.Ledger, records []broker.Record) {
	for i := range records {
		l.Acknowledge(string(records[i].Key), number(&records[i]))
	}
}

// number is the number of a record that issue made; 0 if it has none.
func number(r *broker.Record) int64 {
	n, _ := strconv.ParseInt(string(r.Value), 10, 64)
	return n
}

// wantOnce fails unless the topic has every acknowledged record once and in
// order.
func (s *suite) wantOnce(sent *ledger.Ledger, topic string) {
	s.Helper()
	for _, r := range s.readAll(topic) {
		sent.See(topic, string(r.Key), number(&r), r.Place())
	}
	if err := sent.Audit(topic).Err(); err != nil {
		s.Fatal(err)
	}
}

func publishPlaces(s *suite) {
	one, two := s.create("one", 3), s.create("two", 1)
	s.publish(pinned(one, 2, "before"))
	var records []broker.Record
	for i := range 20 {
		records = append(records, record(one, fmt.Sprintf("key-%d", i), fmt.Sprintf("one-%d", i)), record(two, "", fmt.Sprintf("two-%d", i)))
	}
	places := s.publish(records...)
	if len(places) != len(records) {
		s.Fatalf("%d records were published, and %d places returned", len(records), len(places))
	}
	there := map[broker.Place]string{}
	for _, r := range append(s.readAll(one), s.readAll(two)...) {
		there[broker.Place{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}] = string(r.Value)
	}
	for i, place := range places {
		if there[place] != string(records[i].Value) {
			s.Fatalf("record %d was said to be at %v, where %q is: %q", i, place, there[place], records[i].Value)
		}
	}
}
