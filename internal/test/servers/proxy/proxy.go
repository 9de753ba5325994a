// SPDX-License-Identifier: Apache-2.0

// Package proxy stands between a client and a server in tests and makes the
// network fail: latency, connections that are reset or stand still, servers that
// cannot be reached, and replies that get lost. It is toxiproxy, run in the
// test's own process.
//
// The one idea: a fault never changes the bytes of a connection that lives on. A
// connection that has lost a byte ends when the fault does, as a network would
// do it, so whatever a client makes of it is the client's own.
package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/millrace-ml/millrace/internal/test/servers/ports"
)

// IgnoreLeaks is for tests that look for leaked goroutines. toxiproxy leaves
// some of a connection behind when it ends just while a fault begins or ends.
func IgnoreLeaks() []goleak.Option {
	const link = "github.com/Shopify/toxiproxy/v2.(*ToxicLink)."
	return []goleak.Option{
		goleak.IgnoreAnyFunction(link + "read"),
		goleak.IgnoreAnyFunction(link + "write"),
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run"),
	}
}

// Faults are what is wrong with the network. The zero value is a good network.
type Faults struct {
	Latency time.Duration // of each packet, in either direction
	Stall   bool          // nothing gets through, connections stay open
	Lose    bool          // requests get through, replies get lost
	Refuse  bool          // nobody listens: connections end, new ones are refused
}

// Proxy is a listening proxy for one server.
type Proxy struct {
	t     testing.TB
	proxy *toxiproxy.Proxy
	addr  string

	mu     sync.Mutex
	toxics []string // names of those in place
}

// free is where proxies listen: one that refuses connections for a while must get
// its port back.
var free = ports.Range{First: 22_000, Count: 3_000}

// Start starts a proxy for the server at target (host:port). It ends with the
// test.
func Start(t testing.TB, target string) *Proxy {
	t.Helper()
	port, err := free.Take()
	if err != nil {
		t.Fatal(err)
	}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := &Proxy{t: t, proxy: toxiproxy.NewProxy(server, target, fmt.Sprintf("127.0.0.1:%d", port), target)}
	if err := p.proxy.Start(); err != nil {
		t.Fatal(err)
	}
	p.addr = p.proxy.Listen
	t.Cleanup(func() {
		p.Set(Faults{})
		p.proxy.Stop()
	})
	return p
}

// Addr is where the proxy listens: host:port.
func (p *Proxy) Addr() string { return p.addr }

// Set makes the network so, for connections that are open and for new ones.
func (p *Proxy) Set(f Faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range p.toxics {
		if err := p.proxy.Toxics.RemoveToxic(context.Background(), name); err != nil {
			p.t.Errorf("remove %s: %v", name, err)
		}
	}
	p.toxics = p.toxics[:0]
	p.listen(!f.Refuse)
	if f.Latency > 0 {
		ms := max(1, f.Latency.Milliseconds())
		p.add("latency", "upstream", map[string]int64{"latency": ms})
		p.add("latency", "downstream", map[string]int64{"latency": ms})
	}
	if f.Stall {
		p.add("stall", "upstream", nil)
		p.add("stall", "downstream", nil)
	}
	if f.Lose {
		p.add("timeout", "downstream", map[string]int64{"timeout": 0})
	}
}

// listen opens or closes the door; closing it ends the connections. A process that
// is being started holds a closed port until it runs another program.
func (p *Proxy) listen(open bool) {
	state := &toxiproxy.Proxy{Listen: p.addr, Upstream: p.proxy.Upstream, Enabled: open}
	err := p.proxy.Update(state)
	for deadline := time.Now().Add(10 * time.Second); errors.Is(err, syscall.EADDRINUSE) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
		err = p.proxy.Update(state)
	}
	if err != nil {
		p.t.Errorf("proxy of %s: %v", p.proxy.Upstream, err)
	}
}

func (p *Proxy) add(kind, direction string, attributes map[string]int64) {
	toxic, err := json.Marshal(map[string]any{"type": kind, "stream": direction, "attributes": attributes})
	if err != nil {
		p.t.Fatal(err)
	}
	w, err := p.proxy.Toxics.AddToxicJson(strings.NewReader(string(toxic)))
	if err != nil {
		p.t.Errorf("add %s: %v", toxic, err)
		return
	}
	p.toxics = append(p.toxics, w.Name)
}

// Reset ends all connections.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	open := p.proxy.Enabled
	p.listen(false)
	p.listen(open)
}

// Torment makes the network fail at random, again and again, until stop is
// called: faults of up to the longest time, as much apart, or in half of the
// cases up to twice as much, in a quarter four times, and so on to 64 times: so a
// call gets through however long it takes on a busy machine.
func (p *Proxy) Torment(longest time.Duration) (stop func()) {
	end := make(chan struct{})
	var running sync.WaitGroup
	wait := func(longest time.Duration) (ended bool) {
		t := time.NewTimer(rand.N(longest))
		defer t.Stop()
		select {
		case <-t.C:
			return false
		case <-end:
			return true
		}
	}
	running.Go(func() {
		defer p.Set(Faults{})
		for !wait(longest << bits.TrailingZeros(rand.Uint()|1<<6)) {
			switch rand.IntN(5) {
			case 0:
				p.Reset()
				continue
			case 1:
				p.Set(Faults{Stall: true})
			case 2:
				p.Set(Faults{Lose: true})
			case 3:
				p.Set(Faults{Latency: rand.N(5 * time.Millisecond)})
			case 4:
				p.Set(Faults{Refuse: true})
			}
			ended := wait(longest)
			p.Set(Faults{})
			if ended {
				return
			}
		}
	})
	return func() {
		close(end)
		running.Wait()
	}
}
