// SPDX-License-Identifier: Apache-2.0

//go:build !race

package linear_test

import (
	"testing"

	"github.com/millrace-ml/millrace/text/linear"
)

// The race detector makes pools forget at random, so allocations say nothing
// under it.

func TestPredictingDoesNotAllocate(t *testing.T) {
	m := train(t, small, linear.Training{Folds: -1})
	v := new(linear.Vector)
	p := make([]float64, 0, 2)
	if n := testing.AllocsPerRun(100, func() {
		v.Reset()
		v.AddText(&small, "two red apples, and not a single pear")
		p, _ = m.Probabilities(p[:0], v)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
