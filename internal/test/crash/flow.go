// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-ml/millrace/gateway"
	"github.com/millrace-ml/millrace/internal/test/ledger"
)

const (
	publishers = 4
	keys       = 64
	// shortLife is how long a life's share of the messages lasts, unless the
	// configuration says so: there is always something to interrupt.
	shortLife = 500 * time.Millisecond
	// rounds is how many requests a publisher makes in such a life. They are large
	// enough to keep the services busy for more than a moment.
	rounds = 8
)

// flow publishes numbered messages to whichever worker is there.
type flow struct {
	ledger  ledger.Ledger
	workers []*worker
	cancel  context.CancelCauseFunc
	ended   sync.WaitGroup
	client  http.Client
	acks    chan struct{} // has one when a request was answered
	rounds  int           // requests of a publisher in a life
	unknown atomic.Int64  // messages that were sent without an answer coming back

	mu      sync.Mutex
	total   int // to be acknowledged in the end
	taken   int // published, or about to be
	ceiling int // that taken may reach in this life
	batch   int // mean size of a request
	hurry   bool
	changed chan struct{} // closed when ceiling is raised
}

func startFlow(ctx context.Context, cancel context.CancelCauseFunc, c Config, workers []*worker) *flow {
	life := cmp.Or(c.Life, shortLife)
	f := &flow{batch: 1, rounds: int(rounds * life / shortLife), workers: workers, total: c.Messages, cancel: cancel, acks: make(chan struct{}, 1), changed: make(chan struct{})}
	f.client.Transport = &http.Transport{MaxIdleConnsPerHost: publishers}
	for i := range publishers {
		f.ended.Go(func() {
			p := publisher{flow: f, random: rand.New(rand.NewPCG(c.Seed, uint64(i)+1)), number: i}
			if err := p.run(ctx); err != nil {
				cancel(fmt.Errorf("publisher %d: %w", i, err))
			}
		})
	}
	return f
}

// wait returns when all messages are acknowledged.
func (f *flow) wait(ctx context.Context) error {
	f.ended.Wait()
	f.client.CloseIdleConnections()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if n := f.ledger.Acknowledged(); n != f.total {
		return fmt.Errorf("%d of %d messages were acknowledged", n, f.total)
	}
	return nil
}

// stop ends the publishers, wherever they are.
func (f *flow) stop() {
	f.cancel(context.Canceled)
	f.ended.Wait()
	f.client.CloseIdleConnections()
}

// nextLife gives out the share of the messages that flow until the next kill of
// so many, or the rest when there are no more. It reports false when there is
// nothing left to give.
func (f *flow) nextLife(kills int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	left := f.total - f.taken
	f.ceiling = f.taken + left/(kills+1)
	f.batch = max(1, left/(kills+1)/(publishers*f.rounds))
	f.hurry = kills == 0
	if f.hurry {
		f.batch = 100
	}
	close(f.changed)
	f.changed = make(chan struct{})
	return f.ceiling > f.taken
}

// take waits until the publisher may send again, and says how many messages. It
// returns 0 when there are no more.
func (f *flow) take(ctx context.Context, random *rand.Rand) (n int, hurry bool, err error) {
	for {
		f.mu.Lock()
		n = min(1+random.IntN(2*f.batch), f.ceiling-f.taken)
		hurry = f.hurry
		f.taken += max(0, n)
		done, changed := f.taken >= f.total, f.changed
		f.mu.Unlock()
		if n > 0 || done {
			return max(0, n), hurry, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, false, context.Cause(ctx)
		}
	}
}

// acknowledges waits until a publisher hears that messages are durable, which
// are then under way, but not beyond the limit. It reports whether one did.
func (f *flow) acknowledges(ctx context.Context, limit time.Duration) bool {
	select {
	case <-f.acks: // one of a moment ago
	default:
	}
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	select {
	case <-f.acks:
		return true
	case <-timeout.C:
	case <-ctx.Done():
	}
	return false
}

// giveBack makes room for messages that may not have arrived.
func (f *flow) giveBack(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.taken -= n
}

// publisher sends the messages of some of the keys, one request after the other,
// so that the numbers of a key are published in order.
type publisher struct {
	*flow
	random *rand.Rand
	number int
	era    int // of its keys
}

func (p *publisher) run(ctx context.Context) error {
	for {
		n, hurry, err := p.take(ctx, p.random)
		if n == 0 {
			return err
		}
		if err := p.send(ctx, p.write(n)); err != nil {
			return err
		}
		if !hurry {
			pause(ctx, upTo(p.random, 2*shortLife/rounds))
		}
	}
}

// write numbers n messages.
func (p *publisher) write(n int) []message {
	list := make([]message, n)
	for i := range list {
		key := fmt.Sprintf("customer-%d.%d", p.number+publishers*p.random.IntN(keys/publishers), p.era)
		list[i] = message{Key: key, N: p.ledger.Issue(key), Text: strings.Repeat("x", p.random.IntN(300))}
	}
	return list
}

// send publishes messages. When the answer is lost they may be there or not, so
// they are not sent again.
func (p *publisher) send(ctx context.Context, list []message) error {
	var body bytes.Buffer
	for _, m := range list {
		body.Write(append(m.line(), '\n'))
	}
	for turn := p.number; ; turn++ {
		address := p.workers[turn%len(p.workers)].address()
		if address == "" {
			pause(ctx, time.Millisecond)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			continue
		}
		client := gateway.Client{Base: address, HTTP: &p.client}
		n, err := client.Publish(ctx, source, bytes.NewReader(body.Bytes()), gateway.PublishOptions{Key: "key"})
		for _, m := range list[:n] {
			p.ledger.Acknowledge(m.Key, m.N)
		}
		switch {
		case err == nil:
			select {
			case p.acks <- struct{}{}:
			default:
			}
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case neverSent(err):
			pause(ctx, time.Millisecond)
			continue
		case refused(err):
			return err
		}
		if _, answered := errors.AsType[*gateway.Error](err); answered {
			// The worker lives and may publish them yet, after what is published
			// next, by way of another one perhaps. So no order is owed between them.
			p.era++
		}
		p.unknown.Add(int64(len(list) - n))
		p.giveBack(len(list) - n)
		return nil
	}
}

// neverSent reports whether the worker was gone before it was spoken to.
func neverSent(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// refused reports whether the worker said no, which it has no reason to.
func refused(err error) bool {
	e, ok := errors.AsType[*gateway.Error](err)
	return ok && e.Status != http.StatusServiceUnavailable
}
