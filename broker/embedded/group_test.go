// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrace-ml/millrace/broker"
)

func TestTheBalanceIsEvenAndMovesNoMoreThanItMust(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 30).Draw(t, "partitions")
		before := make([]*member, n)
		var members []*member
		for range rapid.IntRange(1, 20).Draw(t, "changes") {
			if len(members) > 0 && rapid.Bool().Draw(t, "leaves") {
				i := rapid.IntRange(0, len(members)-1).Draw(t, "who")
				members = append(members[:i:i], members[i+1:]...)
			} else {
				members = append(members, &member{})
			}
			after := balance(before, members)
			checkBalance(t, before, after, members)
			before = after
		}
	})
}

func checkBalance(t *rapid.T, before, after, members []*member) {
	had, has := map[*member]int{}, map[*member]int{}
	kept := 0
	for p := range after {
		had[before[p]]++
		has[after[p]]++
		if before[p] == after[p] {
			kept++
		}
	}
	if len(members) == 0 {
		if has[nil] != len(after) {
			t.Fatalf("without members %d of %d partitions have none", has[nil], len(after))
		}
		return
	}
	least, most := len(after)/len(members), (len(after)+len(members)-1)/len(members)
	couldKeep, extra := 0, len(after)%len(members)
	for _, m := range members {
		if has[m] < least || has[m] > most {
			t.Fatalf("a member has %d of %d partitions, there are %d members", has[m], len(after), len(members))
		}
		couldKeep += min(had[m], least)
		if had[m] > least && extra > 0 {
			couldKeep++
			extra--
		}
	}
	if kept != couldKeep {
		t.Fatalf("%d partitions stay where they were, %d could", kept, couldKeep)
	}
}

func join(t testing.TB, b *broker.Broker, topics ...string) *broker.Consumer {
	t.Helper()
	c, err := b.Join(context.Background(), "g", broker.Start(), topics...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestMembersOfAGroupReadTheSameTopics(t *testing.T) {
	b := newTestDisk().open(t, Options{})
	createTopic(t, b, "a", 2)
	createTopic(t, b, "b", 2)
	first := join(t, b, "a", "b")
	join(t, b, "b", "a") // in any order
	if _, err := b.Join(t.Context(), "g", broker.Start(), "a"); !errors.Is(err, broker.ErrTopicConflict) {
		t.Errorf("a member that reads less than the others gets %v", err)
	}
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A settle that has begun ends before the partition is taken, however late it is.
func TestAnOverdueHandOverWaitsForASettleThatHasBegun(t *testing.T) {
	b := newTestDisk().open(t, Options{HandoverTimeout: time.Millisecond})
	createTopic(t, b, "in", 1)
	createTopic(t, b, "out", 1)
	publish(t, b, "in", "x")
	old := join(t, b, "in")
	batch, err := old.Poll(t.Context(), broker.Want{})
	if err != nil {
		t.Fatal(err)
	}
	g := driverOf(b).groups["g"]
	m := g.members[0]
	// The settle is held up where it takes the partition's lock.
	p := driverOf(b).topics["out"].partitions[0]
	p.appending.Lock()
	settled := make(chan error)
	go func() { settled <- batch.Settle(context.Background(), broker.Record{Topic: "out"}) }()
	waitFor(t, g, func() bool { return m.settling })
	g.mu.Lock()
	fresh := newMember(g)
	g.members = append(g.members, fresh)
	g.target[0] = fresh
	g.handOver()
	g.mu.Unlock()
	waitFor(t, g, func() bool { return m.overdue })
	p.appending.Unlock()
	if err := <-settled; err != nil {
		t.Errorf("the settle that had begun: %v", err)
	}
	if err := old.Settle(t.Context()); !errors.Is(err, broker.ErrFenced) {
		t.Errorf("the next settle: %v, want an error that is %q", err, broker.ErrFenced)
	}
	if n := count(t, b, "out"); n != 1 {
		t.Errorf("%d results, want 1", n)
	}
}

// waitFor waits for something that another goroutine is about to do.
func waitFor(t *testing.T, g *group, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		g.mu.Lock()
		ok := is()
		g.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("it never happens")
		}
		runtime.Gosched()
	}
}

func TestHundredsWaitAndAllAreWoken(t *testing.T) {
	b := newTestDisk().open(t, Options{})
	createTopic(t, b, "t", 4)
	var ready, done sync.WaitGroup
	for range 300 {
		r, err := b.Read(t.Context(), "t", broker.AllPartitions, broker.End(), broker.Forever())
		if err != nil {
			t.Fatal(err)
		}
		ready.Add(1)
		done.Go(func() {
			defer r.Close()
			ready.Done()
			for n := 0; n < 8; {
				records, err := r.Next(context.Background(), 0)
				if err != nil {
					t.Error(err)
					return
				}
				n += len(records)
			}
		})
	}
	ready.Wait()
	for p := range int32(8) {
		if _, err := b.Publish(t.Context(), broker.Record{Topic: "t", Pinned: true, Partition: p % 4}); err != nil {
			t.Fatal(err)
		}
	}
	done.Wait()
}
