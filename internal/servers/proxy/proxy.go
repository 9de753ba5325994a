// SPDX-License-Identifier: Apache-2.0

// Package proxy stands between a client and a server in tests and makes the
// network fail: latency, connections that are reset or stand still, servers that
// cannot be reached, and replies that get lost.
//
// The one idea: a fault never changes the bytes of a connection that lives on. A
// connection that has lost a byte is reset when the fault ends, as a network
// would do it, so whatever a client makes of it is the client's own.
package proxy

import (
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// Faults are what is wrong with the network. The zero value is a good network.
type Faults struct {
	Latency time.Duration // of each packet, in either direction
	Stall   bool          // nothing gets through, connections stay open
	Lose    bool          // requests get through, replies get lost
	Refuse  bool          // new connections are reset at once
}

// Proxy is a listening proxy for one server.
type Proxy struct {
	listener net.Listener
	target   string

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when faults change
	faults  Faults
	pairs   map[*pair]struct{}
	closed  bool
	running sync.WaitGroup
}

// Start starts a proxy for the server at target (host:port). It ends with the
// test.
func Start(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, target: target, changed: make(chan struct{}), pairs: map[*pair]struct{}{}}
	p.running.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Addr is where the proxy listens: host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Set makes the network so, for connections that are open and for new ones.
func (p *Proxy) Set(f Faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.faults
	p.faults = f
	close(p.changed)
	p.changed = make(chan struct{})
	if before.Lose && !f.Lose {
		for c := range p.pairs {
			if c.lossy {
				c.reset()
			}
		}
	}
}

// Reset ends all connections with a TCP reset.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.pairs {
		c.reset()
	}
}

// Torment makes the network fail at random, again and again, until stop is
// called: faults of up to the longest time, as much apart.
func (p *Proxy) Torment(longest time.Duration) (stop func()) {
	end := make(chan struct{})
	var running sync.WaitGroup
	wait := func() (ended bool) {
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
		for !wait() {
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
				p.Reset()
			}
			ended := wait()
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

func (p *Proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for c := range p.pairs {
		c.reset()
	}
	p.faults = Faults{}
	close(p.changed)
	p.changed = make(chan struct{})
	p.mu.Unlock()
	p.running.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.serve(client) })
	}
}

// now is what is wrong, and a channel that is closed when it changes.
func (p *Proxy) now() (Faults, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults, p.changed
}

func (p *Proxy) serve(client net.Conn) {
	if f, _ := p.now(); f.Refuse {
		abort(client)
		return
	}
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		abort(client)
		return
	}
	c := &pair{client: client, server: server, ended: make(chan struct{})}
	p.mu.Lock()
	if p.closed {
		c.reset()
	}
	p.pairs[c] = struct{}{}
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.carry(c, client, server, false) })
	both.Go(func() { p.carry(c, server, client, true) })
	both.Wait()
	p.mu.Lock()
	delete(p.pairs, c)
	p.mu.Unlock()
}

// pair is a client's connection and the one to the server.
type pair struct {
	client, server net.Conn
	once           sync.Once
	ended          chan struct{}
	lossy          bool // bytes were lost; under Proxy.mu
}

func (c *pair) reset() {
	c.once.Do(func() {
		close(c.ended)
		abort(c.client)
		abort(c.server)
	})
}

// abort closes a connection with a reset instead of an orderly end.
func abort(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// carry carries bytes one way until the connection ends.
func (p *Proxy) carry(c *pair, from, to net.Conn, replies bool) {
	defer c.reset()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !p.pass(c, to, buffer[:n], replies) {
			return
		}
		if err != nil {
			return
		}
	}
}

// pass passes bytes on as the faults allow. It reports whether the connection
// goes on.
func (p *Proxy) pass(c *pair, to net.Conn, b []byte, replies bool) bool {
	f, changed := p.now()
	for f.Stall {
		select {
		case <-changed:
		case <-c.ended:
			return false
		}
		f, changed = p.now()
	}
	if f.Latency > 0 {
		t := time.NewTimer(f.Latency)
		defer t.Stop()
		select {
		case <-t.C:
		case <-c.ended:
			return false
		}
	}
	if f.Lose && replies {
		return p.lose(c)
	}
	_, err := to.Write(b)
	return err == nil
}

// lose notes that the connection has lost bytes. If the fault has ended since,
// the connection ends now.
func (p *Proxy) lose(c *pair) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.lossy = true
	return p.faults.Lose
}
