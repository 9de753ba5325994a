// SPDX-License-Identifier: Apache-2.0

package brokertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/test/ledger"
)

func rebalanceProperties() []property {
	return []property{
		{name: "Rebalance/shares the partitions of all topics alike", check: rebalanceShares},
		{name: "Rebalance/lets a spare member take over", check: rebalanceSpare},
		{name: "Rebalance/waits for an open batch", check: rebalanceWaits},
		{name: "Rebalance/returns nothing that was handed over while it waited", check: rebalanceWhileWaiting},
		{name: "Rebalance/hands over at once when a member closes", check: rebalanceClose},
		{name: "Rebalance/fences a silent member with a batch", check: rebalanceZombie},
		{name: "Rebalance/fences a silent member without a batch", check: rebalanceIdleZombie},
		{name: "Rebalance/fences a silent member although its heir is gone", check: rebalanceHeirGone},
		{name: "Rebalance/lets a lone member take its time", check: rebalanceLone},
		{name: "Rebalance/keeps every key in order while members come and go", check: rebalanceStorm},
	}
}

// owners tells which member owns each partition, when all have one and the same
// in each topic; otherwise nil.
func (s *suite) owners(group string, partitions int, topics ...string) []string {
	s.Helper()
	lag := s.lag(group)
	list := make([]string, partitions)
	for p := range list {
		list[p] = lag[broker.TopicPartition{Topic: topics[0], Partition: int32(p)}].Member
		for _, topic := range topics[1:] {
			if lag[broker.TopicPartition{Topic: topic, Partition: int32(p)}].Member != list[p] {
				return nil
			}
		}
		if list[p] == "" {
			return nil
		}
	}
	return list
}

func distinct(list []string) int {
	sorted := slices.Sorted(slices.Values(list))
	return len(slices.Compact(sorted))
}

// waitForMembers waits until that many members share the partitions.
func (s *suite) waitForMembers(n int, group string, partitions int, topics ...string) {
	s.Helper()
	s.eventually(fmt.Sprintf("%d members share %d partitions of %q", n, partitions, topics), func() bool {
		if s.Failed() {
			s.FailNow()
		}
		return distinct(s.owners(group, partitions, topics...)) == n
	})
}

func rebalanceShares(s *suite) {
	const partitions = 4
	a, b, out := s.create("a", partitions), s.create("b", partitions), s.create("out", partitions)
	group := s.name("g")
	w := worker{s: s, group: group, in: []string{a, b}, out: out, most: 3}
	var fromA, fromB ledger.Ledger
	feed := func() {
		s.publishNumbered(&fromA, a, 3, 10)
		s.publishNumbered(&fromB, b, 3, 10)
	}
	crew := s.crew()
	crew.start(w, s.client)
	feed()
	s.waitForMembers(1, group, partitions, a, b)
	stop := crew.start(w, s.h.Open(s))
	feed()
	s.waitForMembers(2, group, partitions, a, b)
	crew.start(w, s.h.Open(s))
	feed()
	s.waitForMembers(3, group, partitions, a, b)
	stop()
	feed()
	s.waitForMembers(2, group, partitions, a, b)
	s.waitForAnswers(group, a, b)
	crew.end()
	if n, want := len(s.readAll(out)), fromA.Acknowledged()+fromB.Acknowledged(); n != want {
		s.Errorf("%d records have %d results", want, n)
	}
}

func rebalanceSpare(s *suite) {
	in, out, group := s.create("in", 2), s.create("out", 2), s.name("g")
	w := worker{s: s, group: group, in: []string{in}, out: out, most: 3}
	crew := s.crew()
	stopA := crew.start(w, s.client)
	stopB := crew.start(w, s.client)
	s.waitForMembers(2, group, 2, in)
	crew.start(w, s.client)
	var sent ledger.Ledger
	s.publishNumbered(&sent, in, 2, 10)
	s.waitForMembers(2, group, 2, in)
	stopA()
	s.waitForMembers(2, group, 2, in)
	stopB()
	s.waitForMembers(1, group, 2, in)
	s.publishNumbered(&sent, in, 2, 10)
	s.waitForAnswers(group, in)
	crew.end()
	s.wantOnce(&sent, out)
}

// inTime repeats a check that depends on the clock until it was undisturbed. It
// fails when the machine is too slow ten times, which a wrong driver always is.
func (s *suite) inTime(what string, attempt func(try int) (ok bool)) {
	s.Helper()
	for try := range 10 {
		if attempt(try) {
			return
		}
	}
	s.Fatalf("%s: not once in ten attempts", what)
}

// holding joins a member that holds a batch of one record of each partition.
func (s *suite) holding(group, in string, partitions int) (*member, []broker.Record) {
	s.Helper()
	for p := range int32(partitions) {
		s.publish(pinned(in, p, fmt.Sprintf("v%d", p)))
	}
	m := s.join(group, broker.Start(), in)
	batch := m.poll(broker.Want{Records: partitions, Wait: s.h.Patience / 2})
	if len(batch) != partitions {
		s.Fatalf("polled %d records, want %d", len(batch), partitions)
	}
	return m, batch
}

// pollInBackground polls while the test goes on.
func (m *member) pollInBackground(w broker.Want) <-chan nextResult {
	done := make(chan nextResult, 1)
	go func() {
		records, err := m.tryPoll(w, m.s.h.Patience)
		done <- nextResult{records, err}
	}()
	return done
}

func rebalanceWaits(s *suite) {
	s.inTime("a member that settles within the hand-over time is not fenced", func(try int) bool {
		in, out := s.create(fmt.Sprint("in", try), 2), s.create(fmt.Sprint("out", try), 2)
		group := s.name(fmt.Sprint("g", try))
		a, batch := s.holding(group, in, 2)
		joined := time.Now()
		b := s.joinFrom(s.h.Open(s), group, broker.Start(), in)
		polled := b.pollInBackground(broker.Want{})
		settleDown()
		err := a.trySettle(answers(out, batch)...)
		if err != nil && time.Since(joined) < s.h.HandoverTimeout {
			s.Fatalf("settle %v after another member joined: %v; the hand-over time is %v", time.Since(joined), err, s.h.HandoverTimeout)
		}
		a.leave()
		s.publish(pinned(in, 0, "next"), pinned(in, 1, "next"))
		got := <-polled
		if got.err != nil {
			s.Fatalf("the second member's poll: %v", got.err)
		}
		if err == nil && string(got.records[0].Value) != "next" {
			s.Fatalf("the second member polled %s, which the first had settled", got.records[0].Value)
		}
		return err == nil
	})
}

// A member waits for a full batch while another one joins. It may return what it
// has or wait on, but what it had at hand of the partitions that it lets go is
// the other's to answer.
func rebalanceWhileWaiting(s *suite) {
	in, out, group := s.create("in", 2), s.create("out", 2), s.name("g")
	s.publish(pinned(in, 0, "early"), pinned(in, 1, "early"))
	w := worker{s: s, group: group, in: []string{in}, out: out, most: 100, wait: s.h.Patience / 2}
	a, b := s.join(group, broker.Start(), in), (*member)(nil)
	s.workTogether(w, []*member{a}, func() {
		settleDown()
		b = s.joinFrom(s.h.Open(s), group, broker.Start(), in)
		polled := b.pollInBackground(broker.Want{Records: 1})
		settleDown()
		s.publish(append(sequence(in, 0, "a", 100), sequence(in, 1, "b", 100)...)...)
		got := <-polled
		if got.err != nil {
			s.Fatalf("the second member's poll: %v", got.err)
		}
		b.settle(answers(out, got.records)...)
		others := 1 - got.records[0].Partition
		s.eventually("the first member's batch is full", func() bool {
			return len(s.read(out, others, broker.Start(), broker.Position{})) >= w.most
		})
	})
	w.wait = 0
	s.workTogether(w, []*member{a, b}, func() { s.waitForAnswers(group, in) })
	s.wantValues("results", s.readAll(out), values(s.readAll(in))...)
}

func rebalanceClose(s *suite) {
	s.inTime("a member's partitions are handed over at once when it closes", func(try int) bool {
		in, group := s.create(fmt.Sprint("in", try), 2), s.name(fmt.Sprint("g", try))
		a, _ := s.holding(group, in, 2)
		b := s.joinFrom(s.h.Open(s), group, broker.Start(), in)
		joined := time.Now()
		polled := b.pollInBackground(broker.Want{})
		settleDown()
		a.leave()
		got := <-polled
		if got.err != nil {
			s.Fatalf("poll after the other member left: %v", got.err)
		}
		took := time.Since(joined)
		b.leave()
		return took < s.h.HandoverTimeout
	})
}

func rebalanceZombie(s *suite) {
	in, out, group := s.create("in", 2), s.create("out", 2), s.name("g")
	zombie, held := s.holding(group, in, 2)
	before := zombie.Assignment()
	heir := s.joinFrom(s.h.Open(s), group, broker.Start(), in)
	taken := heir.poll(broker.Want{}) // after the hand-over time
	heir.settle(answers(out, taken)...)
	results := values(s.readAll(out))
	lag := s.totalLag(group, in)
	for range 2 { // not the first time, nor when it tries again
		s.mustFail("settle by a member that lost its partitions", broker.ErrFenced, func(ctx context.Context) error {
			return zombie.Settle(ctx, answers(out, held)...)
		})
		s.wantValues("after a zombie's settle", s.readAll(out), results...)
		if now := s.totalLag(group, in); now != lag {
			s.Fatalf("a zombie's settle moved the group: the lag was %d and is %d", lag, now)
		}
	}

	// It goes on as a member like any other.
	w := worker{s: s, group: group, in: []string{in}, out: out}
	s.workTogether(w, []*member{zombie, heir}, func() {
		s.waitForMembers(2, group, 2, in)
		for p := range int32(2) {
			s.publish(pinned(in, p, "later"))
		}
		s.waitForAnswers(group, in)
	})
	if after := zombie.Assignment(); after.Epoch == before.Epoch {
		s.Errorf("the epoch is still %d after the member lost partitions", after.Epoch)
	}
	s.wantValues("results", s.readAll(out), "v0", "later", "v1", "later")
}

func rebalanceIdleZombie(s *suite) {
	in, out, group := s.create("in", 2), s.create("out", 2), s.name("g")
	zombie, _ := s.holding(group, in, 2)
	zombie.settle()
	heir := s.joinFrom(s.h.Open(s), group, broker.Start(), in)
	s.publish(pinned(in, 0, "next"), pinned(in, 1, "next"))
	heir.poll(broker.Want{}) // after the hand-over time
	for range 2 {
		s.mustFail("settle without a batch by a member that lost its partitions", broker.ErrFenced, func(ctx context.Context) error {
			return zombie.Settle(ctx, pinned(out, 0, "too late"))
		})
		s.wantValues("after a zombie's settle", s.readAll(out))
	}
}

// The heir answered the batch and left. Now the partitions are nobody's or the
// zombie's again; its results would be the second ones.
func rebalanceHeirGone(s *suite) {
	in, out, group := s.create("in", 2), s.create("out", 2), s.name("g")
	zombie, held := s.holding(group, in, 2)
	heir := s.joinFrom(s.h.Open(s), group, broker.Start(), in)
	heir.settle(answers(out, heir.poll(broker.Want{}))...)
	heir.leave()
	results := values(s.readAll(out))
	s.mustFail("settle by a member that had lost its partitions", broker.ErrFenced, func(ctx context.Context) error {
		return zombie.Settle(ctx, answers(out, held)...)
	})
	s.wantValues("after a zombie's settle", s.readAll(out), results...)
	for s.totalLag(group, in) > 0 {
		zombie.settle(answers(out, zombie.poll(broker.Want{}))...)
	}
	s.wantValues("results", s.readAll(out), "v0", "v1")
	for len(zombie.Assignment().Partitions) < 2 { // what it has not got back it cannot lose
		s.publish(pinned(in, 0, "more"), pinned(in, 1, "more"))
		zombie.poll(broker.Want{})
		zombie.settle()
	}

	// As well when the heir has settled nothing, and there is no batch: whoever
	// joins may have been away too long.
	heir = s.joinFrom(s.h.Open(s), group, broker.Start(), in)
	s.publish(pinned(in, 0, "next"), pinned(in, 1, "next"))
	heir.poll(broker.Want{})
	heir.leave()
	s.mustFail("settle without a batch by a member that had lost its partitions", broker.ErrFenced, func(ctx context.Context) error {
		return zombie.Settle(ctx, pinned(out, 0, "too late"))
	})
	s.wantValues("after a zombie's settle", s.readAll(out), "v0", "v1")
}

// A batch may take longer than the hand-over time when nobody else wants the
// partitions.
func rebalanceLone(s *suite) {
	in, out, group := s.create("in", 2), s.create("out", 2), s.name("g")
	m, batch := s.holding(group, in, 2)
	time.Sleep(s.h.HandoverTimeout * 3 / 2)
	m.settle(answers(out, batch)...)
	s.wantValues("results", s.readAll(out), "v0", "v1")
}

// workTogether lets the members work as workers during the test's call.
func (s *suite) workTogether(w worker, members []*member, during func()) {
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	for _, m := range members {
		m.Rewind()
		wg.Go(func() {
			if err := w.work(ctx, m.Consumer); err != nil && !errors.Is(err, context.Canceled) {
				s.Errorf("a member of %s: %v", w.group, err)
			}
		})
	}
	during()
}

func rebalanceStorm(s *suite) {
	const partitions = 6
	in, out, group := s.create("in", partitions), s.create("out", partitions), s.name("g")
	w := worker{s: s, group: group, in: []string{in}, out: out, most: 5, busy: 3 * time.Millisecond, fickle: true}
	crew := s.crew()
	crew.start(w, s.client)
	var storm sync.WaitGroup
	calm, cancel := context.WithCancel(crew.ctx)
	defer storm.Wait()
	defer cancel()
	for range 2 {
		client := s.h.Open(s)
		storm.Go(func() {
			for calm.Err() == nil {
				stop := crew.start(w, client)
				pause(calm, rand.N(40*time.Millisecond))
				stop()
				pause(calm, rand.N(10*time.Millisecond))
			}
		})
	}
	var sent ledger.Ledger
	for range long(15) {
		s.publishNumbered(&sent, in, 4, 5)
		settleDown()
	}
	cancel()
	storm.Wait()
	s.waitForAnswers(group, in)
	crew.end()
	s.wantOnce(&sent, out)
}
