// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"os"
	"testing"
	"time"

	servers "github.com/millrace-ml/millrace/internal/test/servers/redis"
)

// The settle loop on Redis beside a loop written directly with its client. The
// figures are for people; what fails here is a loop that does not work.
func TestRedisSettleMeasuresBothLoops(t *testing.T) {
	d := 500 * time.Millisecond
	if os.Getenv("MILLRACE_LONG") != "" {
		d = 5 * time.Second
	}
	for _, fsync := range []string{"", "everysec", "always"} {
		s := servers.Start(t, servers.Options{AppendFsync: fsync})
		r, err := RedisSettle(t.Context(), s.Addr(), d)
		if err != nil {
			t.Fatal(err)
		}
		if r.Bare <= 0 || r.Loop <= 0 {
			t.Fatalf("appendfsync %q: measured %+v", fsync, r)
		}
		t.Logf("appendfsync %-8q  bare %7.0f/s  loop %7.0f/s  ratio %.2f", fsync, r.Bare, r.Loop, r.Ratio())
		if keys, err := s.Client().DBSize(t.Context()).Result(); err != nil || keys != 0 {
			t.Errorf("%d keys are left, %v", keys, err)
		}
		s.Stop()
	}
}
