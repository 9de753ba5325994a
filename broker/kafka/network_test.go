// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"os"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/broker/brokertest"
	servers "github.com/millrace-ml/millrace/internal/test/servers/kafka"
	"github.com/millrace-ml/millrace/internal/test/servers/proxy"
)

// behindProxies starts a cluster that clients reach through a proxy for each
// node.
func behindProxies(t *testing.T, o servers.Options) (*servers.Cluster, []*proxy.Proxy) {
	t.Helper()
	var proxies []*proxy.Proxy
	o.Advertise = func(_ int, addr string) string {
		p := proxy.Start(t, addr)
		proxies = append(proxies, p)
		return p.Addr()
	}
	return servers.ForTest(t, o), proxies
}

// Through a network that fails all the time. Where the suite restarts the broker
// it is only cut off; that servers are killed is tested elsewhere.
func TestConformanceThroughABadNetwork(t *testing.T) {
	t.Parallel()
	c, proxies := behindProxies(t, servers.Options{})
	stop := proxies[0].Torment(200 * time.Millisecond)
	t.Cleanup(stop)
	o := conformanceOptions
	o.HandoverTimeout = 5 * time.Second
	brokertest.Run(t, func(t testing.TB) *brokertest.Harness {
		clients := &clients{url: c.URL(), options: o}
		h := clients.harness()
		h.Patience = time.Minute
		h.Restart = func(testing.TB) {
			proxies[0].Reset()
			clients.close()
		}
		return h
	})
}

// On three nodes of which a restart kills one after the other; the others go on.
// Without MILLRACE_LONG there is only TestWorkGoesOnWithoutOneNodeOfThree.
func TestConformanceOnThreeNodes(t *testing.T) {
	if os.Getenv("MILLRACE_LONG") == "" {
		t.Skip("three nodes are part of the long form: MILLRACE_LONG=1")
	}
	c := servers.ForTest(t, servers.Options{Nodes: 3})
	next := 0
	brokertest.Run(t, func(t testing.TB) *brokertest.Harness {
		clients := &clients{url: c.URL(), options: conformanceOptions}
		h := clients.harness()
		h.Patience = time.Minute
		h.Restart = func(t testing.TB) {
			if err := c.WaitReady(time.Minute); err != nil {
				t.Fatal(err)
			}
			node := c.Nodes[next%3]
			next++
			node.Kill()
			if err := node.Launch(); err != nil {
				t.Fatal(err)
			}
			clients.close()
		}
		return h
	})
}
