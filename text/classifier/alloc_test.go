// SPDX-License-Identifier: Apache-2.0

//go:build !race

package classifier_test

import (
	"testing"

	"github.com/millrace-ml/millrace/text/classifier"
)

// The race detector makes pools forget at random, so allocations say nothing
// under it.

func TestPredictDoesNotAllocate(t *testing.T) {
	m := classifier.English()
	tagged := classifier.Tag(message)
	p := make([]float64, 0, 7)
	if n := testing.AllocsPerRun(100, func() { p, _ = m.Predict(p[:0], tagged) }); n > 0.1 {
		t.Errorf("%v allocations", n)
	}
}
