// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/brokertest"
	servers "github.com/millrace-ml/millrace/internal/servers/redis"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

var conformanceOptions = Options{MaxRecordBytes: 1 << 20, HandoverTimeout: 400 * time.Millisecond, Logger: quiet}

func open(t testing.TB, url string, o Options) *Broker {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	b, err := Open(ctx, url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func harness(url string) *brokertest.Harness {
	return &brokertest.Harness{
		Open:            func(t testing.TB) broker.Broker { return open(t, url, conformanceOptions) },
		HandoverTimeout: conformanceOptions.HandoverTimeout,
		MaxRecordBytes:  conformanceOptions.MaxRecordBytes,
	}
}

// On one server, which is killed where the suite restarts the broker.
func TestConformance(t *testing.T) {
	s := servers.Start(t, servers.Options{AppendFsync: "always"})
	brokertest.Run(t, func(t testing.TB) *brokertest.Harness {
		h := harness(s.URL())
		h.Restart = func(testing.TB) { s.Restart() }
		h.FillDisk = func(t testing.TB) (heal func()) {
			c := s.Client()
			set := func(limit string) {
				if err := c.ConfigSet(context.Background(), "maxmemory", limit).Err(); err != nil {
					t.Fatal(err)
				}
			}
			set("1mb")
			return func() { set("0") }
		}
		return h
	})
}
