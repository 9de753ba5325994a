// SPDX-License-Identifier: Apache-2.0

package brokertest

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

func readProperties() []property {
	return []property{
		{name: "Read/begins and ends where it says", check: readRanges},
		{name: "Read/finds records by time", check: readByTime},
		{name: "Read/reads all partitions", check: readAllPartitions},
		{name: "Read/ends where the topic ended when it began", check: readEndStands},
		{name: "Read/returns at most max records", check: readMax},
		{name: "Read/waits for more when it is for ever", check: readForever},
		{name: "Read/loses nothing when its context ends", check: readCancelled},
		{name: "Read/refuses an unknown topic", check: readUnknownTopic},
	}
}

func readRanges(s *suite) {
	topic := s.create("tickets", 2)
	s.publish(sequence(topic, 1, "v", 10)...)
	all := s.read(topic, 1, broker.Start(), broker.End())
	if len(all) != 10 {
		s.Fatalf("read %d records from start to end, want 10", len(all))
	}
	v := values(all)
	at := func(i int) broker.Position { return broker.Offset(all[i].Offset) }
	beyond := broker.Offset(all[9].Offset + 1000)
	for _, c := range []struct {
		what     string
		from, to broker.Position
		want     []string
	}{
		{"from start", broker.Start(), broker.Position{}, v},
		{"from an offset", at(4), broker.Position{}, v[4:]},
		{"to an offset", broker.Start(), at(6), v[:6]},
		{"from an offset to an offset", at(2), at(5), v[2:5]},
		{"one record", at(2), at(3), v[2:3]},
		{"nothing", at(2), at(2), nil},
		{"from a later to an earlier offset", at(5), at(2), nil},
		{"from end", broker.End(), broker.Position{}, nil},
		{"from beyond the end", beyond, broker.Position{}, nil},
		{"to beyond the end", at(8), beyond, v[8:]},
		{"to start", broker.Start(), broker.Start(), nil},
	} {
		s.wantValues("read "+c.what, s.read(topic, 1, c.from, c.to), c.want...)
	}
	s.wantValues("read the empty partition", s.read(topic, 0, broker.Start(), broker.Position{}))
}

// publishLater publishes records until one has a later time than the topic's
// last, and returns that one.
func (s *suite) publishLater(topic string, partition int32, value string) broker.Record {
	s.Helper()
	before := s.read(topic, partition, broker.Start(), broker.Position{})
	var last broker.Record
	s.eventually("the broker's clock advances", func() bool {
		s.publish(pinned(topic, partition, value))
		now := s.read(topic, partition, broker.Start(), broker.Position{})
		last = now[len(now)-1]
		return len(before) == 0 || last.Time.After(before[len(before)-1].Time)
	})
	return last
}

func readByTime(s *suite) {
	topic := s.create("tickets", 1)
	s.publish(pinned(topic, 0, "early"))
	middle := s.publishLater(topic, 0, "middle")
	s.publishLater(topic, 0, "late")
	all := s.readAll(topic)
	// Several records may have been published for one that is later, and
	// several may have one time: the range is told by the records' own times.
	cut := slices.IndexFunc(all, func(r broker.Record) bool { return !r.Time.Before(middle.Time) })
	s.wantValues("read from a time", s.read(topic, 0, broker.At(middle.Time), broker.Position{}), values(all[cut:])...)
	s.wantValues("read to a time", s.read(topic, 0, broker.Start(), broker.At(middle.Time)), values(all[:cut])...)
	longAgo := broker.At(middle.Time.Add(-24 * time.Hour))
	s.wantValues("read from long ago", s.read(topic, 0, longAgo, broker.Position{}), values(all)...)
	for _, future := range []time.Time{middle.Time.Add(24 * time.Hour), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)} {
		s.wantValues("read from the future", s.read(topic, 0, broker.At(future), broker.Position{}))
		s.wantValues("read to the future", s.read(topic, 0, broker.Start(), broker.At(future)), values(all)...)
	}
}

func readAllPartitions(s *suite) {
	topic := s.create("tickets", 3)
	var want []string
	for p := range int32(3) {
		records := sequence(topic, p, string('a'+p), 20)
		s.publish(records...)
		want = append(want, values(records)...)
	}
	s.wantValues("read all partitions", s.readAll(topic), want...)
	s.mustFail("read a partition that does not exist", nil, func(ctx context.Context) error {
		_, err := s.client.Read(ctx, topic, 3, broker.Start(), broker.Position{})
		return err
	})
}

// next reads from an open reader; the call must succeed.
func (s *suite) next(r *broker.Reader, most int) []broker.Record {
	s.Helper()
	var records []broker.Record
	s.do("next", func(ctx context.Context) (err error) {
		records, err = r.Next(ctx, most)
		return err
	})
	if len(records) == 0 {
		s.Fatal("Next returned neither a record nor an error")
	}
	return records
}

// open begins a read that ends with the test.
func (s *suite) open(topic string, partition int32, from, to broker.Position) *broker.Reader {
	s.Helper()
	var r *broker.Reader
	s.do("read "+topic, func(ctx context.Context) (err error) {
		r, err = s.client.Read(ctx, topic, partition, from, to)
		return err
	})
	s.Cleanup(func() { _ = r.Close() })
	return r
}

func readEndStands(s *suite) {
	for _, to := range []broker.Position{{}, broker.End()} {
		topic := s.create("tickets"+to.String(), 2)
		s.publish(pinned(topic, 0, "a"), pinned(topic, 0, "b"))
		r := s.open(topic, broker.AllPartitions, broker.Start(), to)
		s.publish(pinned(topic, 0, "too late"), pinned(topic, 1, "too late"))
		var got []broker.Record
		for len(got) < 2 {
			got = append(got, s.next(r, 0)...)
		}
		s.wantValues("before the end", got, "a", "b")
		for range 2 {
			s.mustFail("next at the end", io.EOF, func(ctx context.Context) error {
				_, err := r.Next(ctx, 0)
				return err
			})
		}
	}
}

func readMax(s *suite) {
	topic := s.create("tickets", 2)
	s.publish(append(sequence(topic, 0, "a", 10), sequence(topic, 1, "b", 10)...)...)
	r := s.open(topic, broker.AllPartitions, broker.Start(), broker.End())
	for got := 0; got < 20; {
		records := s.next(r, 3)
		if len(records) > 3 {
			s.Fatalf("Next(3) returned %d records", len(records))
		}
		got += len(records)
	}
}

// nextResult is what a blocked call returned.
type nextResult struct {
	records []broker.Record
	err     error
}

func readForever(s *suite) {
	topic := s.create("tickets", 2)
	s.publish(pinned(topic, 0, "old"))
	r := s.open(topic, broker.AllPartitions, broker.Start(), broker.Forever())
	s.wantValues("what is there", s.next(r, 0), "old")
	for _, p := range []int32{1, 0, 0, 1} {
		done := make(chan nextResult, 1)
		go func() {
			ctx, cancel := s.bounded()
			defer cancel()
			records, err := r.Next(ctx, 0)
			done <- nextResult{records, err}
		}()
		settleDown()
		s.publish(pinned(topic, p, "new"))
		got := <-done
		if got.err != nil {
			s.Fatalf("a reader was not woken by a publish: %v", got.err)
		}
		s.wantValues("what came", got.records, "new")
	}
}

func readCancelled(s *suite) {
	topic := s.create("tickets", 1)
	r := s.open(topic, 0, broker.Start(), broker.Forever())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		_, err := r.Next(ctx, 0)
		done <- err
	}()
	settleDown()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		s.Fatalf("next returned %v when its context ended", err)
	}
	s.publish(pinned(topic, 0, "a"), pinned(topic, 0, "b"))
	if records, err := r.Next(ctx, 0); !errors.Is(err, context.Canceled) || len(records) > 0 {
		s.Fatalf("next with an ended context returned %d records and %v", len(records), err)
	}
	s.wantValues("after a context ended", s.next(r, 1), "a")
	s.wantValues("after a context ended", s.next(r, 1), "b")
}

func readUnknownTopic(s *suite) {
	s.mustFail("read an unknown topic", broker.ErrUnknownTopic, func(ctx context.Context) error {
		_, err := s.client.Read(ctx, s.name("nowhere"), broker.AllPartitions, broker.Start(), broker.Position{})
		return err
	})
}
