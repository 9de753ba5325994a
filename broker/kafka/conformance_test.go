// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/brokertest"
	servers "github.com/millrace-ml/millrace/internal/test/servers/kafka"
	"github.com/millrace-ml/millrace/internal/test/servers/proxy"
)

// shared is one node for the tests that leave it alone; see node.
var shared struct {
	once    sync.Once
	cluster *servers.Cluster
	err     error
}

// node returns the shared node, which the first test that needs it starts.
func node(t testing.TB) *servers.Cluster {
	t.Helper()
	shared.once.Do(func() { shared.cluster, shared.err = servers.Start(servers.Options{}) })
	servers.Require(t, shared.err)
	return shared.cluster
}

func TestMain(m *testing.M) {
	settings := map[string]string{"rapid.nofailfile": "true"}
	if os.Getenv("MILLRACE_LONG") == "" {
		settings["rapid.checks"] = "10" // every step of the model is several calls of a server
	}
	for name, value := range settings {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	if shared.cluster != nil {
		shared.cluster.Stop()
	}
	if code == 0 {
		if err := goleak.Find(proxy.IgnoreLeaks()...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

var conformanceOptions = Options{
	MaxRecordBytes:     1 << 20,
	HandoverTimeout:    time.Second,
	SessionTimeout:     3 * time.Second,
	HeartbeatInterval:  50 * time.Millisecond,
	TransactionTimeout: 5 * time.Second,
	Logger:             testLogger(),
}

func testLogger() *slog.Logger {
	if os.Getenv("MILLRACE_TEST_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	return slog.New(slog.NewTextHandler(io.Discard, nil))
}

// clients are those that a test has opened, so that a restart can cut them off.
type clients struct {
	url     string
	options Options

	mu   sync.Mutex
	list []*broker.Broker
}

func (c *clients) open(t testing.TB) *broker.Broker {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := Open(ctx, c.url, c.options)
	for err != nil && ctx.Err() == nil { // it is starting
		b, err = Open(ctx, c.url, c.options)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, b)
	return b
}

// close closes all clients, so that what they hold does not outlive a restart.
func (c *clients) close() {
	c.mu.Lock()
	list := c.list
	c.list = nil
	c.mu.Unlock()
	var wg sync.WaitGroup
	for _, b := range list {
		wg.Go(func() { b.Close() })
	}
	wg.Wait()
}

func (c *clients) harness() *brokertest.Harness {
	return &brokertest.Harness{
		Open:            c.open,
		HandoverTimeout: c.options.HandoverTimeout,
		MaxRecordBytes:  c.options.MaxRecordBytes,
	}
}

// killing is a harness whose restarts kill the cluster's only node.
func killing(c *servers.Cluster) *brokertest.Harness {
	clients := &clients{url: c.URL(), options: conformanceOptions}
	h := clients.harness()
	h.Restart = func(t testing.TB) {
		c.Nodes[0].Kill()
		if err := c.Nodes[0].Restart(); err != nil {
			t.Fatal(err)
		}
		clients.close()
	}
	return h
}

// On one node, which is killed where the suite restarts the broker.
func TestConformance(t *testing.T) {
	t.Parallel()
	c := servers.ForTest(t, servers.Options{})
	brokertest.Run(t, func(testing.TB) *brokertest.Harness { return killing(c) })
}
