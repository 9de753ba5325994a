// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

func TestSettleOfAllTakesWhatIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 2)
		b := singles(t, c, m, 2)
		if err := c.Settle(t.Context(), results("all")...); err != nil {
			t.Fatal(err)
		}
		if err := c.Settle(t.Context(), results("more")...); err != nil {
			t.Fatal(err)
		}
		for _, batch := range b {
			wantErr(t, "a batch that is settled", begin(t.Context(), batch, "twice"), nil)
		}
		wantList(t, "settled", m.said(), "0:0-2 1:0-2 all all", "all more")
	})
}

// One of the two would be settled without its results.
func TestSettleOfAllIsRefusedBesideThatOfABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 1)
		b := singles(t, c, m, 2)
		waits := begin(t.Context(), b[1], "second") // for the first
		synctest.Wait()
		if err := c.Settle(t.Context(), results("all")...); !errors.Is(err, errTwice) {
			t.Errorf("Settle of all returned %v beside that of a batch", err)
		}
		wantErr(t, "the first", begin(t.Context(), b[0], "first"), nil)
		wantErr(t, "the second", waits, nil)
		wantList(t, "settled", m.said(), "0:0-2 first second")
	})
}

func TestSettleOfAllIsFencedUntilTheNextPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 2)
		b := singles(t, c, m, 1)
		m.settles = func(context.Context, int, *Settlement) (bool, error) { return false, ErrFenced }
		for range 2 {
			if err := c.Settle(t.Context(), results("late")...); !errors.Is(err, ErrFenced) {
				t.Fatalf("Settle: %v, want ErrFenced", err)
			}
		}
		wantErr(t, "a batch", begin(t.Context(), b[0], "late"), ErrFenced)
		wantList(t, "settled", m.said(), "0:0-1 1:0-1 all late")
		m.settles = nil
		if again := open(t, c, 10); len(again.Records) != 2 {
			t.Fatalf("%d records come again, want 2", len(again.Records))
		}
		if err := c.Settle(t.Context(), results("again")...); err != nil {
			t.Fatal(err)
		}
	})
}

// After an error of unknown outcome the same Settle takes place once, whatever
// was polled meanwhile.
func TestSettleOfAllInDoubtTakesPlaceOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := joinFake(t, 1)
		lost := errors.New("connection lost")
		m.settles = func(_ context.Context, n int, _ *Settlement) (bool, error) {
			if n < 2 {
				return n == 1, lost
			}
			return true, nil
		}
		b := singles(t, c, m, 2)
		if err := c.Settle(t.Context(), results("all")...); !errors.Is(err, lost) {
			t.Fatalf("Settle: %v", err)
		}
		wantErr(t, "a batch of it", begin(t.Context(), b[1], "no"), lost)
		m.publish(0, 1)
		later := open(t, c, 1)
		if err := c.Settle(t.Context(), results("all")...); err != nil {
			t.Fatal(err)
		}
		wantErr(t, "a batch of it", begin(t.Context(), b[1], "no"), nil)
		wantErr(t, "a later batch", begin(t.Context(), later, "later"), nil)
		wantList(t, "settled", m.said(), "0:0-2 all all", "0:0-2 all all", "0:0-2 all all", "0:2-3 later")
		wantList(t, "published", m.published(), "all", "later")
	})
}
