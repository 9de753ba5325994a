// SPDX-License-Identifier: Apache-2.0

package brokertest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/test/ledger"
)

func settleProperties() []property {
	return []property{
		{name: "Settle/publishes the results and moves the group", check: settleBoth},
		{name: "Settle/moves past the polled batch only", check: settlePolledOnly},
		{name: "Settle/puts results where Publish would", check: settlePartitions},
		{name: "Settle/shows results and positions together", check: settleObserved},
		{name: "Settle/publishes without a batch", check: settleWithoutBatch},
		{name: "Settle/leaves the batch open when a result is too large", check: settleTooLarge},
		{name: "Settle/leaves the batch open when a topic is unknown", check: settleUnknownTopic},
		{name: "Settle/takes place once when it is called again", check: settleCancelled},
		{name: "Settle/is found out about by Rewind when it was cancelled", check: settleCancelledRewind},
		{name: "Settle/publishes tens of thousands of results", check: settleLarge},
		{name: "Rewind/returns the same records again", check: rewindRepeats},
		{name: "Close/forgets the batch", check: closeForgetsBatch},
	}
}

func settleBoth(s *suite) {
	in, out, other := s.create("in", 2), s.create("out", 2), s.create("other", 1)
	group := s.name("g")
	s.publish(append(sequence(in, 0, "a", 3), sequence(in, 1, "b", 3)...)...)
	m := s.join(group, broker.Start(), in)
	for got := 0; got < 6; {
		batch := m.poll(broker.Want{Records: 2})
		got += len(batch)
		m.settle(append(answers(out, batch), pinned(other, 0, strconv.Itoa(len(batch))))...)
		if lag := s.totalLag(group, in); lag != int64(6-got) {
			s.Fatalf("after settling %d of 6 records the lag is %d", got, lag)
		}
		if n := len(s.readAll(out)); n != got {
			s.Fatalf("after settling %d results the topic has %d", got, n)
		}
	}
	s.wantValues("results", s.readAll(out), "a0", "a1", "a2", "b0", "b1", "b2")
	total := 0
	for _, v := range values(s.readAll(other)) {
		n, _ := strconv.Atoi(v)
		total += n
	}
	if total != 6 {
		s.Errorf("the other topic's results tell of %d records, want 6", total)
	}
	m.leave()
	s.publish(pinned(in, 1, "next"))
	m = s.join(group, broker.Start(), in)
	s.wantValues("after joining again", m.poll(broker.Want{}), "next")
}

func settlePolledOnly(s *suite) {
	in := s.create("in", 1)
	s.publish(pinned(in, 0, "a"))
	m := s.join(s.name("g"), broker.Start(), in)
	m.poll(broker.Want{})
	s.publish(pinned(in, 0, "while the model ran"))
	m.settle(pinned(in, 0, "a result into the same topic"))
	s.wantValues("after the settle", m.pollAll(2), "while the model ran", "a result into the same topic")
}

func settlePartitions(s *suite) {
	in, out := s.create("in", 1), s.create("out", 5)
	s.publish(pinned(in, 0, "a"))
	m := s.join(s.name("g"), broker.Start(), in)
	m.poll(broker.Want{})
	var results []broker.Record
	for i := range 40 {
		results = append(results, record(out, fmt.Sprintf("key-%d", i%20), strconv.Itoa(i/20)))
	}
	results = append(results, pinned(out, 4, "pinned"))
	m.settle(results...)
	got := s.readAll(out)
	if len(got) != len(results) {
		s.Fatalf("settled %d results, read %d", len(results), len(got))
	}
	last := make(map[string]string)
	for i := range got {
		r := &got[i]
		want := int32(4)
		if len(r.Key) > 0 {
			want = broker.PartitionOf(r.Key, 5)
			if before := last[string(r.Key)]; before > string(r.Value) {
				s.Errorf("key %q: %s comes after %s", r.Key, r.Value, before)
			}
			last[string(r.Key)] = string(r.Value)
		}
		if r.Partition != want {
			s.Errorf("result with key %q is in partition %d, want %d", r.Key, r.Partition, want)
		}
	}
}

// Whoever looks while a service settles never sees a result whose input is not
// settled, nor a settled input without its result.
func settleObserved(s *suite) {
	in, out, group := s.create("in", 1), s.create("out", 1), s.name("g")
	records := sequence(in, 0, "v", long(200))
	s.publish(records...)
	m := s.join(group, broker.Start(), in)
	ctx, stop := context.WithCancel(context.Background())
	var observer sync.WaitGroup
	defer observer.Wait()
	defer stop()
	observer.Go(func() {
		for ctx.Err() == nil {
			if err := s.observe(group, out, len(records)); err != nil {
				s.Error(err)
				return
			}
		}
	})
	for got := 0; got < len(records); {
		batch := m.poll(broker.Want{Records: 2})
		m.settle(answers(out, batch)...)
		got += len(batch)
	}
}

// observe compares positions and results, read one after the other in both
// ways: what is read later may only be further.
func (s *suite) observe(group, out string, total int) error {
	settled := func() (int, error) {
		ctx, cancel := s.bounded()
		defer cancel()
		lags, err := s.client.Lag(ctx, group)
		n := total
		for _, l := range lags {
			n -= int(l.Lag)
		}
		return n, err
	}
	results := func() (int, error) {
		records, err := s.readFrom(s.client, out, broker.AllPartitions, broker.Start(), broker.Position{})
		return len(records), err
	}
	before, err := settled()
	if err != nil {
		return err
	}
	shown, err := results()
	if err != nil {
		return err
	}
	if shown < before {
		return fmt.Errorf("the group was past %d records, but then there were only %d results", before, shown)
	}
	after, err := settled()
	if err != nil {
		return err
	}
	if after < shown {
		return fmt.Errorf("there were %d results, but then the group was only past %d records", shown, after)
	}
	return nil
}

func settleWithoutBatch(s *suite) {
	in, out, group := s.create("in", 1), s.create("out", 1), s.name("g")
	m := s.join(group, broker.Start(), in)
	m.settle(pinned(out, 0, "before any poll"))
	m.settle()
	s.publish(pinned(in, 0, "a"), pinned(in, 0, "b"))
	s.wantValues("the first batch", m.poll(broker.Want{Records: 1}), "a")
	m.settle()
	m.settle(pinned(out, 0, "between batches"))
	if lag := s.totalLag(group, in); lag != 1 {
		s.Errorf("settling without a batch moved the group: the lag is %d, want 1", lag)
	}
	s.wantValues("the next batch", m.poll(broker.Want{}), "b")
	s.wantValues("results", s.readAll(out), "before any poll", "between batches")
}

func settleTooLarge(s *suite) {
	s.refusedSettle(broker.ErrTooLarge, func(out string) broker.Record { return recordOfSize(out, s.h.MaxRecordBytes+1) })
}

func settleUnknownTopic(s *suite) {
	s.refusedSettle(broker.ErrUnknownTopic, func(string) broker.Record { return record(s.name("nowhere"), "k", "v") })
}

func (s *suite) refusedSettle(target error, bad func(out string) broker.Record) {
	in, out, group := s.create("in", 1), s.create("out", 1), s.name("g")
	s.publish(pinned(in, 0, "a"), pinned(in, 0, "b"))
	m := s.join(group, broker.Start(), in)
	s.wantValues("the first batch", m.poll(broker.Want{Records: 1}), "a")
	good := pinned(out, 0, "result")
	for range 2 {
		s.mustFail("settle with a bad result", target, func(ctx context.Context) error {
			return m.Settle(ctx, good, bad(out), good)
		})
		s.wantValues("after a refused settle", s.readAll(out))
		if lag := s.totalLag(group, in); lag != 2 {
			s.Fatalf("a refused settle moved the group: the lag is %d, want 2", lag)
		}
	}
	m.settle(good)
	s.wantValues("results", s.readAll(out), "result")
	if lag := s.totalLag(group, in); lag != 1 {
		s.Errorf("the batch was not open after a refused settle: the lag is %d, want 1", lag)
	}
	s.wantValues("the next batch", m.poll(broker.Want{}), "b")
}

// A settle whose context has ended may or may not have taken place; called
// again with the same results it has taken place once.
func settleCancelled(s *suite) {
	in, out, group := s.create("in", 1), s.create("out", 1), s.name("g")
	m := s.join(group, broker.Start(), in)
	took := m.howLong(in, out)
	const rounds = 10
	s.publish(sequence(in, 0, "v", rounds)...)
	for round := range rounds {
		batch := m.poll(broker.Want{Records: 1})
		ctx, cancel := context.WithTimeout(context.Background(), cut(took, round, rounds))
		err := m.Settle(ctx, answers(out, batch)...)
		cancel()
		s.eventually("a settle after one that was cancelled", func() bool {
			if err != nil {
				if errors.Is(err, broker.ErrFenced) {
					s.Fatalf("settle: %v, but there is no other member", err)
				}
				err = m.trySettle(answers(out, batch)...)
			}
			return err == nil
		})
	}
	s.wantValues("results", s.readAll(out), append([]string{"first"}, values(sequence(in, 0, "v", rounds))...)...)
	if lag := s.totalLag(group, in); lag != 0 {
		s.Errorf("after everything was settled the lag is %d", lag)
	}
}

// Of a settle whose context has ended Rewind finds out: it has taken place, or its
// records come again.
func settleCancelledRewind(s *suite) {
	in, out, group := s.create("in", 1), s.create("out", 1), s.name("g")
	m := s.join(group, broker.Start(), in)
	took := m.howLong(in, out)
	const rounds = 10
	s.publish(sequence(in, 0, "v", rounds)...)
	deadline := time.Now().Add(s.h.Patience)
	for round := 0; s.totalLag(group, in) > 0; round++ {
		if time.Now().After(deadline) {
			s.Fatalf("%d records are polled again and again", s.totalLag(group, in))
		}
		first, err := m.tryBatch(broker.Want{Records: 1}, took+20*time.Millisecond)
		if err != nil {
			continue // the settle before took place after all
		}
		_, _ = m.tryBatch(broker.Want{Records: 1}, took) // open when Rewind comes
		ctx, cancel := context.WithTimeout(context.Background(), cut(took, round%rounds, rounds))
		err = first.Settle(ctx, answers(out, first.Records)...)
		cancel()
		if errors.Is(err, broker.ErrFenced) {
			s.Fatalf("settle: %v, but there is no other member", err)
		}
		m.Rewind()
	}
	s.wantValues("results", s.readAll(out), append([]string{"first"}, values(sequence(in, 0, "v", rounds))...)...)
}

func settleLarge(s *suite) {
	in, out, group := s.create("in", 2), s.create("out", 3), s.name("g")
	var sent ledger.Ledger
	for range 2 { // two publishes of 10,000: many records from many appends
		var records []broker.Record
		for i := range 10_000 {
			records = append(records, issue(&sent, in, fmt.Sprintf("customer-%d", i%100)))
		}
		s.publish(records...)
		acknowledge(&sent, records)
	}
	m := s.join(group, broker.Start(), in)
	batch := m.poll(broker.Want{Records: 20_000, Wait: s.h.Patience / 2})
	if len(batch) != 20_000 {
		s.Fatalf("polled %d records, want 20000", len(batch))
	}
	var results []broker.Record
	for _, r := range batch {
		results = append(results, broker.Record{Topic: out, Key: r.Key, Value: r.Value})
	}
	m.settle(results...)
	s.wantOnce(&sent, out)
	if lag := s.totalLag(group, in); lag != 0 {
		s.Errorf("after everything was settled the lag is %d", lag)
	}

	s.publish(pinned(in, 0, "one"))
	s.wantValues("one record", m.poll(broker.Want{}), "one")
	before := len(s.readAll(out))
	m.settle(sequence(out, 2, "many", 30_000)...)
	if n := len(s.readAll(out)) - before; n != 30_000 {
		s.Errorf("one record had 30000 results, %d are there", n)
	}
}

func rewindRepeats(s *suite) {
	in, group := s.create("in", 3), s.name("g")
	var records []broker.Record
	for p := range int32(3) {
		records = append(records, sequence(in, p, string('a'+p), 10)...)
	}
	s.publish(records...)
	m := s.join(group, broker.Start(), in)
	m.Rewind() // without a batch: nothing happens
	for _, most := range []int{1, 7, 30, 4} {
		m.poll(broker.Want{Records: most})
		m.Rewind()
		if lag := s.totalLag(group, in); lag != 30 {
			s.Fatalf("after rewinding everything the lag is %d, want 30", lag)
		}
	}
	seen := make(map[string]int)
	for total := 0; total < len(records); {
		batch := m.poll(broker.Want{Records: 4})
		m.Rewind()
		again := m.poll(broker.Want{Records: 4})
		for _, r := range again {
			seen[string(r.Value)]++
		}
		total += len(again)
		m.settle()
		first := make(map[int32]string)
		for _, r := range batch {
			if _, ok := first[r.Partition]; !ok {
				first[r.Partition] = string(r.Value)
			}
		}
		for _, r := range again {
			if want, ok := first[r.Partition]; ok {
				if want != string(r.Value) {
					s.Fatalf("partition %d began with %s, and after Rewind with %s", r.Partition, want, r.Value)
				}
				delete(first, r.Partition)
			}
		}
	}
	for value, n := range seen {
		if n != 1 {
			s.Errorf("record %s came %d times between settles", value, n)
		}
	}
	if len(seen) != len(records) {
		s.Errorf("%d of %d records came", len(seen), len(records))
	}
}

func closeForgetsBatch(s *suite) {
	in, group := s.create("in", 1), s.name("g")
	s.publish(sequence(in, 0, "v", 3)...)
	m := s.join(group, broker.Start(), in)
	s.wantValues("before closing", m.poll(broker.Want{Records: 2}), "v0", "v1")
	m.leave()
	m = s.join(group, broker.Start(), in)
	s.wantValues("after closing with an open batch", m.poll(broker.Want{}), "v0", "v1", "v2")
}
