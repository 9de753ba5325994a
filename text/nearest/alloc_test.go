// SPDX-License-Identifier: Apache-2.0

//go:build !race

package nearest_test

import "testing"

// The race detector makes pools forget at random, so allocations say nothing
// with it.
func TestALearnedSearchDoesNotAllocate(t *testing.T) {
	f := learn(t, docks, lessons(20), 0)
	vector := []float32{1, 0.9, 0}
	matches := f.Search(nil, "please help", vector, 2)
	if n := testing.AllocsPerRun(100, func() { matches = f.Search(matches[:0], "please help", vector, 2) }); n >= 1 {
		t.Errorf("%v allocations a search", n)
	}
}
