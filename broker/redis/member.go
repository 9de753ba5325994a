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
	m.lease, m.polled = joined.lease, joined.lease
	m.event = cmp.Or(joined.event, "0-0") // it is lost if the call was made twice
	m.assignment.Epoch = epoch(joined.lease)
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
		if err == nil && (a.lease != lease || a.due >= 0) {
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

// Close implements [broker.Member]. If the server is out of reach the partitions
// move after the hand-over time.
func (m *member) Close(ctx context.Context) error {
	m.stop()
	<-m.ended
	ctx, cancel := context.WithTimeout(ctx, m.d.options.HandoverTimeout)
	defer cancel()
	_, err := m.d.ask(ctx, question{action: "leave", group: m.group, member: m.name, topics: m.topics})
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

// Poll implements [broker.Member].
func (m *member) Poll(ctx context.Context, w broker.Want) (broker.Polled, error) {
	records, err := m.collect(ctx, w)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.polled = m.lease
	if err != nil {
		for _, c := range m.feed.cursors {
			c.taken = 0
		}
		return broker.Polled{}, err
	}
	p := broker.Polled{Records: records}
	for _, c := range m.feed.cursors {
		if c.taken > 0 {
			p.Moves = append(p.Moves, c.open())
		}
	}
	p.Backlog = int64(m.feed.cursors.waiting())
	return p, nil
}

// open goes past what was taken, which is open then.
func (c *cursor) open() broker.Move {
	from := c.next
	c.pass()
	c.ends = append(c.ends, c.next)
	return broker.Move{
		TopicPartition: broker.TopicPartition{Topic: c.topic.name, Partition: c.partition},
		From:           from.offset(), To: c.next.offset(),
	}
}

// collect waits for the first record, takes what is there, and then waits up to
// w.Wait for more. What it takes is neither given away nor rewound before it
// returns: it looks at the group only as long as it has nothing.
func (m *member) collect(ctx context.Context, w broker.Want) ([]broker.Record, error) {
	var out []broker.Record
	room := w.Bytes
	var mine, fresh *request // the last read that this call has begun, and that has come
	var timeout <-chan time.Time
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if len(out) == 0 {
			if err := m.follow(ctx); err != nil {
				return nil, err
			}
			m.pause(w.Pause)
		}
		var held bool
		out, held = m.feed.cursors.take(out, w.Records, &room)
		if len(out) >= w.Records || room <= 0 {
			m.readAhead(w)
			return out, nil
		}
		some := len(out) > 0 && !held
		if some && fresh != nil {
			// Who waits for more must not keep others waiting for a partition.
			if w.Wait <= 0 || m.stale.Load() || m.overdue() {
				return out, nil
			}
			if timeout == nil {
				timer := time.NewTimer(w.Wait)
				defer timer.Stop()
				timeout = timer.C
			}
		}
		if m.mustRead(some, mine) {
			mine = m.request(w)
			if len(out) == 0 || timeout != nil {
				mine.block = longestBlock
			}
			m.feed.begin(mine)
		}
		a, timeUp, err := m.wait(ctx, timeout)
		switch {
		case err != nil:
			return nil, err
		case timeUp:
			return out, nil
		case a == nil:
		case a.err != nil && len(out) > 0 && w.Wait <= 0:
			return out, nil // the server is out of reach
		case a.request == mine:
			fresh = mine
		}
	}
}

func (m *member) pause(list []broker.TopicPartition) {
	for _, c := range m.feed.cursors {
		c.paused = len(list) > 0 && slices.Contains(list, broker.TopicPartition{Topic: c.topic.name, Partition: c.partition})
	}
}

// mustRead reports whether to begin a read: none under way brings what is
// needed, or some records are at hand and more may have come since the last.
func (m *member) mustRead(some bool, mine *request) bool {
	if m.feed.reading == mostReads {
		return false
	}
	return !m.feed.covered() || some && m.feed.latest != mine
}

// request makes a read of records and of what happened in the group.
func (m *member) request(w broker.Want) *request {
	q := m.feed.request(w.Records, w.Bytes)
	q.events, q.eventsAfter = m.d.keys.events(m.group), m.event
	return q
}

// readAhead begins to read what the next Poll will want, when this one could
// return all that it wanted: much is coming in.
func (m *member) readAhead(w broker.Want) {
	if m.feed.reading > 0 {
		return
	}
	for _, c := range m.feed.cursors {
		if !c.idle() && c.waiting() < w.Records {
			m.feed.begin(m.request(w))
			return
		}
	}
}

// wait waits for a read, and takes its answer over. It returns no answer when
// something else has happened, and whether that was the timeout.
func (m *member) wait(ctx context.Context, timeout <-chan time.Time) (a *answer, timeUp bool, err error) {
	var overdue <-chan time.Time
	if !m.due.IsZero() {
		timer := time.NewTimer(time.Until(m.due))
		defer timer.Stop()
		overdue = timer.C
	}
	select {
	case a = <-m.feed.answers:
		if err := m.feed.arrived(ctx, a); err != nil {
			return nil, false, err
		}
		if a.err != nil {
			m.unsure.Store(true)
		}
		if m.heed(a.event) {
			m.stale.Store(true)
		}
	case <-timeout:
		timeUp = true
	case <-overdue:
	case <-m.wake:
	case <-ctx.Done():
	}
	return a, timeUp, nil
}

// heed notes an event, and reports whether it is a new one.
func (m *member) heed(event string) bool {
	is, err := parseID(event)
	was, _ := parseID(m.event)
	if err != nil || is <= was {
		return false
	}
	m.event = event
	return true
}

func (m *member) overdue() bool { return !m.due.IsZero() && !time.Now().Before(m.due) }
