// SPDX-License-Identifier: Apache-2.0

package backoff

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

func TestWaitsDoubleUpToTheLongest(t *testing.T) {
	b := New(100*time.Millisecond, time.Second)
	for round := range 2 {
		for i, most := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
			most *= time.Millisecond
			if got := b.Next(); got < most/2 || got > most {
				t.Errorf("round %d: wait %d is %v, want %v to %v", round, i+1, got, most/2, most)
			}
		}
		b.Reset()
	}
}

func TestWaitsAreNotAllTheSame(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 100 {
		seen[After(3, time.Second, time.Minute)] = true
	}
	if len(seen) < 50 {
		t.Errorf("of 100 waits %d differ", len(seen))
	}
}

func TestAFirstWaitLongerThanTheLongestIsKept(t *testing.T) {
	b := New(10*time.Second, time.Second)
	for range 3 {
		if got := b.Next(); got < 5*time.Second || got > 10*time.Second {
			t.Errorf("a wait of %v", got)
		}
	}
}

func TestAnyNumberOfTriesHasAWait(t *testing.T) {
	for _, tries := range []int{math.MinInt, 0, 1, 63, 64, 1000, math.MaxInt} {
		if got := After(tries, time.Nanosecond, math.MaxInt64/2); got < 0 {
			t.Errorf("after %d tries a wait of %v", tries, got)
		}
	}
	if got := After(math.MaxInt, 0, time.Second); got != 0 {
		t.Errorf("a wait of %v where there is to be none", got)
	}
}

func TestAWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := New(time.Hour, time.Hour).Wait(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("waited %v, %v", time.Since(began), err)
		}
		began = time.Now()
		if err := Sleep(t.Context(), time.Minute); err != nil || time.Since(began) != time.Minute {
			t.Errorf("slept %v, %v", time.Since(began), err)
		}
	})
}
