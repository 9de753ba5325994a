// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"sync/atomic"
	"time"
)

// clock gives each append a time of its own, later than every one before it.
type clock struct {
	now  func() time.Time
	last atomic.Int64
}

// next is the time of an append, in nanoseconds since 1970.
func (c *clock) next() int64 {
	now := c.now().UnixNano()
	for {
		last := c.last.Load()
		t := max(now, last+1)
		if c.last.CompareAndSwap(last, t) {
			return t
		}
	}
}

// observe makes later times greater than t, which was found in the log.
func (c *clock) observe(t int64) {
	if t > c.last.Load() {
		c.last.Store(t)
	}
}
