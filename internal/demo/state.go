// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"slices"
	"time"
)

// State is how the demo is at a moment. It belongs to the caller.
type State struct {
	Elapsed  time.Duration
	Rate     float64 // what customers write a second, on average
	Samples  int     // how many there are
	Held     bool    // the customers write nothing
	Once     bool
	Deadline time.Duration // of the gather

	Counts
	Open      int // messages not answered yet
	Latencies Latencies

	Services []Service // in the order in which they read; the gather last
	Latest   []Answer  // newest first, at most 64
}

// State tells how the demo is.
func (d *Demo) State() State {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := State{
		Elapsed: time.Since(d.book.begun), Rate: d.c.Rate, Samples: len(d.samples), Held: d.held, Once: d.c.Once, Deadline: d.deadline,
		Counts: d.book.counts, Open: len(d.book.sent), Latencies: d.book.latencies,
		Services: d.meter.state(), Latest: slices.Clone(d.book.latest),
	}
	slices.Reverse(s.Latest)
	return s
}
