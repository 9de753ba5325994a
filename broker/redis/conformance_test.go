// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"flag"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/brokertest"
	"github.com/millrace-ml/millrace/internal/test/servers/proxy"
	servers "github.com/millrace-ml/millrace/internal/test/servers/redis"
)

func TestMain(m *testing.M) {
	// Every step of the model is several calls of a server.
	if err := flag.Set("rapid.checks", "10"); err != nil {
		panic(err)
	}
	redis.SetLogger(&logging.VoidLogger{}) // it would write of every connection that a test ends
	goleak.VerifyTestMain(m, proxy.IgnoreLeaks()...)
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

var conformanceOptions = Options{MaxRecordBytes: 1 << 20, HandoverTimeout: 400 * time.Millisecond, Logger: quiet}

func open(t testing.TB, url string, o Options) *broker.Broker {
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
		Open:            func(t testing.TB) *broker.Broker { return open(t, url, conformanceOptions) },
		HandoverTimeout: conformanceOptions.HandoverTimeout,
		MaxRecordBytes:  conformanceOptions.MaxRecordBytes,
	}
}

// On one server, which is killed where the suite restarts the broker.
func TestConformance(t *testing.T) {
	t.Parallel()
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

// On a cluster of three masters. Different namespaces are on different nodes.
func TestConformanceOnACluster(t *testing.T) {
	t.Parallel()
	c := servers.StartCluster(t, servers.Options{AppendFsync: "always"})
	brokertest.Run(t, func(t testing.TB) *brokertest.Harness {
		h := harness(c.URL())
		node := c.NodeOf(t, newKeys(DefaultNamespace).generation())
		h.Restart = func(testing.TB) { node.Restart() }
		return h
	})
}

// Through a network that fails all the time.
func TestConformanceThroughABadNetwork(t *testing.T) {
	t.Parallel()
	s := servers.Start(t, servers.Options{AppendFsync: "always"})
	p := proxy.Start(t, s.Addr())
	stop := p.Torment(60 * time.Millisecond)
	t.Cleanup(stop)
	brokertest.Run(t, func(t testing.TB) *brokertest.Harness {
		o := conformanceOptions
		o.HandoverTimeout = 1500 * time.Millisecond
		h := harness("redis://" + p.Addr())
		h.Open = func(t testing.TB) *broker.Broker { return open(t, "redis://"+p.Addr(), o) }
		h.HandoverTimeout = o.HandoverTimeout
		h.Patience = time.Minute
		h.Restart = func(testing.TB) { s.Restart() }
		return h
	})
}
