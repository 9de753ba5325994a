// SPDX-License-Identifier: Apache-2.0

package brokertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

func handoverProperties() []property {
	return []property{
		{name: "Handover/waits until nothing of the partition is open", check: handoverWaits},
		{name: "Handover/happens in a Poll that waits", check: handoverWhilePolling},
		{name: "Handover/fences what is open of a partition that is taken and no more", check: handoverTaken},
		{name: "Handover/fences a settle of all after any loss", check: handoverAll},
		{name: "Handover/says since when a partition is owned", check: handoverSince},
	}
}

// holder is a member with open batches of two partitions, one record in each, and
// what it has still to get.
type holder struct {
	*member
	in     string
	issued [2]int             // records published to each partition
	came   [2]int             // of them, from Poll
	open   [2][]*broker.Batch // in the order of the polls
}

func (s *suite) holder(group, in string) *holder {
	s.Helper()
	return &holder{member: s.join(group, broker.Start(), in), in: in}
}

// publish appends one record to the partition, named "partition-number".
func (h *holder) publish(p int32) {
	h.s.Helper()
	h.s.publish(pinned(h.in, p, fmt.Sprintf("%d-%d", p, h.issued[p])))
	h.issued[p]++
}

// take polls a batch of one record, which must come in that time. It reports
// whether it came.
func (h *holder) take(within time.Duration) (partition int32, ok bool) {
	h.s.Helper()
	b, err := h.tryBatch(broker.Want{Records: 1}, within)
	if errors.Is(err, context.DeadlineExceeded) {
		return 0, false
	}
	if err != nil {
		h.s.Fatalf("poll: %v", err)
	}
	p := b.Records[0].Partition
	if want := fmt.Sprintf("%d-%d", p, h.came[p]); string(b.Records[0].Value) != want {
		h.s.Fatalf("polled %q, want %q", b.Records[0].Value, want)
	}
	h.came[p]++
	h.open[p] = append(h.open[p], b)
	return p, true
}

// hold takes n more records of each partition.
func (h *holder) hold(n int) {
	h.s.Helper()
	for range n {
		for p := range int32(2) {
			h.publish(p)
			if _, ok := h.take(h.s.h.Patience); !ok {
				h.s.Fatal("a record was published, and Poll does not return it")
			}
		}
	}
}

// settleFirst settles the first open batch of the partition, with or without
// results.
func (h *holder) settleFirst(p int32, out string) error {
	ctx, cancel := h.s.bounded()
	defer cancel()
	b := h.open[p][0]
	h.open[p] = h.open[p][1:]
	if out == "" {
		return b.Settle(ctx)
	}
	return b.Settle(ctx, answers(out, b.Records)...)
}

// standoff is a holder and a second member, which polls until it gets a partition.
type standoff struct {
	*holder
	out, group string
	other      *member
	joined     time.Time // the second member, at the latest
	polled     <-chan nextResult
}

func (s *suite) standoff(try int) *standoff {
	s.Helper()
	in := s.create(fmt.Sprint("in", try), 2)
	x := &standoff{out: s.create(fmt.Sprint("out", try), 2), group: s.name(fmt.Sprint("g", try))}
	x.holder = s.holder(x.group, in)
	x.hold(2)
	x.other = s.joinFrom(s.h.Open(s), x.group, broker.Start(), in)
	x.joined = time.Now()
	x.polled = x.other.pollInBackground(broker.Want{Records: 1})
	return x
}

// late reports whether partitions may be taken from the holder by now.
func (x *standoff) late() bool { return time.Since(x.joined) >= x.s.h.HandoverTimeout }

// goesAway finds out which partition is not polled any more while the other one
// still is. It gives up when half of the hand-over time is over.
func (x *standoff) goesAway() (partition int32, ok bool) {
	x.s.Helper()
	for ; time.Since(x.joined) < x.s.h.HandoverTimeout/2; settleDown() {
		x.publish(0)
		x.publish(1)
		var goesOn [2]bool
		for !goesOn[0] || !goesOn[1] {
			p, ok := x.take(x.s.h.HandoverTimeout / 10)
			if !ok {
				break
			}
			goesOn[p] = true
		}
		switch {
		case goesOn[0] && !goesOn[1]:
			return 1, true
		case goesOn[1] && !goesOn[0]:
			return 0, true
		}
	}
	return 0, false
}

// goesOn reports whether this partition is polled, and the other one is not.
func (x *standoff) goesOn(kept int32) bool {
	x.s.Helper()
	for range 2 {
		x.publish(kept)
		if p, ok := x.take(x.s.h.HandoverTimeout / 4); !ok || p != kept {
			return false
		}
	}
	return true
}

// release settles what is open of the partition. Until then it must stay where it
// is. It reports whether that was done in time.
func (x *standoff) release(going int32) bool {
	x.s.Helper()
	for n := len(x.open[going]); n > 0; n-- {
		select {
		case got := <-x.polled:
			if !x.late() {
				x.s.Fatalf("partition %d was handed over with %d open batches: the other member polled %q, %v", going, n, values(got.records), got.err)
			}
			return false
		default:
		}
		if err := x.settleFirst(going, x.out); err != nil {
			if !x.late() {
				x.s.Fatalf("settle an open batch of the partition that is to go, within the hand-over time: %v", err)
			}
			return false
		}
	}
	return true
}

// pollUntil polls, and keeps what comes open, until the other member's Poll has
// returned.
func (x *standoff) pollUntil() []broker.Record {
	x.s.Helper()
	for deadline := time.Now().Add(x.s.h.Patience); time.Now().Before(deadline); {
		select {
		case got := <-x.polled:
			if got.err != nil {
				x.s.Fatalf("the second member's poll: %v", got.err)
			}
			return got.records
		default:
			x.take(5 * time.Millisecond)
		}
	}
	x.s.Fatal("nothing is handed over")
	return nil
}

// A partition with open batches that another member should have is not polled
// further, while the other one is. It is handed over when the last of its batches
// is settled, and not before.
func handoverWaits(s *suite) {
	s.inTime("a partition is handed over when its open batches are settled", func(try int) bool {
		x := s.standoff(try)
		defer x.other.leave()
		defer x.leave()
		going, ok := x.goesAway()
		if !ok || !x.goesOn(1-going) {
			return false
		}
		next := fmt.Sprintf("%d-%d", going, x.came[going])
		if !x.release(going) {
			return false
		}
		x.publish(going) // if the partition stands at its end
		got := x.pollUntil()
		if x.late() {
			return false
		}
		s.wantValues("the other member polled", got, next)
		for len(x.open[1-going]) > 0 {
			if err := x.settleFirst(1-going, x.out); err != nil {
				s.Fatalf("settle a batch of the partition that is kept: %v", err)
			}
		}
		for p := range int32(2) {
			got := s.read(x.out, p, broker.Start(), broker.Position{})
			s.wantValues("results", got, values(sequence(x.out, p, fmt.Sprintf("%d-", p), x.came[p]))...)
		}
		return true
	})
}

// A member that has nothing to do waits in Poll while others settle its batches. It
// hands over then, not when it is asked next.
func handoverWhilePolling(s *suite) {
	s.inTime("a Poll that waits hands over what is settled meanwhile", func(try int) bool {
		x := s.standoff(try)
		defer x.other.leave()
		defer x.leave()
		waits := x.pollInBackground(broker.Want{Records: 1})
		settleDown()
		for p := range int32(2) {
			for len(x.open[p]) > 0 {
				if err := x.settleFirst(p, ""); err == nil { // results might wake the Poll
					continue
				} else if !x.late() {
					s.Fatalf("settle within the hand-over time: %v", err)
				}
				return false
			}
		}
		for distinct(s.owners(x.group, 2, x.in)) != 2 && !x.late() {
			pause(context.Background(), 2*time.Millisecond)
		}
		inTime := !x.late()
		x.publish(0)
		x.publish(1)
		first, second := <-waits, <-x.polled
		if first.err != nil || second.err != nil {
			s.Fatalf("poll: %v, %v", first.err, second.err)
		}
		if got := append(values(first.records), values(second.records)...); len(got) != 2 || got[0] == got[1] {
			s.Fatalf("two members polled %q and %q, want one record each", values(first.records), values(second.records))
		}
		return inTime
	})
}

// taken is a member that was silent for longer than the hand-over time. It has open
// of each partition a batch, then one batch of both, and again a batch of each.
type taken struct {
	*member
	in, out, group string
	first, last    [2]*broker.Batch
	both           *broker.Batch
	heir           *member
	lost           int32 // a partition that the heir has
	kept           int32 // the other one; -1 when the heir has that too
}

// taken joins the member and its heir, which has answered what it got.
func (s *suite) taken() *taken {
	s.Helper()
	t := &taken{in: s.create("in", 2), out: s.create("out", 2), group: s.name("g")}
	t.member = s.join(t.group, broker.Start(), t.in)
	single := func(p int32, value string) *broker.Batch {
		s.publish(pinned(t.in, p, value))
		b := t.batch(broker.Want{})
		s.wantValues("polled", b.Records, value)
		return b
	}
	t.first = [2]*broker.Batch{single(0, "a0"), single(1, "b0")}
	s.publish(pinned(t.in, 0, "a1"), pinned(t.in, 1, "b1"))
	t.both = t.batch(broker.Want{Records: 2, Wait: s.h.Patience / 2})
	if len(t.both.Records) != 2 {
		s.Fatalf("polled %d records, want 2", len(t.both.Records))
	}
	t.last = [2]*broker.Batch{single(0, "a2"), single(1, "b2")}

	t.heir = s.joinFrom(s.h.Open(s), t.group, broker.Start(), t.in)
	got := t.heir.batch(broker.Want{}) // after the hand-over time
	s.wantSettled("what the heir polled", t.heir.settling(got, answers(t.out, got.Records)...))
	t.lost = got.Records[0].Partition
	t.kept = 1 - t.lost
	owners := s.owners(t.group, 2, t.in)
	if len(owners) != 2 || owners[0] == owners[1] {
		t.kept = -1
	}
	return t
}

// finish lets both work until everything has one result.
func (t *taken) finish() {
	s := t.s
	s.Helper()
	w := worker{s: s, group: t.group, in: []string{t.in}, out: t.out}
	s.workTogether(w, []*member{t.member, t.heir}, func() { s.waitForAnswers(t.group, t.in) })
	s.wantValues("results", s.readAll(t.out), "a0", "a1", "a2", "b0", "b1", "b2")
}

// The batches of a lost partition are fenced, with those behind them that share
// another partition with them, and no others. What was fenced of the partition that
// is kept comes again.
func handoverTaken(s *suite) {
	t := s.taken()
	results := len(s.readAll(t.out))
	all := []*broker.Batch{t.first[0], t.first[1], t.both, t.last[0], t.last[1]}
	var ends []<-chan error
	for _, b := range all { // at once: they may go to the driver together
		ends = append(ends, t.settling(b, answers(t.out, b.Records)...))
	}
	for i, b := range all {
		err := <-ends[i]
		if t.kept >= 0 && b == t.first[t.kept] {
			if err != nil {
				s.Fatalf("settle a batch of the partition that the member has kept: %v", err)
			}
			results++
		} else if !errors.Is(err, broker.ErrFenced) {
			s.Fatalf("settle of %q by a member that has lost partition %d: %v, want an error that is %q", values(b.Records), t.lost, err, broker.ErrFenced)
		}
	}
	if n := len(s.readAll(t.out)); n != results {
		s.Fatalf("after a zombie's settles there are %d results, want %d", n, results)
	}
	if t.kept >= 0 {
		want := values(append(slices.Clone(t.both.Records), t.last[t.kept].Records...))
		want = slices.DeleteFunc(want, func(v string) bool { return v[0] != "ab"[t.kept] })
		var got []string
		for len(got) < len(want) {
			b := t.batch(broker.Want{})
			got = append(got, values(b.Records)...)
			s.wantSettled("what came again", t.settling(b, answers(t.out, b.Records)...))
		}
		if !slices.Equal(got, want) {
			s.Fatalf("of the partition that is kept %q comes again, want %q", got, want)
		}
	}
	t.finish()
}

// Results that are about more than the last records must not appear when any of
// these belongs to another member now.
func handoverAll(s *suite) {
	t := s.taken()
	if err := <-t.settling(t.first[t.lost]); !errors.Is(err, broker.ErrFenced) {
		s.Fatalf("settle of a batch by a member that has lost partition %d: %v", t.lost, err)
	}
	results := values(s.readAll(t.out))
	open := t.first[1-t.lost].Records // all that is left, and perhaps the member's
	for range 2 {                     // not the first time, nor when it tries again
		s.mustFail("settle of all by a member that has lost a partition", broker.ErrFenced, func(ctx context.Context) error {
			return t.Settle(ctx, answers(t.out, open)...)
		})
		s.wantValues("after a zombie's settle", s.readAll(t.out), results...)
	}
	t.finish()
}

// A partition that was another member's meanwhile is a new one. By that the batches
// of before are known.
func handoverSince(s *suite) {
	t := s.taken()
	before := t.Assignment()
	t.heir.leave()
	var after broker.Assignment
	s.eventually("the member has both partitions again", func() bool {
		if _, err := t.tryBatch(broker.Want{}, 50*time.Millisecond); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			s.Fatalf("poll: %v", err)
		}
		after = t.Assignment()
		if err := checkAssignment(before, after, nil); err != nil {
			s.Fatal(err)
		}
		s.publish(pinned(t.in, 0, "more"))
		return len(after.Partitions) == 2 && after.Epoch != before.Epoch
	})
	if was, is := before.Since[t.lost], after.Since[t.lost]; was == is {
		s.Errorf("partition %d was lost and regained, and is the member's since epoch %d as before", t.lost, is)
	}
	if t.kept < 0 {
		return
	}
	if was, is := before.Since[t.kept], after.Since[t.kept]; was != is {
		s.Errorf("partition %d was never lost, and is the member's since epoch %d instead of %d", t.kept, is, was)
	}
}
