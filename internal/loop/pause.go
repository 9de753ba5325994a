// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"context"
	"math/rand/v2"
	"time"
)

// maxPause bounds the wait between tries, so that work resumes soon after what
// was broken has healed.
const maxPause = 2 * time.Second

// Pause is a wait that doubles, with jitter so that many do not return at once.
type Pause struct{ first, next time.Duration }

// NewPause makes a pause whose first wait is about as long as first.
func NewPause(first time.Duration) *Pause { return &Pause{first, first} }

// Reset makes the next wait a first one again.
func (p *Pause) Reset() { p.next = p.first }

// Wait returns early when ctx ends.
func (p *Pause) Wait(ctx context.Context) {
	d := p.next/2 + rand.N(p.next/2+1)
	p.next = min(2*p.next, max(maxPause, p.first))
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
