// SPDX-License-Identifier: Apache-2.0

package brokertest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

func pollProperties() []property {
	return []property{
		{name: "Poll/returns each partition in order", check: pollInOrder},
		{name: "Poll/returns at most Want.Records", check: pollRecords},
		{name: "Poll/returns about Want.Bytes", check: pollBytes},
		{name: "Poll/returns one record however large", check: pollHuge},
		{name: "Poll/waits for more as long as Want.Wait", check: pollWait},
		{name: "Poll/stops waiting when it has enough", check: pollWaitEnds},
		{name: "Poll/takes nothing from paused partitions", check: pollPause},
		{name: "Poll/blocks until there is a record", check: pollBlocks},
		{name: "Poll/skips nothing when its context ends", check: pollCancelled},
		{name: "Poll/skips nothing when its context ends while it waits", check: pollCancelledWait},
		{name: "Poll/returns the oldest record of all topics first", check: pollOldestFirst},
		{name: "Poll/returns bytes that stay as they are", check: pollBytesStay},
		{name: "Poll/tells the backlog", check: pollBacklog},
	}
}

func pollInOrder(s *suite) {
	topic := s.create("tickets", 3)
	var records []broker.Record
	for p := range int32(3) {
		records = append(records, sequence(topic, p, string('a'+p), 100)...)
	}
	s.publish(records...)
	m := s.join(s.name("g"), broker.Start(), topic)
	var got []broker.Record
	for len(got) < len(records) {
		batch := m.poll(broker.Want{Records: 7})
		m.settle()
		got = append(got, batch...)
	}
	if err := checkPlaces(topic, got); err != nil {
		s.Fatal(err)
	}
	slices.SortStableFunc(got, func(a, b broker.Record) int { return int(a.Partition - b.Partition) })
	s.wantValues("polled", got, values(records)...)
}

func pollRecords(s *suite) {
	topic := s.create("tickets", 2)
	s.publish(append(sequence(topic, 0, "a", 1500), sequence(topic, 1, "b", 1500)...)...)
	m := s.join(s.name("g"), broker.Start(), topic)
	for _, most := range []int{1, 2, 100, 1024, 2000} {
		if n := len(m.poll(broker.Want{Records: most})); n > most {
			s.Errorf("Poll returned %d records, Want.Records is %d", n, most)
		}
		m.Rewind()
	}
	if n := len(m.poll(broker.Want{})); n > 1024 {
		s.Errorf("Poll returned %d records, the default is 1024", n)
	}
}

func pollBytes(s *suite) {
	topic := s.create("tickets", 1)
	const size, count = 1000, 50
	for range count {
		s.publish(pinned(topic, 0, strings.Repeat("x", size)))
	}
	m := s.join(s.name("g"), broker.Start(), topic)
	for got := 0; got < count; {
		n := len(m.poll(broker.Want{Bytes: 10 * size}))
		if n > 11 { // about: the record that crosses the line may be in
			s.Fatalf("Poll returned %d bytes, Want.Bytes is %d", n*size, 10*size)
		}
		m.settle()
		got += n
	}
}

func pollHuge(s *suite) {
	topic := s.create("tickets", 1)
	huge := string(bytes.Repeat([]byte{'x'}, min(1<<20, s.h.MaxRecordBytes)))
	s.publish(pinned(topic, 0, "before"), pinned(topic, 0, huge), pinned(topic, 0, "after"))
	m := s.join(s.name("g"), broker.Start(), topic)
	var got []broker.Record
	for len(got) < 3 {
		got = append(got, m.poll(broker.Want{Bytes: 100})...)
		m.settle()
	}
	s.wantValues("polled", got, "before", huge, "after")
}

func pollWait(s *suite) {
	topic := s.create("tickets", 2)
	s.publish(pinned(topic, 0, "first"))
	m := s.join(s.name("g"), broker.Start(), topic)
	done := make(chan nextResult, 1)
	go func() {
		records, err := m.tryPoll(broker.Want{Records: 3, Wait: s.h.Patience / 2}, s.h.Patience)
		done <- nextResult{records, err}
	}()
	settleDown()
	s.publish(pinned(topic, 1, "second"))
	settleDown()
	s.publish(pinned(topic, 0, "third"))
	got := <-done
	if got.err != nil {
		s.Fatalf("poll: %v", got.err)
	}
	if len(got.records) != 3 {
		s.Errorf("Poll waited for more, but returned %d records, want 3", len(got.records))
	}
	m.settle()

	const wait = 60 * time.Millisecond
	s.publish(pinned(topic, 0, "alone"))
	began := time.Now()
	s.wantValues("when nothing more comes", m.poll(broker.Want{Wait: wait}), "alone")
	if took := time.Since(began); took < wait {
		s.Errorf("Poll returned a batch that was not full after %v, Want.Wait is %v", took, wait)
	}
}

func pollWaitEnds(s *suite) {
	topic := s.create("tickets", 1)
	s.publish(sequence(topic, 0, "v", 10)...)
	m := s.join(s.name("g"), broker.Start(), topic)
	got, err := m.tryPoll(broker.Want{Records: 10, Wait: time.Hour}, s.h.Patience)
	if err != nil {
		s.Fatalf("Poll waits for more than it may return: %v", err)
	}
	s.wantValues("polled", got, values(sequence(topic, 0, "v", 10))...)
}

func pollPause(s *suite) {
	a, b := s.create("a", 2), s.create("b", 2)
	s.publish(pinned(a, 0, "a0"), pinned(a, 1, "a1"), pinned(b, 0, "b0"), pinned(b, 1, "b1"))
	m := s.join(s.name("g"), broker.Start(), a, b)
	// All but one: what comes is the one, and then the next.
	partitions := []broker.TopicPartition{{Topic: b, Partition: 1}, {Topic: a, Partition: 0}, {Topic: b, Partition: 0}, {Topic: a, Partition: 1}}
	for i, want := range []string{"b1", "a0", "b0", "a1"} {
		paused := slices.Delete(slices.Clone(partitions), i, i+1)
		s.wantValues("with the others paused", m.poll(broker.Want{Pause: paused}), want)
		m.settle()
	}
	s.publish(pinned(a, 0, "more"), pinned(b, 0, "last"))
	s.wantValues("with one paused", m.poll(broker.Want{Pause: []broker.TopicPartition{{Topic: a, Partition: 0}}}), "last")
	m.settle()
	s.wantValues("with none paused", m.poll(broker.Want{}), "more")
}

func pollBlocks(s *suite) {
	topic := s.create("tickets", 2)
	m := s.join(s.name("g"), broker.Start(), topic)
	for _, p := range []int32{0, 1, 1, 0} {
		done := make(chan nextResult, 1)
		go func() {
			records, err := m.tryPoll(broker.Want{}, s.h.Patience)
			done <- nextResult{records, err}
		}()
		settleDown()
		s.publish(pinned(topic, p, "v"))
		got := <-done
		if got.err != nil {
			s.Fatalf("Poll was not woken by a publish: %v", got.err)
		}
		s.wantValues("what came", got.records, "v")
		m.settle()
	}
}

func pollCancelled(s *suite) {
	topic := s.create("tickets", 1)
	m := s.join(s.name("g"), broker.Start(), topic)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		_, err := m.Poll(ctx, broker.Want{})
		done <- err
	}()
	settleDown()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		s.Fatalf("Poll returned %v when its context ended", err)
	}
	s.publish(pinned(topic, 0, "a"), pinned(topic, 0, "b"))
	s.wantValues("after a context ended", m.poll(broker.Want{Records: 1}), "a")
	m.settle()
	if records, err := m.Poll(ctx, broker.Want{}); !errors.Is(err, context.Canceled) || records != nil {
		s.Fatalf("Poll with an ended context returned %v and %v", records, err)
	}
	s.wantValues("after a context ended", m.poll(broker.Want{}), "b")
}

func pollCancelledWait(s *suite) {
	topic := s.create("tickets", 1)
	s.publish(pinned(topic, 0, "a"))
	m := s.join(s.name("g"), broker.Start(), topic)
	records, err := m.tryPoll(broker.Want{Wait: time.Hour}, 50*time.Millisecond)
	if !errors.Is(err, context.DeadlineExceeded) || records != nil {
		s.Fatalf("Poll returned %d records and %v when its context ended while it waited", len(records), err)
	}
	s.wantValues("after a context ended", m.poll(broker.Want{}), "a")
}

func pollOldestFirst(s *suite) {
	topics := []string{s.create("a", 1), s.create("b", 1), s.create("c", 1)}
	var want []string
	for i, order := range []int{2, 0, 1, 1, 2, 0} {
		value := string(rune('0' + i))
		s.publish(pinned(topics[order], 0, value))
		published := s.read(topics[order], 0, broker.Start(), broker.Position{})
		s.waitPast(published[len(published)-1].Time)
		want = append(want, value)
	}
	m := s.join(s.name("g"), broker.Start(), topics...)
	whole := broker.Want{Records: len(want), Wait: s.h.Patience / 2}
	s.wantValues("three topics in one batch", m.poll(whole), want...)
	m.Rewind() // now the broker has them all at hand
	for _, value := range want {
		s.wantValues("three topics one by one", m.poll(broker.Want{Records: 1}), value)
		m.settle()
	}
}

// waitPast waits until the broker's clock has passed t, so that the next record
// is a later one in any topic.
func (s *suite) waitPast(t time.Time) {
	s.Helper()
	clock := s.create("clock", 1)
	s.eventually("the broker's clock advances", func() bool {
		s.publish(pinned(clock, 0, "tick"))
		ticks := s.readAll(clock)
		return ticks[len(ticks)-1].Time.After(t)
	})
}

// Records may be kept while others are polled and read.
func pollBytesStay(s *suite) {
	topic := s.create("tickets", 1)
	var want []string
	for i := range 60 {
		want = append(want, strings.Repeat(string(rune('a'+i%26)), 100+i))
	}
	for _, v := range want {
		r := pinned(topic, 0, v)
		r.Key, r.Headers = []byte(v), []broker.Header{{Key: "h", Value: []byte(v)}}
		s.publish(r)
	}
	m := s.join(s.name("g"), broker.Start(), topic)
	r := s.open(topic, 0, broker.Start(), broker.End())
	var polled, read []broker.Record
	for len(polled) < len(want) {
		polled = append(polled, m.poll(broker.Want{Records: 7})...)
		m.settle()
	}
	for len(read) < len(want) {
		read = append(read, s.next(r, 7)...)
	}
	for what, records := range map[string][]broker.Record{"polled": polled, "read": read} {
		s.wantValues(what, records, want...)
		for i := range records {
			if string(records[i].Key) != want[i] || string(records[i].Header("h")) != want[i] {
				s.Fatalf("%s: key or header of record %d became %q, %q", what, i, records[i].Key, records[i].Header("h"))
			}
		}
	}
}

func pollBacklog(s *suite) {
	topic := s.create("tickets", 2)
	s.publish(append(sequence(topic, 0, "a", 5), sequence(topic, 1, "b", 5)...)...)
	m := s.join(s.name("g"), broker.Start(), topic)
	got := 0
	for got < 10 {
		batch := m.batch(broker.Want{Records: 2})
		got += len(batch.Records)
		if left := int64(10 - got); batch.Backlog > left || batch.Backlog == 0 && left > 0 {
			s.Fatalf("%d records are left to poll, and the backlog is %d", left, batch.Backlog)
		}
		for _, r := range batch.Records {
			if r.Time.Before(batch.Oldest()) {
				s.Fatalf("record %v is of %v, and the oldest of its batch of %v", r.Place(), r.Time, batch.Oldest())
			}
		}
	}
}
