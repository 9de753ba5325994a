// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace-ml/millrace/internal/test/servers/kafka"
	"github.com/millrace-ml/millrace/internal/test/servers/proxy"
	"github.com/millrace-ml/millrace/internal/test/servers/redis"
	"github.com/millrace-ml/millrace/lineage"
)

// What the long form of TestOutage holds Millrace to, and what the short form
// does, whose figures are as good as the machine is quiet.
const (
	steadyGrowth, shortGrowth = 1.2, 1.6
	smallMemory               = 96 << 20 // bytes; in the short form a process that takes no more may have grown
	resumeLimit, shortResume  = 2 * time.Second, 20 * time.Second
)

// TestOutage takes the broker away under load for half a minute, or for as long
// as MILLRACE_OUTAGE says, and back. The server is killed, so that connections
// are refused, or the network takes everything and delivers nothing.
func TestOutage(t *testing.T) {
	t.Run("Redis is killed", func(t *testing.T) {
		t.Parallel()
		s := redis.Start(t, redis.Options{AppendFsync: "always"})
		outage(t, Outage{Broker: s.URL(), Begin: s.Kill, End: func(context.Context) error { s.Start(); return nil }})
	})
	t.Run("Redis is cut off", func(t *testing.T) {
		t.Parallel()
		p := proxy.Start(t, redis.Start(t, redis.Options{AppendFsync: "always"}).Addr())
		begin, end := cut(p)
		outage(t, Outage{Broker: "redis://" + p.Addr(), Begin: begin, End: end})
	})
	t.Run("Kafka is killed", func(t *testing.T) {
		t.Parallel()
		c := kafka.ForTest(t, kafka.Options{})
		outage(t, Outage{Broker: c.URL(), Begin: c.Nodes[0].Kill, End: func(ctx context.Context) error {
			if err := c.Nodes[0].Restart(); err != nil {
				return err
			}
			return coordinates(ctx, c)
		}})
	})
	t.Run("Kafka is cut off", func(t *testing.T) {
		t.Parallel()
		var p *proxy.Proxy
		c := kafka.ForTest(t, kafka.Options{Advertise: func(_ int, addr string) string {
			p = proxy.Start(t, addr)
			return p.Addr()
		}})
		begin, end := cut(p)
		outage(t, Outage{Broker: c.URL(), Begin: begin, End: end})
	})
}

func cut(p *proxy.Proxy) (begin func(), end func(context.Context) error) {
	return func() { p.Set(proxy.Faults{Stall: true}) }, func(context.Context) error { p.Set(proxy.Faults{}); return nil }
}

// coordinates waits until the node has loaded the pipeline's groups, which Kafka
// does after it has begun to accept connections.
func coordinates(ctx context.Context, c *kafka.Cluster) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Nodes[0].Addr()), kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }))
	if err != nil {
		return err
	}
	defer client.Close()
	groups := []string{lineage.GroupOf("crash", joined)}
	for _, s := range services {
		groups = append(groups, lineage.GroupOf("crash", s.name))
	}
	admin := kadm.NewClient(client)
	for _, g := range groups {
		for {
			offsets, err := admin.FetchOffsets(ctx, g)
			if err == nil {
				err = offsets.Error()
			}
			if err == nil {
				break
			}
			if pause(ctx, 10*time.Millisecond); ctx.Err() != nil {
				return err
			}
		}
	}
	return nil
}

func outage(t *testing.T, o Outage) {
	o.Dir, o.Command, o.Env, o.Log = t.TempDir(), []string{os.Args[0]}, append(os.Environ(), child+"=1"), t.Logf
	o.Steady, o.For = 12*time.Second, 30*time.Second
	growth, resume := shortGrowth, shortResume
	if text := os.Getenv("MILLRACE_OUTAGE"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("MILLRACE_OUTAGE: %v", err)
		}
		o.Steady, o.For = min(time.Minute, d), d
		growth, resume = steadyGrowth, resumeLimit
	}
	defer func() {
		if t.Failed() {
			keep(t, o.Dir)
		}
	}()
	report, err := o.Run(t.Context())
	if err == nil {
		t.Logf("%v", report)
		err = report.Err()
	}
	if err != nil {
		t.Fatal(err)
	}
	if report.Refused == 0 {
		t.Error("no caller was told to come again, so nothing was shown")
	}
	if g := report.Growth(); g > growth && (growth == steadyGrowth || report.During.Resident > smallMemory) {
		t.Errorf("memory grew to %.2f of what it was, want at most %.1f", g, growth)
	}
	if report.Resumed > resume {
		t.Errorf("the first answer came %v after the broker's return, want at most %v", report.Resumed, resume)
	}
}
