// SPDX-License-Identifier: Apache-2.0

package brokertest

import (
	"context"
	"errors"
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
		{name: "Batches/come again after Rewind", check: batchesRewind},
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
