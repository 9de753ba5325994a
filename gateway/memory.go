// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// admission is how long a request waits for memory before it is refused.
const admission = 10 * time.Second

const (
	// requestBytes is what a request takes beside its body: its goroutines, its
	// buffers and those of its connection.
	requestBytes = 128 << 10

	// recordBytes is what a record takes beside its bytes, here and in the driver
	// that appends it.
	recordBytes = 512
)

// pool is memory that the requests of one kind share. No client has more than half
// of it, so that one that fills its part leaves room for the others.
type pool struct {
	all   *semaphore.Weighted
	size  int64
	share int64 // of a client

	mu      sync.Mutex
	clients map[string]*client
}

// client is a client's part of a pool, kept while it has requests.
type client struct {
	share    *semaphore.Weighted
	accounts int
}

// newPool makes a pool of size bytes, or more if a single request may take more.
func newPool(size, largest int64) *pool {
	size = max(size, largest)
	return &pool{
		all: semaphore.NewWeighted(size), size: size,
		share:   max(size/2, largest),
		clients: map[string]*client{},
	}
}

// account is what one request has of a pool. Its methods may be called by several
// goroutines at once.
type account struct {
	pool   *pool
	name   string // of the client
	client *client

	mu     sync.Mutex
	held   int64
	closed bool
}

// open gives a client's request an account, which the caller closes. Nothing is
// held yet.
func (p *pool) open(name string) *account {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.clients[name]
	if c == nil {
		c = &client{share: semaphore.NewWeighted(p.share)}
		p.clients[name] = c
	}
	c.accounts++
	return &account{pool: p, name: name, client: c}
}

// grow waits until there is memory for n more bytes, up to admission. What has
// begun to come goes on holding what it has: its client is cut off when it stalls.
func (a *account) grow(ctx context.Context, n int64) error {
	if n <= 0 {
		return nil
	}
	if !a.tryGrow(n) {
		wait, cancel := context.WithTimeout(ctx, admission)
		defer cancel()
		if err := a.client.share.Acquire(wait, n); err != nil {
			return noMemory(ctx)
		}
		if err := a.pool.all.Acquire(wait, n); err != nil {
			a.client.share.Release(n)
			return noMemory(ctx)
		}
	}
	a.mu.Lock()
	a.held += n
	a.mu.Unlock()
	return nil
}

// tryGrow takes n bytes if nobody has to wait for that.
func (a *account) tryGrow(n int64) bool {
	if !a.client.share.TryAcquire(n) {
		return false
	}
	if !a.pool.all.TryAcquire(n) {
		a.client.share.Release(n)
		return false
	}
	return true
}

func noMemory(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return refuse(http.StatusServiceUnavailable, "try again later", "too many requests at once")
}

// shrink gives n bytes back.
func (a *account) shrink(n int64) {
	a.mu.Lock()
	a.held -= n
	a.mu.Unlock()
	a.pool.all.Release(n)
	a.client.share.Release(n)
}

// close gives all back. A second call does nothing.
func (a *account) close() {
	a.mu.Lock()
	n, closed := a.held, a.closed
	a.closed = true
	a.mu.Unlock()
	if closed {
		return
	}
	a.shrink(n)
	p := a.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.client.accounts--; a.client.accounts == 0 {
		delete(p.clients, a.name)
	}
}

// admit opens an account of n bytes.
func (p *pool) admit(ctx context.Context, name string, n int64) (*account, error) {
	a := p.open(name)
	if err := a.grow(ctx, n); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

// tryAdmit opens an account of n bytes if they are free, and returns nil if not.
func (p *pool) tryAdmit(name string, n int64) *account {
	a := p.open(name)
	if !a.tryGrow(n) {
		a.close()
		return nil
	}
	a.held = n
	return a
}

// clientOf names who sends a request: the address, without the port. An address of
// IPv6 stands for its network of 64 bits, all of which one machine may have.
func clientOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		if network, err := ip.Prefix(64); err == nil {
			return network.String()
		}
	}
	return ip.String()
}
