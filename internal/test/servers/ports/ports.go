// SPDX-License-Identifier: Apache-2.0

// Package ports finds free ports of the loopback for test servers that cannot
// choose one themselves.
//
// The one idea: the ports are below those that systems give to outgoing
// connections. Otherwise a client that connects while a server is down could get
// the server's own port, and the server could not come back.
package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Range is where servers of one kind have their ports, so that those of
// different kinds do not meet.
type Range struct {
	First, Count int
	Distances    []int // above each port: others that must be free with it

	mu    sync.Mutex
	given map[int]bool // to servers that may not listen yet
}

// Take returns a free port, which it never returns again.
func (r *Range) Take() (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.given == nil {
		r.given = map[int]bool{}
	}
	for range 100 {
		port := r.First + rand.IntN(r.Count)
		if !r.given[port] && r.free(port) {
			r.given[port] = true
			return port, nil
		}
	}
	return 0, errors.New("found no free port for a test server")
}

func (r *Range) free(port int) bool {
	for _, distance := range append([]int{0}, r.Distances...) {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+distance))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}
