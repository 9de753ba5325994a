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

func failureProperties() []property {
	return []property{
		{name: "Restart/keeps what was acknowledged", check: restartKeeps, alone: true},
		{name: "Restart/keeps settles whole under load", check: func(s *suite) { restartUnderLoad(s, 1) }, alone: true},
		{name: "Restart/keeps settles whole with many batches open", check: func(s *suite) { restartUnderLoad(s, 8) }, alone: true},
		{name: "Full disk/is an error until there is room", check: fullDisk, alone: true, needsFillDisk: true},
		{name: "Broker Close/wakes blocked calls", check: closeWakes},
		{name: "Broker Close/leaves nothing that works", check: closeEndsAll},
	}
}

// restart cuts the broker's power and takes a new client.
func (s *suite) restart() {
	s.Helper()
	s.h.Restart(s)
	s.client = s.h.Open(s)
}

func restartKeeps(s *suite) {
	in, out, group := s.create("in", 2), s.create("out", 2), s.name("g")
	retained := broker.Topic{Name: s.name("retained"), Partitions: 3, Retention: 24 * time.Hour, RetentionBytes: 1 << 30}
	s.createTopic(retained)
	for round := range 3 {
		prefix := fmt.Sprintf("round%d-", round)
		s.publish(append(sequence(in, 0, prefix+"a", 4), sequence(in, 1, prefix+"b", 4)...)...)
		m := s.join(group, broker.Start(), in)
		for settled := 0; settled < 6; {
			batch := m.poll(broker.Want{Records: min(3, 6-settled)})
			m.settle(answers(out, batch)...)
			settled += len(batch)
		}
		m.poll(broker.Want{Records: 1}) // open when the power is cut

		inBefore, outBefore, lagBefore := s.readAll(in), s.readAll(out), s.totalLag(group, in)
		endsBefore := s.topics()[in].Ends
		s.restart()
		s.bury(m)
		s.wantSame("records", inBefore, s.readAll(in))
		s.wantSame("results", outBefore, s.readAll(out))
		s.eventually("the lag is as before the restart", func() bool { return s.totalLag(group, in) == lagBefore })
		topics := s.topics()
		if got := topics[retained.Name].Topic; got != retained {
			s.Errorf("after a restart the topic is %+v, want %+v", got, retained)
		}
		if got := topics[in].Ends; !slices.Equal(got, endsBefore) {
			s.Errorf("after a restart the ends are %v, want %v", got, endsBefore)
		}
		if !slices.Contains(s.groups(), group) {
			s.Error("after a restart the group is gone")
		}
		m = s.join(group, broker.End(), in)
		rest := m.pollAll(int(lagBefore))
		m.settle(answers(out, rest)...)
		m.leave()
		if a, b := len(s.readAll(in)), len(s.readAll(out)); a != b {
			s.Fatalf("%d records have %d results", a, b)
		}
	}
}

// bury closes a member whose client may have survived the restart: it would hold
// its partitions for ever, because nobody polls with it.
func (s *suite) bury(m *member) {
	ctx, cancel := s.bounded()
	defer cancel()
	_ = m.Close(ctx) // of a dead client; the group does without it
}

func (s *suite) wantSame(what string, before, after []broker.Record) {
	s.Helper()
	if len(before) != len(after) {
		s.Fatalf("after a restart there are %d %s, want %d", len(after), what, len(before))
	}
	for i := range before {
		b, a := &before[i], &after[i]
		if b.Place() != a.Place() || !b.Time.Equal(a.Time) || sameContent(b, a) != "" {
			s.Fatalf("after a restart record %v of %v is %v of %v; %s", b.Place(), b.Time, a.Place(), a.Time, sameContent(b, a))
		}
	}
}

// The broker goes away under load and comes back, again and again. Members go
// on by themselves or get errors and join again; nothing is lost or twofold.
func restartUnderLoad(s *suite, open int) {
	const partitions = 4
	in, out, group := s.create("in", partitions), s.create("out", partitions), s.name("g")
	w := worker{s: s, group: group, in: []string{in}, out: out, most: 10, busy: 2 * time.Millisecond, stays: true, open: open}
	crew := s.crew()
	for range 3 {
		crew.start(w, s.h.Open(s))
	}
	var sent ledger.Ledger
	var publishers sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	defer publishers.Wait()
	defer stop()
	for p := range 2 {
		publishers.Go(func() { s.publishThrough(ctx, &sent, in, fmt.Sprintf("key-%d", p)) })
	}
	for range long(6) {
		enough := sent.Acknowledged() + 20
		s.eventually("publishers go on", func() bool { return sent.Acknowledged() >= enough })
		time.Sleep(rand.N(15 * time.Millisecond)) // so that the cut comes anywhere
		s.restart()
	}
	stop()
	publishers.Wait()
	s.waitForAnswers(group, in)
	crew.end()
	s.wantOnce(&sent, in)
	s.wantOnce(&sent, out)
}

// publishThrough publishes numbered records until ctx ends, whatever becomes of
// the broker.
func (s *suite) publishThrough(ctx context.Context, sent *ledger.Ledger, topic, key string) {
	client := s.h.Open(s)
	for ctx.Err() == nil {
		records := []broker.Record{issue(sent, topic, key), issue(sent, topic, key+"'"), issue(sent, topic, key)}
		bounded, cancel := s.bounded()
		_, err := client.Publish(bounded, records...)
		cancel()
		if err == nil {
			acknowledge(sent, records)
			pause(ctx, time.Millisecond)
			continue
		}
		pause(ctx, 5*time.Millisecond)
		client = s.h.Open(s)
	}
}

// publishUntilFull publishes until the broker has noticed that its disk is full.
// What was acknowledged before must stay.
func (s *suite) publishUntilFull(sent *ledger.Ledger, topic string) {
	s.eventually("publishing to a full disk is an error", func() bool {
		r := issue(sent, topic, "k")
		ctx, cancel := s.bounded()
		defer cancel()
		_, err := s.client.Publish(ctx, r)
		if err == nil {
			acknowledge(sent, []broker.Record{r})
			return false
		}
		if !errors.Is(err, broker.ErrFull) {
			s.Fatalf("publish to a full disk: %v, want an error that is %q", err, broker.ErrFull)
		}
		return true
	})
}

func fullDisk(s *suite) {
	in, out, group := s.create("in", 1), s.create("out", 1), s.name("g")
	s.publish(pinned(in, 0, "a"), pinned(in, 0, "b"))
	m := s.join(group, broker.Start(), in)
	batch := m.poll(broker.Want{Records: 1})
	var sent ledger.Ledger
	heal := s.h.FillDisk(s)
	healed := false
	defer func() {
		if !healed {
			heal()
		}
	}()

	s.publishUntilFull(&sent, out)
	settled := func() bool {
		err := m.trySettle(answers(out, batch)...)
		if err != nil && !errors.Is(err, broker.ErrFull) {
			s.Fatalf("settle on a full disk: %v, want an error that is %q", err, broker.ErrFull)
		}
		return err == nil
	}
	if settled() {
		s.Error("a settle on a full disk succeeded after a publish had failed")
	}
	if n := len(s.read(in, 0, broker.Start(), broker.Position{})); n != 2 {
		s.Errorf("on a full disk %d of 2 records can be read", n)
	}
	if lag := s.totalLag(group, in); lag != 2 {
		s.Errorf("on a full disk the lag is %d, want 2", lag)
	}

	heal()
	healed = true
	s.eventually("the open batch is settled when there is room", settled)
	s.eventually("records are published when there is room", func() bool {
		r := issue(&sent, out, "k")
		ctx, cancel := s.bounded()
		defer cancel()
		if _, err := s.client.Publish(ctx, r); err != nil {
			return false
		}
		acknowledge(&sent, []broker.Record{r})
		return true
	})
	s.wantValues("the next batch", m.poll(broker.Want{}), "b")
	results := 0
	for _, r := range s.readAll(out) {
		if string(r.Value) == "a" {
			results++
			continue
		}
		sent.See(out, string(r.Key), number(&r), r.Place())
	}
	if results != 1 {
		s.Errorf("the batch that was open on a full disk has %d results, want 1", results)
	}
	if err := sent.Audit(out).Err(); err != nil {
		s.Error(err)
	}
}

func closeWakes(s *suite) {
	topic := s.create("tickets", 1)
	m := s.join(s.name("g"), broker.Start(), topic)
	r := s.open(topic, 0, broker.Start(), broker.Forever())
	other := s.create("other", 1)
	s.publish(pinned(other, 0, "a"), pinned(other, 0, "b"))
	holding := s.join(s.name("other"), broker.Start(), other)
	first, second := holding.batch(broker.Want{Records: 1}), holding.batch(broker.Want{Records: 1})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	woken := make(chan error, 3)
	go func() { woken <- second.Settle(ctx) }() // which waits for the first batch
	go func() {
		_, err := m.Poll(ctx, broker.Want{})
		woken <- err
	}()
	go func() {
		_, err := r.Next(ctx, 0)
		woken <- err
	}()
	settleDown()
	closed := make(chan error, 1)
	go func() { closed <- s.client.Close() }()
	patience := time.After(s.h.Patience)
	for range 3 {
		select {
		case err := <-woken:
			if !errors.Is(err, broker.ErrClosed) {
				s.Errorf("a blocked call returned %v when the broker was closed, want an error that is %q", err, broker.ErrClosed)
			}
		case <-patience:
			s.Fatalf("a call is still blocked %v after the broker was closed", s.h.Patience)
		}
	}
	if err := <-closed; err != nil {
		s.Fatalf("close: %v", err)
	}
	s.mustFail("settle an open batch of a closed broker", broker.ErrClosed, func(ctx context.Context) error { return first.Settle(ctx) })
}

func closeEndsAll(s *suite) {
	topic, group := s.create("tickets", 1), s.name("g")
	s.publish(sequence(topic, 0, "v", 2)...)
	m := s.join(group, broker.Start(), topic)
	m.poll(broker.Want{Records: 1})
	r := s.open(topic, 0, broker.Start(), broker.Forever())
	b := s.client
	if err := b.Close(); err != nil {
		s.Fatalf("close: %v", err)
	}
	for what, call := range map[string]func(ctx context.Context) error{
		"CreateTopics": func(ctx context.Context) error {
			return b.CreateTopics(ctx, broker.Topic{Name: s.name("late"), Partitions: 1})
		},
		"Topics":  func(ctx context.Context) error { _, err := b.Topics(ctx); return err },
		"Publish": func(ctx context.Context) error { _, err := b.Publish(ctx, pinned(topic, 0, "late")); return err },
		"Join":    func(ctx context.Context) error { _, err := b.Join(ctx, group, broker.Start(), topic); return err },
		"Read": func(ctx context.Context) error {
			_, err := b.Read(ctx, topic, 0, broker.Start(), broker.End())
			return err
		},
		"Seek":   func(ctx context.Context) error { return b.Seek(ctx, group, topic, broker.Start()) },
		"Groups": func(ctx context.Context) error { _, err := b.Groups(ctx); return err },
		"Lag":    func(ctx context.Context) error { _, err := b.Lag(ctx, group); return err },
		"Settle": func(ctx context.Context) error { return m.Settle(ctx, pinned(topic, 0, "late")) },
		"Next":   func(ctx context.Context) error { _, err := r.Next(ctx, 0); return err },
	} {
		s.mustFail(what+" after Close", broker.ErrClosed, call)
	}
	if err := b.Close(); err != nil && !errors.Is(err, broker.ErrClosed) {
		s.Errorf("closing again: %v", err)
	}
}
