// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"context"
	"math/rand/v2"
	"time"
)

// maxPause bounds the wait between tries, so that work resumes soon after what
// was broken has healed.
const maxPause = 2 * time.Second

// pause is a wait that doubles, with jitter so that many do not return at once.
type pause struct{ first, next time.Duration }

func newPause(first time.Duration) *pause { return &pause{first, first} }

func (p *pause) reset() { p.next = p.first }

// wait returns early when ctx ends.
func (p *pause) wait(ctx context.Context) {
	d := p.next/2 + rand.N(p.next/2+1)
	p.next = min(2*p.next, max(maxPause, p.first))
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
