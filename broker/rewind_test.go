// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
)

// Rewind of a driver comes when neither of its other calls runs.
func TestTheDriverGoesBackWhenNoSettleIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 2)
		m.settles = refuse(map[string]error{"fenced": ErrFenced})
		b := singles(t, c, m, 2)
		wantErr(t, "a batch of partition 0", begin(t.Context(), b[0], "fenced"), ErrFenced)
		g := make(gate)
		m.settles = g.settles
		slow := begin(t.Context(), b[1], "slow")
		next := polling(t.Context(), c)
		late := begin(t.Context(), b[3], "late")
		wantPolling(t, next)
		g <- struct{}{}
		wantErr(t, "the settle under way", slow, nil)
		wantPolled(t, next, "0/0", "0/1")
		g <- struct{}{}
		wantErr(t, "a settle that began meanwhile", late, nil)
		wantList(t, "published", m.published(), "slow", "late")
	})
}

func TestAPollThatWaitsForASettleGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 2)
		m.settles = refuse(map[string]error{"fenced": ErrFenced})
		b := singles(t, c, m, 2)
		wantErr(t, "a batch of partition 0", begin(t.Context(), b[0], "fenced"), ErrFenced)
		g := make(gate)
		m.settles = g.settles
		slow := begin(t.Context(), b[1], "slow")
		ctx, cancel := context.WithCancel(t.Context())
		next := polling(ctx, c)
		late := begin(t.Context(), b[3], "late")
		cancel()
		synctest.Wait()
		if r := <-next; !errors.Is(r.err, context.Canceled) {
			t.Fatalf("Poll returned %v", r.err)
		}
		for _, done := range []<-chan error{slow, late} {
			g <- struct{}{}
			wantErr(t, "a settle", done, nil)
		}
		wantPolled(t, polling(t.Context(), c), "0/0", "0/1")
	})
}

// A driver that is to go back cannot be asked any more what became of a settle, so
// that comes first.
func TestASettleInDoubtIsGivenAgainBeforeTheDriverGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 2)
		lost := errors.New("connection lost")
		m.settles = func(_ context.Context, n int, _ *Settlement) (bool, error) {
			switch n {
			case 0:
				return false, ErrFenced
			case 1:
				return true, lost
			case 2:
				return false, lost
			}
			return true, nil
		}
		b := singles(t, c, m, 2)
		wantErr(t, "a batch of partition 0", begin(t.Context(), b[0], "fenced"), ErrFenced)
		wantErr(t, "a batch of partition 1", begin(t.Context(), b[1], "doubt"), lost)
		if _, err := c.Poll(t.Context(), Want{}); !errors.Is(err, lost) {
			t.Fatalf("Poll: %v, want the settle's error", err)
		}
		wantPolled(t, polling(t.Context(), c), "0/0", "0/1")
		wantErr(t, "the batch in doubt", begin(t.Context(), b[1], "doubt"), nil)
		wantErr(t, "the batch behind it", begin(t.Context(), b[3], "last"), nil)
		wantList(t, "settled", m.said(), "0:0-1 fenced", "1:0-1 doubt", "1:0-1 doubt", "1:0-1 doubt", "1:1-2 last")
		wantList(t, "published", m.published(), "doubt", "last")
	})
}

func TestRewindForgetsAllBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 2)
		b := singles(t, c, m, 2)
		waiting := begin(t.Context(), b[2], "late")
		c.Rewind()
		wantErr(t, "a batch that waited", waiting, ErrFenced)
		wantErr(t, "the first batch", begin(t.Context(), b[0], "late"), ErrFenced)
		wantPolled(t, polling(t.Context(), c), "0/0", "0/1", "1/0", "1/1")
		wantList(t, "settled", m.said())
		wantList(t, "rewound", []string{fmt.Sprint(m.rewound)}, "[[0 1]]")
	})
}

func TestRewindWaitsForTheSettleUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 1)
		g := make(gate)
		m.settles = g.settles
		b := singles(t, c, m, 3)
		first := begin(t.Context(), b[0], "first")
		second := begin(t.Context(), b[1], "second")
		rewound := make(chan struct{})
		go func() { c.Rewind(); close(rewound) }()
		synctest.Wait()
		third := begin(t.Context(), b[2], "third")
		select {
		case <-rewound:
			t.Fatal("Rewind returned while a settle ran")
		default:
		}
		g <- struct{}{}
		<-rewound
		wantErr(t, "the settle that ran", first, nil)
		wantErr(t, "the one behind it", second, ErrFenced)
		wantErr(t, "the one that came meanwhile", third, ErrFenced)
		wantPolled(t, polling(t.Context(), c), "0/1", "0/2")
	})
}

// A leader may have more than one settle to make.
func TestRewindStopsALeaderBetweenItsSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 2)
		lost, found := errors.New("connection lost"), make(chan struct{})
		m.settles = func(_ context.Context, n int, _ *Settlement) (bool, error) {
			if n == 0 {
				return false, lost
			}
			<-found
			return true, nil
		}
		b := singles(t, c, m, 1)
		wantErr(t, "a batch", begin(t.Context(), b[0], "a"), lost)
		leader := begin(t.Context(), b[1], "b") // finds out about the other one first
		rewound := make(chan struct{})
		go func() { c.Rewind(); close(rewound) }()
		synctest.Wait()
		close(found)
		<-rewound
		wantErr(t, "the leader", leader, ErrFenced)
		wantErr(t, "the batch that was in doubt", begin(t.Context(), b[0], "a"), nil)
		wantList(t, "published", m.published(), "a")
	})
}

func TestRewindEndsASettleOfAllThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 1)
		g := make(gate)
		m.settles = g.settles
		b := singles(t, c, m, 1)
		first := begin(t.Context(), b[0], "first")
		all := make(chan error, 1)
		go func() { all <- c.Settle(t.Context(), results("all")...) }()
		synctest.Wait()
		go c.Rewind()
		synctest.Wait()
		g <- struct{}{}
		wantErr(t, "the settle under way", first, nil)
		wantErr(t, "the one of all", all, ErrFenced)
	})
}

// Of a batch whose settle failed nobody knows after Rewind; the driver finds out.
func TestRewindForgetsASettleInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 1)
		lost := errors.New("connection lost")
		m.settles = func(context.Context, int, *Settlement) (bool, error) { return true, lost }
		b := singles(t, c, m, 2)
		wantErr(t, "a batch", begin(t.Context(), b[0], "a"), lost)
		c.Rewind()
		m.settles = nil
		wantErr(t, "the batch after Rewind", begin(t.Context(), b[0], "a"), ErrFenced)
		wantPolled(t, polling(t.Context(), c), "0/1")
		wantList(t, "published", m.published(), "a")
	})
}

// The driver hears of it, though there is nothing to poll again: what comes next is
// another settlement.
func TestRewindForgetsASettleInDoubtWithoutABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 1)
		lost := errors.New("connection lost")
		m.settles = func(_ context.Context, n int, _ *Settlement) (bool, error) {
			if n == 0 {
				return true, lost
			}
			return true, nil
		}
		if err := c.Settle(t.Context(), results("a")...); !errors.Is(err, lost) {
			t.Fatalf("settle: %v", err)
		}
		c.Rewind()
		if err := c.Settle(t.Context(), results("b")...); err != nil {
			t.Fatal(err)
		}
		wantList(t, "rewound", []string{fmt.Sprint(m.rewound)}, "[[]]")
		wantList(t, "published", m.published(), "a", "b")
	})
}
