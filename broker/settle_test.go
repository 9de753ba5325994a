// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// singles publishes n records to each partition and polls them one by one, the
// partitions in turn.
func singles(t testing.TB, c *Consumer, m *fakeMember, n int) []*Batch {
	t.Helper()
	var list []*Batch
	for range n {
		for p := range m.end {
			m.publish(int32(p), 1)
			list = append(list, open(t, c, 1))
		}
	}
	return list
}

func results(values ...string) []Record {
	records := make([]Record, len(values))
	for i, v := range values {
		records[i] = Record{Topic: "out", Pinned: true, Value: []byte(v)}
	}
	return records
}

// begin settles a batch in the background, and waits until that waits.
func begin(ctx context.Context, b *Batch, values ...string) <-chan error {
	done := make(chan error, 1)
	go func() { done <- b.Settle(ctx, results(values...)...) }()
	synctest.Wait()
	return done
}

// gate lets settles through one by one.
type gate chan struct{}

func (g gate) settles(ctx context.Context, _ int, _ *Settlement) (bool, error) {
	select {
	case <-g:
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

func TestABatchWaitsForThoseBeforeItInItsPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 2)
		b := singles(t, c, m, 2) // 0:0, 1:0, 0:1, 1:1
		late := begin(t.Context(), b[2], "late")
		wantWaiting(t, "the second batch of partition 0", late)
		wantErr(t, "the first batch of partition 1", begin(t.Context(), b[1], "other"), nil)
		wantWaiting(t, "the second batch of partition 0", late)
		wantErr(t, "the first batch of partition 0", begin(t.Context(), b[0], "first"), nil)
		wantErr(t, "the second batch of partition 0", late, nil)
		wantList(t, "settled", m.said(), "1:0-1 other", "0:0-2 first late")
	})
}

func TestWhatBecomesReadyDuringASettleIsSettledTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 2)
		g := make(gate)
		m.settles = g.settles
		b := singles(t, c, m, 3)
		first := begin(t.Context(), b[0], "a")
		var rest []<-chan error
		for i, batch := range b[1:] {
			rest = append(rest, begin(t.Context(), batch, string(rune('b'+i))))
		}
		wantList(t, "settled while the first settle runs", m.said(), "0:0-1 a")
		g <- struct{}{}
		wantErr(t, "the first batch", first, nil)
		g <- struct{}{}
		for _, done := range rest {
			wantErr(t, "a batch that waited", done, nil)
		}
		wantList(t, "settled", m.said(), "0:0-1 a", "1:0-3 0:1-3 b c d e f")
	})
}

// The one whose settle runs hands the lead to one that waits.
func TestTheLeadIsHandedOverWhenItsSettleIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 1)
		g := make(gate)
		m.settles = g.settles
		b := singles(t, c, m, 3)
		one := begin(t.Context(), b[0], "a")
		two := begin(t.Context(), b[1], "b")
		g <- struct{}{}
		wantErr(t, "the first batch", one, nil)
		three := begin(t.Context(), b[2], "c")
		wantList(t, "settled", m.said(), "0:0-1 a", "0:1-2 b")
		g <- struct{}{}
		wantErr(t, "the second batch", two, nil)
		g <- struct{}{}
		wantErr(t, "the third batch", three, nil)
		wantList(t, "settled", m.said(), "0:0-1 a", "0:1-2 b", "0:2-3 c")
	})
}

func TestASettleThatWaitsGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 1)
		b := singles(t, c, m, 3)
		ctx, cancel := context.WithCancel(t.Context())
		gone := begin(ctx, b[1], "gone")
		last := begin(t.Context(), b[2], "last")
		cancel()
		wantErr(t, "a batch whose context has ended", gone, context.Canceled)
		wantErr(t, "the first batch", begin(t.Context(), b[0], "first"), nil)
		wantWaiting(t, "the last batch, behind the one that gave up", last)
		wantErr(t, "the one that gave up, again", begin(t.Context(), b[1], "again"), nil)
		wantErr(t, "the last batch", last, nil)
		wantList(t, "published", m.published(), "first", "again", "last")
	})
}

// A leader whose context ends leaves its settle in doubt: the next one finds out
// by giving it to the driver again.
func TestASettleInDoubtIsGivenAgainByTheNextLeader(t *testing.T) {
	for _, takesPlace := range []bool{false, true} {
		t.Run(fmt.Sprint("took place: ", takesPlace), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, m := joinFake(t, 1)
				m.settles = func(ctx context.Context, n int, _ *Settlement) (bool, error) {
					if n > 0 {
						return true, nil
					}
					<-ctx.Done()
					return takesPlace, ctx.Err()
				}
				b := singles(t, c, m, 2)
				ctx, cancel := context.WithCancel(t.Context())
				first := begin(ctx, b[0], "a")
				second := begin(t.Context(), b[1], "b")
				cancel()
				wantGone(t, "the leader", first)
				wantErr(t, "the one behind it", second, nil)
				wantErr(t, "the leader again", begin(t.Context(), b[0], "a"), nil)
				wantList(t, "settled", m.said(), "0:0-1 a", "0:0-1 a", "0:1-2 b")
				wantList(t, "published", m.published(), "a", "b")
			})
		})
	}
}

// Several batches are in one settle in doubt: each that waits goes on by itself,
// and one that gave up may come back with its results or not.
func TestASettleOfSeveralInDoubtStaysWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 1)
		g := make(gate)
		m.settles = g.settles
		b := singles(t, c, m, 4)
		one := begin(t.Context(), b[0], "a")
		ctx, cancel := context.WithCancel(t.Context())
		two := begin(ctx, b[1], "b")
		three := begin(t.Context(), b[2], "c")
		g <- struct{}{} // now two leads, for three as well
		wantErr(t, "the first batch", one, nil)
		cancel()
		wantGone(t, "the second, which led", two)
		four := begin(t.Context(), b[3], "d")
		wantList(t, "settled", m.said(), "0:0-1 a", "0:1-3 b c", "0:1-3 b c")
		g <- struct{}{}
		wantErr(t, "the third batch", three, nil)
		wantErr(t, "the second batch again", begin(t.Context(), b[1], "b"), nil)
		g <- struct{}{}
		wantErr(t, "the fourth batch", four, nil)
		wantList(t, "published", m.published(), "a", "b", "c", "d")
	})
}

func TestAnErrorOfUnknownOutcomeIsReturnedToAllThatWaitForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 1)
		lost := errors.New("connection lost")
		g := make(chan error)
		m.settles = func(context.Context, int, *Settlement) (bool, error) {
			err := <-g
			return err == nil, err
		}
		b := singles(t, c, m, 3)
		one := begin(t.Context(), b[0], "a")
		two, three := begin(t.Context(), b[1], "b"), begin(t.Context(), b[2], "c")
		g <- nil
		wantErr(t, "the first batch", one, nil)
		g <- lost
		wantErr(t, "the second batch", two, lost)
		wantErr(t, "the third batch", three, lost)
		wantList(t, "settled", m.said(), "0:0-1 a", "0:1-3 b c")
		three = begin(t.Context(), b[2], "c")
		g <- nil
		wantErr(t, "the third batch again", three, nil)
		wantErr(t, "the second batch again", begin(t.Context(), b[1], "b"), nil)
		wantList(t, "settled", m.said(), "0:0-1 a", "0:1-3 b c", "0:1-3 b c")
	})
}

// refuse answers settles by the first result's value.
func refuse(verdicts map[string]error) func(context.Context, int, *Settlement) (bool, error) {
	return func(_ context.Context, _ int, s *Settlement) (bool, error) {
		for i := range s.Records {
			if err := verdicts[string(s.Records[i].Value)]; err != nil {
				return false, err
			}
		}
		return true, nil
	}
}

// together settles the batches at the same time, with the results "0", "1", …,
// behind one that is held in the driver until all wait.
func together(t *testing.T, m *fakeMember, first *Batch, rest []*Batch) []<-chan error {
	t.Helper()
	answers, held := m.settles, make(chan struct{})
	m.settles = func(ctx context.Context, n int, s *Settlement) (bool, error) {
		if n == 0 {
			<-held
			return true, nil
		}
		return answers(ctx, n, s)
	}
	head := begin(t.Context(), first, "held")
	var list []<-chan error
	for i, b := range rest {
		list = append(list, begin(t.Context(), b, fmt.Sprint(i)))
	}
	close(held)
	wantErr(t, "the batch before the others", head, nil)
	return list
}

func TestOneFencedBatchDoesNotFenceTheOthersOfItsSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 3)
		m.settles = refuse(map[string]error{"0": ErrFenced})
		b := singles(t, c, m, 2) // 0:0, 1:0, 2:0, 0:1, 1:1, 2:1
		done := together(t, m, b[0], b[1:])
		for i, want := range []error{ErrFenced, nil, nil, ErrFenced, nil} {
			wantErr(t, fmt.Sprint("batch ", i), done[i], want)
		}
		wantList(t, "published", m.published(), "held", "1", "2", "4")
		again := open(t, c, 10)
		if len(again.Records) != 2 || again.Records[0].Partition != 1 {
			t.Errorf("what was fenced comes again as %v", again.Records)
		}
	})
}

func TestOneRefusedBatchDoesNotRefuseTheOthersOfItsSettle(t *testing.T) {
	for _, refusal := range []error{ErrTooLarge, ErrUnknownTopic} {
		t.Run(refusal.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, m := joinFake(t, 3)
				m.settles = refuse(map[string]error{"0": refusal})
				b := singles(t, c, m, 2)
				done := together(t, m, b[0], b[1:])
				wantErr(t, "the batch that is refused", done[0], refusal)
				for _, i := range []int{1, 2, 4} {
					wantErr(t, fmt.Sprint("batch ", i), done[i], nil)
				}
				wantWaiting(t, "the batch behind it", done[3])
				wantErr(t, "the batch that was refused, with other results", begin(t.Context(), b[1], "smaller"), nil)
				wantErr(t, "the batch behind it", done[3], nil)
				wantList(t, "published", m.published(), "held", "1", "2", "4", "smaller", "3")
			})
		})
	}
}

func TestAFullDiskIsForAllOfASettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 2)
		m.settles = refuse(map[string]error{"0": ErrFull})
		b := singles(t, c, m, 2)
		for i, done := range together(t, m, b[0], b[1:]) {
			wantErr(t, fmt.Sprint("batch ", i), done, ErrFull)
		}
		m.settles = nil
		wantErr(t, "a batch when there is room", begin(t.Context(), b[1], "x"), nil)
		wantList(t, "published", m.published(), "held", "x")
	})
}

// Finding out which batch is fenced takes several calls. A leader that leaves in
// the middle must not take those with it that wait.
func TestALeaderThatLeavesWhileOneByOneDoesNotFailTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 3)
		ctx, cancel := context.WithCancel(t.Context())
		held := make(chan struct{})
		m.settles = func(ctx context.Context, n int, _ *Settlement) (bool, error) {
			switch n {
			case 0:
				<-held
			case 1:
				return false, ErrFenced // of both
			case 2:
				cancel()
				return false, ctx.Err() // of the leader's own
			}
			return true, nil
		}
		b := singles(t, c, m, 1)
		first := begin(t.Context(), b[0], "a")
		leader := begin(ctx, b[1], "b")
		other := begin(t.Context(), b[2], "c")
		close(held)
		wantErr(t, "the batch before them", first, nil)
		wantGone(t, "the leader", leader)
		wantErr(t, "the other one", other, nil)
		wantErr(t, "the leader again", begin(t.Context(), b[1], "b"), nil)
		wantList(t, "published", m.published(), "a", "b", "c")
	})
}

// Whoever finds out about a settle in doubt does not answer for it.
func TestTheRefusalOfASettleInDoubtIsNotTheNextLeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 2)
		m.settles = func(ctx context.Context, n int, _ *Settlement) (bool, error) {
			switch n {
			case 0:
				return false, errors.New("connection lost")
			case 1:
				return false, ErrUnknownTopic
			}
			return true, nil
		}
		b := singles(t, c, m, 1)
		if err := b[0].Settle(t.Context(), results("a")...); err == nil {
			t.Fatal("a settle of unknown outcome returned nil")
		}
		wantErr(t, "the next batch", begin(t.Context(), b[1], "b"), nil)
		wantList(t, "settled", m.said(), "0:0-1 a", "0:0-1 a", "1:0-1 b")
		wantErr(t, "the first batch again", begin(t.Context(), b[0], "a"), nil)
	})
}

func TestABatchIsSettledByOneSettleAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 1)
		g := make(gate)
		m.settles = g.settles
		b := singles(t, c, m, 1)
		one := begin(t.Context(), b[0], "a")
		two := begin(t.Context(), b[0], "b")
		select {
		case err := <-two:
			if err == nil || !strings.Contains(err.Error(), "under way") {
				t.Errorf("a second Settle of a batch: %v", err)
			}
		default:
			t.Error("a second Settle of a batch waits")
		}
		g <- struct{}{}
		wantErr(t, "the first Settle", one, nil)
		wantList(t, "published", m.published(), "a")
	})
}

// It is a batch's turn to lead at the moment at which its context ends.
func TestABatchThatGivesUpPassesTheLeadOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 2)
		b := singles(t, c, m, 1)
		c.settling = true // by somebody who passes the lead on to the first batch
		other := begin(t.Context(), b[1], "other")
		b[0].ready = true
		b[0].wake <- nil
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := c.giveUp(ctx, b[0]); !errors.Is(err, context.Canceled) {
			t.Errorf("the batch that gives up: %v", err)
		}
		wantErr(t, "the other batch", other, nil)
		wantList(t, "published", m.published(), "other")
	})
}

func TestSettledBatchesStaySettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 1)
		b := singles(t, c, m, 1)
		for range 2 {
			wantErr(t, "the batch", begin(t.Context(), b[0], "a"), nil)
		}
		wantList(t, "settled", m.said(), "0:0-1 a")
	})
}

func TestASettleTakesSoManyBatchesAndBytesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 1)
		m.settles = refuse(nil)
		b := singles(t, c, m, settleBatches+3)
		for i, done := range together(t, m, b[0], b[1:]) {
			wantErr(t, fmt.Sprint("batch ", i), done, nil)
		}
		if n := len(m.said()); n != 3 {
			t.Errorf("%d batches were settled in %d settles, want 3", len(b), n)
		}
		if n := strings.Count(m.said()[1], " "); n != settleBatches {
			t.Errorf("%d batches were settled at once, want %d", n, settleBatches)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 1)
		m.settles = refuse(nil)
		b := singles(t, c, m, 6)
		held := make(chan struct{})
		m.settles = func(context.Context, int, *Settlement) (bool, error) { <-held; return true, nil }
		third := strings.Repeat("x", settleBytes/3)
		var list []<-chan error
		for _, batch := range b {
			list = append(list, begin(t.Context(), batch, third))
		}
		close(held)
		for _, done := range list {
			wantErr(t, "a batch", done, nil)
		}
		var sizes []int
		for _, s := range m.said() {
			sizes = append(sizes, strings.Count(s, " "))
		}
		if !slices.Equal(sizes, []int{1, 4, 1}) {
			t.Errorf("batches of a third of the limit were settled as %v", sizes)
		}
	})
}

func TestARecordThatIsTooLargeIsNamedByItsIndex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 1)
		b := singles(t, c, m, 1)
		err := b[0].Settle(t.Context(), results("a", strings.Repeat("x", DefaultMaxRecordBytes+1))...)
		var large *TooLargeError
		if !errors.As(err, &large) || large.Index != 1 || large.Limit != DefaultMaxRecordBytes {
			t.Errorf("settle of a large result: %v", err)
		}
		wantErr(t, "the batch", begin(t.Context(), b[0], "a"), nil)
		wantList(t, "settled", m.said(), "0:0-1 a")
	})
}

func TestABatchIsOpenAfterARefusedResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 1)
		b := singles(t, c, m, 2)
		bad := Record{Topic: "nowhere"}
		for range 2 {
			if err := b[0].Settle(t.Context(), append(results("a"), bad)...); !errors.Is(err, ErrUnknownTopic) {
				t.Errorf("settle of a result for an unknown topic: %v", err)
			}
			if err := c.Settle(t.Context(), append(results("a"), bad)...); !errors.Is(err, ErrUnknownTopic) {
				t.Errorf("settle of all with a result for an unknown topic: %v", err)
			}
		}
		wantErr(t, "the batch", begin(t.Context(), b[0], "a"), nil)
		wantErr(t, "the batch behind it", begin(t.Context(), b[1], "b"), nil)
		wantList(t, "settled", m.said(), "0:0-1 a", "0:1-2 b")
	})
}

func TestOldestIsTheOldestRecordOfABatch(t *testing.T) {
	now := time.Now()
	b := &Batch{Records: []Record{{Time: now}, {Time: now.Add(-time.Minute)}, {Time: now.Add(time.Second)}}}
	if got := b.Oldest(); !got.Equal(now.Add(-time.Minute)) {
		t.Errorf("Oldest is %v, want a minute before %v", got, now)
	}
}

// Settles of one batch from several goroutines are a mistake that must not stop
// anything: one at a time goes on, the others are refused.
func TestManySettlesOfOneBatchStopNothing(t *testing.T) {
	c, m := joinFake(t, 1)
	m.settles = func(context.Context, int, *Settlement) (bool, error) { return false, ErrFull }
	b := singles(t, c, m, 1)[0]
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			for range 3_000 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i+1)*3*time.Microsecond)
				_ = b.Settle(ctx, results("x")...)
				cancel()
			}
		})
	}
	ended := make(chan struct{})
	go func() { all.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Fatal("a Settle does not return")
	}
	c.Rewind()
}
