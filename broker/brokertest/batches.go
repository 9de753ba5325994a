// SPDX-License-Identifier: Apache-2.0

package brokertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/test/ledger"
)

func batchProperties() []property {
	return []property{
		{name: "Batches/are polled while earlier ones are open", check: batchesOpen},
		{name: "Batches/settle in the order of the polls", check: batchesOrder},
		{name: "Batches/of other partitions do not wait", check: batchesApart},
		{name: "Batches/are settled together without a handle", check: batchesTogether},
		{name: "Batches/take place once when they are settled again", check: batchesCancelled},
		{name: "Batches/come again after Rewind", check: batchesRewind},
		{name: "Batches/come again when Rewind comes while they settle", check: batchesRewindSettling},
		{name: "Batches/come again after Close", check: batchesClose},
		{name: "Batches/show their results in the order of the polls", check: batchesShown},
		{name: "Batches/keep every key in order when they end in any order", check: batchesAnyOrder},
	}
}

// settling is a batch's settle in the background.
func (m *member) settling(b *broker.Batch, results ...broker.Record) <-chan error {
	done := make(chan error, 1)
	go func() {
		ctx, cancel := m.s.bounded()
		defer cancel()
		done <- b.Settle(ctx, results...)
	}()
	return done
}

func (s *suite) wantSettled(what string, done <-chan error) {
	s.Helper()
	if err := <-done; err != nil {
		s.Fatalf("settle %s: %v", what, err)
	}
}

func batchesOpen(s *suite) {
	in, out, group := s.create("in", 1), s.create("out", 1), s.name("g")
	s.publish(sequence(in, 0, "v", 4)...)
	m := s.join(group, broker.Start(), in)
	one, two := m.batch(broker.Want{Records: 1}), m.batch(broker.Want{Records: 2})
	s.wantValues("the first batch", one.Records, "v0")
	s.wantValues("the second batch", two.Records, "v1", "v2")
	if lag := s.totalLag(group, in); lag != 4 {
		s.Fatalf("nothing is settled, and the lag is %d, want 4", lag)
	}
	s.wantSettled("the first batch", m.settling(one, answers(out, one.Records)...))
	if lag := s.totalLag(group, in); lag != 3 {
		s.Fatalf("one of two open batches is settled, and the lag is %d, want 3", lag)
	}
	s.wantValues("the third batch", m.batch(broker.Want{}).Records, "v3")
	s.wantSettled("the second batch", m.settling(two, answers(out, two.Records)...))
	s.wantSettled("the second batch again", m.settling(two, answers(out, two.Records)...))
	s.wantValues("results", s.readAll(out), "v0", "v1", "v2")
	m.leave()
	m = s.join(group, broker.Start(), in)
	s.wantValues("after closing with an open batch", m.poll(broker.Want{}), "v3")
}

func batchesOrder(s *suite) {
	in, out, group := s.create("in", 1), s.create("out", 1), s.name("g")
	s.publish(sequence(in, 0, "v", 5)...)
	m := s.join(group, broker.Start(), in)
	var batches []*broker.Batch
	for range 4 {
		batches = append(batches, m.batch(broker.Want{Records: 1}))
	}
	late := m.settling(batches[2], answers(out, batches[2].Records)...)
	later := m.settling(batches[1], answers(out, batches[1].Records)...)
	settleDown()
	s.wantValues("while an earlier batch is open", s.readAll(out))
	if lag := s.totalLag(group, in); lag != 5 {
		s.Fatalf("an earlier batch is open, and the lag is %d, want 5", lag)
	}
	s.wantSettled("the first batch", m.settling(batches[0], answers(out, batches[0].Records)...))
	s.wantSettled("the second batch", later)
	s.wantSettled("the third batch", late)
	s.wantValues("results", s.readAll(out), "v0", "v1", "v2")
	if lag := s.totalLag(group, in); lag != 2 {
		s.Fatalf("three of four batches are settled, and the lag is %d, want 2", lag)
	}
}

func batchesApart(s *suite) {
	in, out, group := s.create("in", 2), s.create("out", 2), s.name("g")
	m := s.join(group, broker.Start(), in)
	s.publish(pinned(in, 0, "a"))
	slow := m.batch(broker.Want{})
	s.publish(pinned(in, 1, "b"))
	fast := m.batch(broker.Want{})
	s.wantSettled("a batch of another partition", m.settling(fast, answers(out, fast.Records)...))
	s.wantValues("results", s.readAll(out), "b")
	s.wantSettled("the first batch", m.settling(slow, answers(out, slow.Records)...))
	s.wantValues("results", s.readAll(out), "a", "b")
}

func batchesTogether(s *suite) {
	in, out, group := s.create("in", 2), s.create("out", 1), s.name("g")
	s.publish(append(sequence(in, 0, "a", 2), sequence(in, 1, "b", 2)...)...)
	m := s.join(group, broker.Start(), in)
	first, second := m.batch(broker.Want{Records: 1}), m.batch(broker.Want{Records: 2})
	m.settle(pinned(out, 0, "for all"))
	s.wantValues("results", s.readAll(out), "for all")
	if lag := s.totalLag(group, in); lag != 1 {
		s.Fatalf("all three records polled are settled, and the lag is %d, want 1", lag)
	}
	for _, b := range []*broker.Batch{first, second} {
		s.wantSettled("a batch that is settled", m.settling(b, pinned(out, 0, "twice")))
	}
	s.wantValues("results", s.readAll(out), "for all")
}

func batchesRewind(s *suite) {
	in, out, group := s.create("in", 1), s.create("out", 1), s.name("g")
	s.publish(sequence(in, 0, "v", 3)...)
	m := s.join(group, broker.Start(), in)
	first, second := m.batch(broker.Want{Records: 1}), m.batch(broker.Want{Records: 1})
	waiting := m.settling(second, answers(out, second.Records)...)
	settleDown()
	m.Rewind()
	if err := <-waiting; !errors.Is(err, broker.ErrFenced) {
		s.Fatalf("a batch that waited when Rewind forgot it: %v, want ErrFenced", err)
	}
	if err := <-m.settling(first, answers(out, first.Records)...); !errors.Is(err, broker.ErrFenced) {
		s.Fatalf("settle a batch that Rewind forgot: %v, want ErrFenced", err)
	}
	s.wantValues("results", s.readAll(out))
	s.wantValues("after Rewind", m.poll(broker.Want{}), "v0", "v1", "v2")
}

// howLong is how long a settle takes, roughly.
func (m *member) howLong(in, out string) time.Duration {
	m.s.Helper()
	m.s.publish(pinned(in, 0, "first"))
	b := m.batch(broker.Want{})
	began := time.Now()
	m.s.wantSettled("the first batch", m.settling(b, answers(out, b.Records)...))
	return time.Since(began)
}

// cut is when to cut something off that takes that long, in the ith of n tries: at
// first before it begins, in the end when it is done.
func cut(took time.Duration, i, n int) time.Duration {
	return 2 * took * time.Duration(i) / time.Duration(n)
}

// Batches that are settled together are cut off at any time, each by itself. When
// each is settled again they have all taken place once.
func batchesCancelled(s *suite) {
	in, out, group := s.create("in", 2), s.create("out", 2), s.name("g")
	m := s.join(group, broker.Start(), in)
	took := m.howLong(in, out)
	var want [2][]string
	want[0] = []string{"first"}
	rounds := long(8)
	for round := range rounds {
		var settles sync.WaitGroup
		for i := range 6 {
			p := int32(i % 2)
			value := fmt.Sprintf("%d-%d", round, i)
			want[p] = append(want[p], value)
			s.publish(pinned(in, p, value))
			b := m.batch(broker.Want{})
			settles.Go(func() {
				for wait := cut(took, (round+i)%rounds, rounds); ; wait = s.h.Patience {
					ctx, cancel := context.WithTimeout(context.Background(), wait)
					err := b.Settle(ctx, answers(out, b.Records)...)
					cancel()
					if err == nil {
						return
					}
					if wait == s.h.Patience || errors.Is(err, broker.ErrFenced) {
						s.Errorf("settle %q: %v, and there is no other member", values(b.Records), err)
						return
					}
				}
			})
		}
		settles.Wait()
	}
	for p := range int32(2) {
		s.wantValues("results", s.read(out, p, broker.Start(), broker.Position{}), want[p]...)
	}
	if lag := s.totalLag(group, in); lag != 0 {
		s.Errorf("after everything was settled the lag is %d", lag)
	}
}

// Rewind comes while several settles are under way. What is settled stays so, and
// what is not comes again.
func batchesRewindSettling(s *suite) {
	in, out, group := s.create("in", 2), s.create("out", 2), s.name("g")
	m := s.join(group, broker.Start(), in)
	took := m.howLong(in, out)
	const each = 20
	s.publish(append(sequence(in, 0, "a", each), sequence(in, 1, "b", each)...)...)
	deadline := time.Now().Add(s.h.Patience)
	for round := 0; s.totalLag(group, in) > 0; round++ {
		if time.Now().After(deadline) {
			s.Fatalf("after %d rounds of settles and Rewind %d records are not settled", round, s.totalLag(group, in))
		}
		rewinds := round%4 != 3 // or nothing would ever be settled on a slow machine
		var settles sync.WaitGroup
		for i := range 3 {
			b, err := m.tryBatch(broker.Want{Records: 2}, took+20*time.Millisecond)
			if err != nil {
				break // all is polled
			}
			if rewinds && i == 2 {
				break // it stays open
			}
			settles.Go(func() {
				time.Sleep(rand.N(took + time.Millisecond))
				if err := <-m.settling(b, answers(out, b.Records)...); err != nil && !errors.Is(err, broker.ErrFenced) {
					s.Errorf("settle %q: %v", values(b.Records), err)
				}
			})
		}
		if rewinds {
			time.Sleep(rand.N(took + time.Millisecond))
			m.Rewind()
		}
		settles.Wait()
	}
	for p, prefix := range []string{"a", "b"} {
		want := values(sequence(out, int32(p), prefix, each))
		if p == 0 {
			want = append([]string{"first"}, want...)
		}
		s.wantValues("results", s.read(out, int32(p), broker.Start(), broker.Position{}), want...)
	}
}

func batchesClose(s *suite) {
	in, out, group := s.create("in", 1), s.create("out", 1), s.name("g")
	s.publish(sequence(in, 0, "v", 4)...)
	m := s.join(group, broker.Start(), in)
	var batches []*broker.Batch
	for range 4 {
		batches = append(batches, m.batch(broker.Want{Records: 1}))
	}
	s.wantSettled("the first batch", m.settling(batches[0], answers(out, batches[0].Records)...))
	waiting := m.settling(batches[2], answers(out, batches[2].Records)...)
	settleDown()
	m.leave()
	if err := <-waiting; !errors.Is(err, broker.ErrClosed) {
		s.Fatalf("a batch that waited when its consumer was closed: %v, want an error that is %q", err, broker.ErrClosed)
	}
	m = s.join(group, broker.Start(), in)
	s.wantValues("after closing with open batches", m.poll(broker.Want{Records: 3, Wait: s.h.Patience / 2}), "v1", "v2", "v3")
	s.wantValues("results", s.readAll(out), "v0")
}

// One goroutine polls and many settle, in any order. Whoever looks on never sees a
// result before that of an earlier record, nor without its input being settled.
func batchesShown(s *suite) {
	const partitions = 3
	in, out, group := s.create("in", partitions), s.create("out", partitions), s.name("g")
	var records []broker.Record
	each := long(60)
	for p := range int32(partitions) {
		records = append(records, sequence(in, p, string('a'+p), each)...)
	}
	s.publish(records...)
	m := s.join(group, broker.Start(), in)
	ctx, stop := context.WithCancel(context.Background())
	var observer sync.WaitGroup
	defer observer.Wait()
	defer stop()
	observer.Go(func() {
		for ctx.Err() == nil {
			if err := errors.Join(s.observe(group, out, len(records)), s.observeOrder(out)); err != nil {
				s.Error(err)
				return
			}
			pause(ctx, time.Millisecond)
		}
	})
	var settles sync.WaitGroup
	room := make(chan struct{}, 12)
	for got := 0; got < len(records); {
		room <- struct{}{}
		b := m.batch(broker.Want{Records: 1 + rand.IntN(4)})
		got += len(b.Records)
		settles.Go(func() {
			defer func() { <-room }()
			pause(ctx, rand.N(2*time.Millisecond))
			if err := <-m.settling(b, answers(out, b.Records)...); err != nil {
				s.Errorf("settle: %v", err)
			}
		})
	}
	settles.Wait()
	stop()
	observer.Wait()
	s.wantValues("results", s.readAll(out), values(records)...)
}

// observeOrder checks that each partition of the topic holds a sequence from its
// beginning.
func (s *suite) observeOrder(topic string) error {
	records, err := s.readFrom(s.client, topic, broker.AllPartitions, broker.Start(), broker.Position{})
	if err != nil {
		return err
	}
	var next [3]int
	for i := range records {
		p := records[i].Partition
		if want := fmt.Sprintf("%c%d", 'a'+p, next[p]); string(records[i].Value) != want {
			return fmt.Errorf("result %d of partition %d is %q, want %q", next[p], p, records[i].Value, want)
		}
		next[p]++
	}
	return nil
}

// Members come and go, each with many batches open that end in any order.
func batchesAnyOrder(s *suite) {
	const partitions = 4
	in, out, group := s.create("in", partitions), s.create("out", partitions), s.name("g")
	crew := s.crew()
	w := worker{s: s, group: group, in: []string{in}, out: out, most: 3, busy: 5 * time.Millisecond, open: 8}
	crew.start(w, s.client)
	var storm sync.WaitGroup
	calm, cancel := context.WithCancel(crew.ctx)
	defer storm.Wait()
	defer cancel()
	client := s.h.Open(s)
	w.fickle = true
	storm.Go(func() {
		for calm.Err() == nil {
			stop := crew.start(w, client)
			pause(calm, rand.N(60*time.Millisecond))
			stop()
		}
	})
	var sent ledger.Ledger
	for range long(12) {
		s.publishNumbered(&sent, in, 4, 5)
		settleDown()
	}
	cancel()
	storm.Wait()
	s.waitForAnswers(group, in)
	crew.end()
	s.wantOnce(&sent, out)
}
