// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// member is a member of a group. Three goroutines use it: one polls, one settles,
// and one beats. There are two locks, which are taken in this order:
//
//   - turn is had by the one that settles, for as long as that takes. To verify
//     where the group is a Poll takes it too, so that nothing moves meanwhile.
//   - mu protects what the goroutines share. Nobody waits while holding it.
type member struct {
	d      *driver
	group  string
	name   string
	topics []*topic

	// Of the goroutine that polls.
	feed       feed      // its cursors are changed under mu
	event      string    // the last one that was heeded
	due        time.Time // when a partition is overdue; zero for never
	assignment broker.Assignment

	stale  atomic.Bool   // the group has changed, or must
	unsure atomic.Bool   // the server may have other positions than the cursors
	wake   chan struct{} // to a Poll that waits: it is stale

	turn   chan struct{} // full while somebody has it
	number int64         // of the last settle; of who has the turn

	mu     sync.Mutex
	lease  string // as the member learnt last
	polled string // the lease when Poll returned last
	owned  map[broker.TopicPartition]*cursor

	// The settle that is under way, or that it is not known of whether it took
	// place, or that Settle is yet to be asked about again; nil for none. It is
	// changed under both locks.
	pending *pending

	stop  context.CancelFunc // ends the heart
	ended chan struct{}      // closed when it has
}

func newMember(d *driver, group string, topics []*topic) *member {
	host, _ := os.Hostname()
	return &member{
		d: d, group: group, topics: topics,
		name:  fmt.Sprintf("%s-%s-%s", group, host, strings.ToLower(rand.Text()[:8])),
		feed:  newFeed(d),
		wake:  make(chan struct{}, 1),
		turn:  make(chan struct{}, 1),
		ended: make(chan struct{}),
	}
}

// start begins the life of a member that has joined.
func (m *member) start(joined membership) {
	m.lease, m.polled = joined.Lease, joined.Lease
	m.event = cmp.Or(joined.Event, "0-0") // it is lost if the call was made twice
	m.assignment.Epoch = epoch(joined.Lease)
	m.stale.Store(true)
	ctx, stop := context.WithCancel(m.d.life)
	m.stop = stop
	m.d.background.Go(func() { m.beat(ctx) })
}

// beat shows the group that the member is alive.
func (m *member) beat(ctx context.Context) {
	defer close(m.ended)
	ticker := time.NewTicker(max(m.d.options.HandoverTimeout/3, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		m.mu.Lock()
		lease := m.lease
		m.mu.Unlock()
		a, err := m.d.ask(ctx, question{action: "beat", group: m.group, member: m.name, lease: lease, topics: m.topics})
		if err == nil && (a.Lease != lease || a.Due >= 0) {
			m.rouse()
		}
	}
}

// rouse lets Poll look at the group, also one that waits.
func (m *member) rouse() {
	m.stale.Store(true)
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Close implements [broker.Member]. After the hand-over time the partitions move
// without it.
func (m *member) Close(ctx context.Context) error {
	m.stop()
	<-m.ended
	soon, cancel := context.WithTimeout(ctx, m.d.options.HandoverTimeout)
	defer cancel()
	_, err := m.d.ask(soon, question{action: "leave", group: m.group, member: m.name, topics: m.topics})
	if err != nil && soon.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Assignment implements [broker.Member].
func (m *member) Assignment() broker.Assignment { return m.assignment }

// Rewind implements [broker.Member]. When it is not known what became of a
// settle, the next Poll finds out.
func (m *member) Rewind(partitions []int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.feed.cursors {
		if slices.Contains(partitions, c.partition) {
			c.seek(c.position)
			if c.leaving {
				m.stale.Store(true)
			}
		}
	}
	if m.pending != nil {
		m.unsure.Store(true)
	}
}
