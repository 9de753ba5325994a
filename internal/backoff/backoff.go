// SPDX-License-Identifier: Apache-2.0

// Package backoff waits between the tries of what fails: longer each time, and
// not all for the same time, so that many do not come back at once.
//
// It is a few lines of arithmetic. github.com/cenkalti/backoff/v5, which is among
// the indirect dependencies, takes as many to be set up, keeps a state where
// franz-go asks for a function of the number of tries, and lets its jitter go
// beyond the longest wait.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Longest is as long as those wait who wait for a broker, so that work resumes
// soon after what was broken has healed.
const Longest = 2 * time.Second

// Backoff is the waits of one who tries. It is not for several goroutines.
type Backoff struct {
	first, most time.Duration
	tries       int
}

// New returns waits of which the first is at most first long, each further one
// at most twice as long, and none longer than most or, if that is more, first.
func New(first, most time.Duration) *Backoff { return &Backoff{first: first, most: max(first, most)} }

// Reset makes the next wait a first one again. To be called after a success.
func (b *Backoff) Reset() { b.tries = 0 }

// Next is how long the next wait is to be, for those who wait in a way of their
// own.
func (b *Backoff) Next() time.Duration {
	b.tries++
	return After(b.tries, b.first, b.most)
}

// Wait waits, and returns early, with the error of ctx, when that ends.
func (b *Backoff) Wait(ctx context.Context) error { return Sleep(ctx, b.Next()) }

// After is how long to wait after so many tries, counted from 1: between half and
// all of first, doubled for each try after the first, up to most.
func After(tries int, first, most time.Duration) time.Duration {
	d := first
	for n := 1; n < tries && 0 < d && d < most; n++ {
		d *= 2
	}
	d = min(d, most)
	return d/2 + rand.N(d-d/2+1)
}

// Sleep waits for d and returns nil, or the error of ctx when that ends before.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
