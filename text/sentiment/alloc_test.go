// SPDX-License-Identifier: Apache-2.0

//go:build !race

package sentiment_test

import (
	"testing"

	"github.com/millrace-ml/millrace/text/sentiment"
)

// The race detector makes pools forget at random, so allocations say nothing
// under it.

func TestPredictDoesNotAllocate(t *testing.T) {
	m := sentiment.English()
	p := make([]float64, 0, 3)
	if n := testing.AllocsPerRun(100, func() { p, _ = m.Predict(p[:0], message) }); n > 0.1 {
		t.Errorf("%v allocations", n)
	}
}
