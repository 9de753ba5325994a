// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
)

// pollResult is what a Poll in the background returned.
type pollResult struct {
	batch *Batch
	err   error
}

func polling(ctx context.Context, c *Consumer) <-chan pollResult {
	done := make(chan pollResult, 1)
	go func() {
		b, err := c.Poll(ctx, Want{})
		done <- pollResult{b, err}
	}()
	synctest.Wait()
	return done
}

// places lists a batch's records as "partition/offset".
func places(b *Batch) []string {
	var list []string
	for i := range b.Records {
		list = append(list, fmt.Sprintf("%d/%d", b.Records[i].Partition, b.Records[i].Offset))
	}
	return list
}

// wantPolled receives the batch of a Poll, which must have come.
func wantPolled(t testing.TB, done <-chan pollResult, want ...string) *Batch {
	t.Helper()
	synctest.Wait()
	select {
	case r := <-done:
		if r.err != nil {
			t.Fatalf("poll: %v", r.err)
		}
		wantList(t, "polled", places(r.batch), want...)
		return r.batch
	default:
		t.Fatalf("Poll waits, and should return %q", want)
		return nil
	}
}

func wantPolling(t testing.TB, done <-chan pollResult) {
	t.Helper()
	synctest.Wait()
	select {
	case r := <-done:
		t.Fatalf("Poll returned %v, and should wait", r)
	default:
	}
}

func TestPollFillsInWhatIsNotWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 1)
		m.publish(0, 3000)
		if n := len(open(t, c, 0).Records); n != 1024 {
			t.Errorf("Poll returned %d records, the default is 1024", n)
		}
		if m.wanted.Bytes != 16<<20 {
			t.Errorf("Poll asked for %d bytes, the default is 16 MiB", m.wanted.Bytes)
		}
	})
}

func TestPollWithAnEndedContextReturnsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 1)
		m.publish(0, 1)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if b, err := c.Poll(ctx, Want{}); b != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("Poll returned %v and %v", b, err)
		}
		wantList(t, "polled", places(open(t, c, 1)), "0/0")
	})
}

func TestAnErrorOfPollIsReturnedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 1)
		m.publish(0, 1)
		lost := errors.New("connection lost")
		m.failPoll(lost)
		if b, err := c.Poll(t.Context(), Want{}); b != nil || !errors.Is(err, lost) || err.Error() != "poll g: connection lost" {
			t.Errorf("Poll returned %v and %v", b, err)
		}
		wantList(t, "polled", places(open(t, c, 1)), "0/0")
	})
}

func TestBatchesOfAPartitionThatIsLostAreFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 2)
		b := singles(t, c, m, 2) // 0:0, 1:0, 0:1, 1:1
		waiting := begin(t.Context(), b[2], "lost")
		m.own(1)
		m.publish(1, 1)
		last := open(t, c, 1)
		wantErr(t, "a batch that waited", waiting, ErrFenced)
		wantErr(t, "a batch of the lost partition", begin(t.Context(), b[0], "lost"), ErrFenced)
		for i, batch := range []*Batch{b[1], b[3], last} {
			wantErr(t, "a batch of the kept partition", begin(t.Context(), batch, fmt.Sprint(i)), nil)
		}
		wantList(t, "published", m.published(), "0", "1", "2")
	})
}

// A partition that was lost and is there again is not what it was: somebody else
// may have settled meanwhile.
func TestBatchesOfAPartitionThatIsRegainedAreFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 2)
		b := singles(t, c, m, 1)
		m.own(1)
		m.own(0, 1)
		m.publish(1, 1)
		again := open(t, c, 10)
		wantList(t, "polled", places(again), "0/0", "1/1")
		wantErr(t, "a batch of before", begin(t.Context(), b[0], "lost"), ErrFenced)
		wantErr(t, "a batch of the other partition", begin(t.Context(), b[1], "kept"), nil)
		wantErr(t, "the batch of afterwards", begin(t.Context(), again, "again"), nil)
		wantList(t, "published", m.published(), "kept", "again")
	})
}

// While its settle runs it is not known whether a batch of a lost partition is
// settled. If it is not, the batch must not stay beside what is polled again.
func TestABatchThatIsLostDuringItsSettleIsFencedAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 2)
		b := singles(t, c, m, 1)
		full := make(chan struct{})
		m.settles = func(_ context.Context, n int, _ *Settlement) (bool, error) {
			if n == 0 {
				<-full
				return false, ErrFull
			}
			return true, nil
		}
		lost := begin(t.Context(), b[0], "lost")
		m.own(1)
		m.own(0, 1)
		again := wantPolled(t, polling(t.Context(), c), "0/0")
		close(full)
		wantErr(t, "the batch whose settle is refused", lost, ErrFenced)
		wantErr(t, "the batch behind it", begin(t.Context(), again, "again"), ErrFenced)
		again = wantPolled(t, polling(t.Context(), c), "0/0")
		wantErr(t, "what came again", begin(t.Context(), again, "again"), nil)
		wantList(t, "published", m.published(), "again")
	})
}

// A batch in doubt is not known to have changed nothing.
func TestABatchInDoubtIsNotFencedBeforeTheDriverSaysSo(t *testing.T) {
	for _, takesPlace := range []bool{false, true} {
		t.Run(fmt.Sprint("took place: ", takesPlace), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, m := joinFake(t, 2)
				lost := errors.New("connection lost")
				m.settles = func(_ context.Context, n int, _ *Settlement) (bool, error) {
					if n == 0 {
						return takesPlace, lost
					}
					return true, nil
				}
				b := singles(t, c, m, 1)
				wantErr(t, "a batch", begin(t.Context(), b[0], "a"), lost)
				m.own(1)
				m.publish(1, 1)
				open(t, c, 1)
				want := ErrFenced
				if takesPlace {
					want = nil
				}
				wantErr(t, "the batch of the partition that is lost", begin(t.Context(), b[0], "a"), want)
			})
		})
	}
}

// wide opens a batch of partition 1, one of partitions 0 and 1, and one more of
// partition 1.
func wide(t testing.TB, c *Consumer, m *fakeMember) (before, both, after *Batch) {
	m.publish(1, 1)
	before = open(t, c, 10)
	m.publish(0, 1)
	m.publish(1, 1)
	both = open(t, c, 10)
	m.publish(1, 1)
	after = open(t, c, 10)
	return before, both, after
}

// Batch "both" is fenced for partition 0. What it has of partition 1 comes again,
// and with it what is behind it; but what is before it is still open, and must
// not come twice.
func TestWhatIsFencedOfAKeptPartitionComesAgainWhenTheBatchesBeforeItAreSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 3)
		before, both, after := wide(t, c, m)
		m.own(1, 2)
		m.publish(2, 1)
		other := wantPolled(t, polling(t.Context(), c), "2/0")
		wantErr(t, "the batch of the lost and the kept partition", begin(t.Context(), both, "both"), ErrFenced)
		wantErr(t, "the batch behind it", begin(t.Context(), after, "after"), ErrFenced)
		next := polling(t.Context(), c)
		wantPolling(t, next)
		wantList(t, "partitions not to poll", m.paused[len(m.paused)-1], "in/1")
		wantErr(t, "a batch of another partition", begin(t.Context(), other, "other"), nil)
		wantErr(t, "the batch before it", begin(t.Context(), before, "before"), nil)
		again := wantPolled(t, next, "1/1", "1/2")
		wantErr(t, "what came again", begin(t.Context(), again, "again"), nil)
		wantList(t, "published", m.published(), "other", "before", "again")
		m.publish(1, 1)
		wantPolled(t, polling(t.Context(), c), "1/3")
	})
}

// A fenced batch takes those behind it along, and they those behind them, in other
// partitions too. The driver need not be asked.
func TestAFenceGoesOnThroughThePartitionsThatBatchesShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 4)
		over := func(partitions ...int32) *Batch {
			for _, p := range partitions {
				m.publish(p, 1)
			}
			return open(t, c, 10)
		}
		chain := []*Batch{over(0, 1), over(1, 2), over(2)}
		apart := over(3)
		m.own(1, 2, 3)
		m.publish(3, 1)
		open(t, c, 10)
		for i, b := range chain {
			wantErr(t, fmt.Sprint("batch ", i), begin(t.Context(), b, "fenced"), ErrFenced)
		}
		wantErr(t, "a batch of another partition", begin(t.Context(), apart, "apart"), nil)
		wantList(t, "settled", m.said(), "3:0-1 apart")
	})
}

// The driver finds out, in a settle, while a Poll waits.
func TestPollBeginsAgainWhenASettleIsFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 2)
		m.settles = refuse(map[string]error{"both": ErrFenced})
		before, both, _ := wide(t, c, m)
		next := polling(t.Context(), c)
		wantPolling(t, next)
		fenced := begin(t.Context(), both, "both")
		wantWaiting(t, "a batch behind another one", fenced)
		wantErr(t, "the batch before it", begin(t.Context(), before, "before"), nil)
		wantErr(t, "the fenced batch", fenced, ErrFenced)
		wantPolled(t, next, "0/0", "1/1", "1/2")
	})
}

// What a driver's Poll brings behind a batch that was fenced meanwhile would leave
// a hole.
func TestWhatIsPolledBehindAFencedBatchIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 1)
		m.settles = refuse(map[string]error{"a": ErrFenced})
		b := singles(t, c, m, 1)
		next := polling(t.Context(), c)
		m.mu.Lock() // the driver has records at hand, and the settle is fenced first
		fenced := make(chan error, 1)
		go func() { fenced <- b[0].Settle(t.Context(), results("a")...) }()
		m.end[0]++
		m.wake()
		m.mu.Unlock()
		if err := <-fenced; !errors.Is(err, ErrFenced) {
			t.Fatalf("settle: %v", err)
		}
		synctest.Wait()
		r := <-next
		if r.err != nil {
			t.Fatal(r.err)
		}
		if !slices.Equal(places(r.batch), []string{"0/0", "0/1"}) && !slices.Equal(places(r.batch), []string{"0/1"}) {
			t.Fatalf("polled %q", places(r.batch))
		}
		if places(r.batch)[0] == "0/1" { // the Poll was first
			wantErr(t, "the batch behind it", begin(t.Context(), r.batch, "b"), ErrFenced)
			r = pollResult{batch: open(t, c, 2)}
		}
		wantErr(t, "both again", begin(t.Context(), r.batch, "b"), nil)
	})
}

func TestCloseEndsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 1)
		m.settles = make(gate).settles
		b := singles(t, c, m, 3)
		first := begin(t.Context(), b[0], "first")
		last := begin(t.Context(), b[2], "last")
		next := polling(t.Context(), c)
		for range 2 {
			if err := c.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		wantErr(t, "the settle under way", first, ErrClosed)
		wantErr(t, "the settle that waits", last, ErrClosed)
		if r := <-next; !errors.Is(r.err, ErrClosed) {
			t.Errorf("the Poll that waits: %v", r.err)
		}
		wantErr(t, "a batch that was open", begin(t.Context(), b[1], "late"), ErrClosed)
		if _, err := c.Poll(t.Context(), Want{}); !errors.Is(err, ErrClosed) {
			t.Errorf("Poll after Close: %v", err)
		}
		if err := c.Settle(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Settle after Close: %v", err)
		}
		c.Rewind() // nothing happens
		wantList(t, "the driver saw", m.d.saw(), "Join g start [in]", "Member.Close")
	})
}

func TestABatchTellsTheBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 2)
		m.publish(0, 3)
		m.publish(1, 4)
		if b := open(t, c, 2); b.Backlog != 5 {
			t.Errorf("the backlog is %d, want 5", b.Backlog)
		}
	})
}

func TestAssignmentIsThatOfTheLastPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 3)
		if a := c.Assignment(); a.Epoch != 0 || len(a.Partitions) != 0 {
			t.Errorf("before the first Poll the assignment is %+v", a)
		}
		m.publish(0, 1)
		open(t, c, 1)
		m.own(0, 2)
		if a := c.Assignment(); !slices.Equal(a.Partitions, seq(3)) {
			t.Errorf("the assignment is %+v", a)
		}
		m.publish(0, 1)
		open(t, c, 1)
		if a := c.Assignment(); !slices.Equal(a.Partitions, []int32{0, 2}) {
			t.Errorf("the assignment is %+v", a)
		}
	})
}
