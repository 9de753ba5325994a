// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-ml/millrace/gateway"
	"github.com/millrace-ml/millrace/internal/test/ledger"
)

const (
	// A caller comes every interval with so many messages, whatever became of the
	// callers before, as those of a service do that is out of order.
	callInterval = 50 * time.Millisecond
	callMessages = 20
	// callPatience is a little longer than the gateway's own.
	callPatience = 15 * time.Second
)

// callers publish at a steady pace. Each has a key of its own, so that nothing
// needs to wait for an earlier caller.
type callers struct {
	address string
	ledger  ledger.Ledger
	client  http.Client
	stop    func() // ends the pace and waits for those that were not answered yet

	refused    atomic.Int64 // requests that were answered 503
	unanswered atomic.Int64 // requests that were given up
}

func startCallers(ctx context.Context, address string) *callers {
	c := &callers{address: address}
	c.client.Transport = &http.Transport{MaxIdleConnsPerHost: 1000}
	pace, end := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(callInterval)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-tick.C:
				running.Go(func() { c.call(ctx, fmt.Sprintf("caller-%d", n)) })
			case <-pace.Done():
				return
			}
		}
	})
	c.stop = func() {
		end()
		running.Wait()
		c.client.CloseIdleConnections()
	}
	return c
}

// call publishes messages and notes what was acknowledged. What was not may be
// there or not.
func (c *callers) call(ctx context.Context, key string) {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	var body bytes.Buffer
	list := make([]message, callMessages)
	for i := range list {
		list[i] = message{Key: key, N: c.ledger.Issue(key), Text: strings.Repeat("x", 200)}
		body.Write(append(list[i].line(), '\n'))
	}
	client := gateway.Client{Base: c.address, HTTP: &c.client}
	n, err := client.Publish(ctx, source, &body, gateway.PublishOptions{Key: "key"})
	for _, m := range list[:n] {
		c.ledger.Acknowledge(m.Key, m.N)
	}
	if err == nil {
		return
	}
	if e, ok := errors.AsType[*gateway.Error](err); ok && e.Status == http.StatusServiceUnavailable {
		c.refused.Add(1)
		return
	}
	c.unanswered.Add(1)
}
