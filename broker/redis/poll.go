// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

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
		TopicPartition: broker.TopicPartition{Topic: c.topic.Name, Partition: c.partition},
		From:           from.offset(), To: c.next.offset(),
	}
}

// collection is what a Poll has at hand, of which nothing is given away or rewound
// before it returns: it looks at the group only as long as it has nothing.
type collection struct {
	m       *member
	w       broker.Want
	records []broker.Record
	room    int              // bytes
	held    bool             // there may be older records of some partition
	mine    *request         // the last read that this Poll has begun
	fresh   bool             // one of them has come
	timeout <-chan time.Time // when the wait for more ends; nil before it begins
}

// collect waits for the first record, takes what is there, and then waits up to
// w.Wait for more.
func (m *member) collect(ctx context.Context, w broker.Want) ([]broker.Record, error) {
	c := collection{m: m, w: w, room: w.Bytes}
	for {
		if err := c.take(ctx); err != nil {
			return nil, err
		}
		if c.full() {
			m.readAhead(w)
			return c.records, nil
		}
		if c.enough() {
			return c.records, nil
		}
		c.read()
		done, err := c.wait(ctx)
		if err != nil {
			return nil, err
		}
		if done {
			return c.records, nil
		}
	}
}

// take takes what is at hand.
func (c *collection) take(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(c.records) == 0 {
		if err := c.m.follow(ctx); err != nil {
			return err
		}
		c.m.pause(c.w.Pause)
	}
	c.records, c.held = c.m.feed.cursors.take(c.records, c.w.Records, &c.room)
	return nil
}

func (c *collection) full() bool { return len(c.records) >= c.w.Records || c.room <= 0 }

// some reports whether there are records to return.
func (c *collection) some() bool { return len(c.records) > 0 && !c.held }

// enough reports whether to return what there is: what the server had is taken,
// and nothing is to be waited for. Who waits for more must not keep others waiting
// for a partition.
func (c *collection) enough() bool {
	if !c.some() || !c.fresh {
		return false
	}
	if c.timeout == nil {
		c.timeout = time.After(c.w.Wait)
	}
	return c.w.Wait <= 0 || c.m.stale.Load() || c.m.overdue()
}

// read begins a read, unless one is under way that brings what is needed. If some
// records are at hand more may have come since that one began.
func (c *collection) read() {
	f := &c.m.feed
	if f.reading == mostReads || f.covered() && (!c.some() || f.latest == c.mine) {
		return
	}
	c.mine = c.m.request(c.w)
	if len(c.records) == 0 || c.timeout != nil {
		c.mine.block = longestBlock
	}
	f.begin(c.mine)
}

// wait waits for a read, and takes its answer over, or until something else has
// happened. It reports whether to wait no longer: the time is up, or the server is
// out of reach.
func (c *collection) wait(ctx context.Context) (done bool, err error) {
	m := c.m
	var overdue <-chan time.Time
	if !m.due.IsZero() {
		overdue = time.After(time.Until(m.due))
	}
	select {
	case a := <-m.feed.answers:
		if err := m.feed.arrived(ctx, a); err != nil {
			return false, err
		}
		if m.heed(a.event) {
			m.stale.Store(true)
		}
		c.fresh = c.fresh || a.request == c.mine
		if a.err != nil {
			m.unsure.Store(true)
			return len(c.records) > 0 && c.w.Wait <= 0, nil
		}
		return false, nil
	case <-c.timeout:
		return true, nil
	case <-overdue:
	case <-m.wake:
	case <-ctx.Done():
	}
	return false, nil
}

func (m *member) pause(list []broker.TopicPartition) {
	for _, c := range m.feed.cursors {
		c.paused = len(list) > 0 && slices.Contains(list, broker.TopicPartition{Topic: c.topic.Name, Partition: c.partition})
	}
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
