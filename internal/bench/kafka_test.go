// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"os"
	"testing"
	"time"

	servers "github.com/millrace-ml/millrace/internal/test/servers/kafka"
)

// With MILLRACE_BENCH_KAFKA=duration it measures that long; otherwise it only
// sees that both loops run.
func TestKafkaSettle(t *testing.T) {
	c := servers.ForTest(t, servers.Options{})
	d := time.Second
	if v := os.Getenv("MILLRACE_BENCH_KAFKA"); v != "" {
		var err error
		if d, err = time.ParseDuration(v); err != nil {
			t.Fatal(err)
		}
	}
	r, err := KafkaSettle(t.Context(), c.URL(), d)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("bare %.0f/s, loop %.0f/s, ratio %.2f", r.Bare, r.Loop, r.Ratio())
	if r.Bare == 0 || r.Loop == 0 {
		t.Error("one of the loops stood still")
	}
}
