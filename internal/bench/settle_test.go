// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"testing"
	"time"
)

// The loop through the contract against Pebble alone, on a real disk with fsync.
func BenchmarkSettle(b *testing.B) {
	var sum SettleResult
	n := 0
	for b.Loop() {
		r, err := Settle(b.Context(), b.TempDir(), 2*time.Second)
		if err != nil {
			b.Fatal(err)
		}
		sum.Bare += r.Bare
		sum.Loop += r.Loop
		n++
	}
	b.ReportMetric(sum.Bare/float64(n), "bare-records/s")
	b.ReportMetric(sum.Loop/float64(n), "loop-records/s")
	b.ReportMetric(sum.Ratio(), "ratio")
}
