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
	servers "github.com/millrace-ml/millrace/internal/servers/kafka"
	"github.com/millrace-ml/millrace/internal/servers/proxy"
)

// cluster is one node, shared by the tests of the package.
var cluster *servers.Cluster

func TestMain(m *testing.M) {
	settings := map[string]string{"rapid.nofailfile": "true"}
	if os.Getenv("MILLRACE_LONG") == "" {
		settings["rapid.checks"] = "20" // every step of the model is several calls of a server
	}
	for name, value := range settings {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	c, err := servers.Start(servers.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	cluster = c
	code := m.Run()
	c.Stop()
	if code == 0 {
		if err := goleak.Find(proxy.IgnoreLeaks()); err != nil {
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
	list []*Broker
}

func (c *clients) open(t testing.TB) broker.Broker {
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

// On one node, which is killed where the suite restarts the broker.
func TestConformance(t *testing.T) {
	brokertest.Run(t, func(t testing.TB) *brokertest.Harness {
		clients := &clients{url: cluster.URL(), options: conformanceOptions}
		h := clients.harness()
		h.Restart = func(t testing.TB) {
			cluster.Nodes[0].Kill()
			if err := cluster.Nodes[0].Restart(); err != nil {
				t.Fatal(err)
			}
			clients.close()
		}
		return h
	})
}
