// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// Defaults of [broker.Want].
const (
	wantRecords = 1024
	wantBytes   = 16 << 20
)

// consumer implements [broker.Consumer]: a member of a group.
type consumer struct {
	b      *Broker
	group  string
	name   string
	topics []*topic

	feed       feed
	after      string // the last event that was heeded
	assignment broker.Assignment
	open       bool      // there is a batch that is not settled
	settled    int64     // settles that took place
	generation string    // of the data that was read
	unsure     bool      // what the server thinks is not known
	due        time.Time // when a partition is overdue; zero for never

	lease atomic.Pointer[string] // as the member last learnt; changed by its goroutine only
	stale atomic.Bool            // the group has changed since
	yield chan struct{}          // tells the heart to give what it must

	end   context.CancelFunc // ends the heart
	heart sync.WaitGroup
	done  atomic.Bool
}

func newConsumer(b *Broker, group string, topics []*topic) *consumer {
	host, _ := os.Hostname()
	return &consumer{
		b: b, group: group, topics: topics,
		name:  fmt.Sprintf("%s-%s-%s", group, host, strings.ToLower(rand.Text()[:8])),
		feed:  newFeed(b),
		yield: make(chan struct{}, 1),
	}
}

// start begins the life of a member that has joined.
func (c *consumer) start(m membership) {
	c.lease.Store(&m.lease)
	c.after, c.settled = m.event, m.settled
	c.assignment.Epoch = epoch(m.lease)
	c.stale.Store(true)
	ctx, cancel := context.WithCancel(c.b.life)
	c.end = cancel
	c.heart.Go(func() { c.beat(ctx) })
}

func epoch(lease string) int64 {
	n, _ := strconv.ParseInt(lease, 10, 64)
	return n
}

// beat shows the group that the member is alive.
func (c *consumer) beat(ctx context.Context) {
	ticker := time.NewTicker(max(c.b.options.HandoverTimeout/3, time.Millisecond))
	defer ticker.Stop()
	for {
		action := "beat"
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-c.yield:
			action = "give"
		}
		lease := *c.lease.Load()
		m, err := c.b.ask(ctx, action, c.group, c.name, lease, c.topics, nil)
		if err == nil && (m.lease != lease || m.due >= 0) {
			c.stale.Store(true)
		}
	}
}

func (c *consumer) check(ctx context.Context) error {
	if c.done.Load() {
		return broker.ErrClosed
	}
	return c.b.check(ctx)
}

// Poll implements [broker.Consumer].
func (c *consumer) Poll(ctx context.Context, w broker.Want) ([]broker.Record, error) {
	if err := c.check(ctx); err != nil {
		return nil, err
	}
	if c.open {
		panic("redis: Poll with a batch that is not settled: Settle or Rewind it first")
	}
	if w.Records <= 0 {
		w.Records = wantRecords
	}
	if w.Bytes <= 0 {
		w.Bytes = wantBytes
	}
	records, err := c.collect(ctx, w)
	if err != nil {
		c.rewind()
		return nil, err
	}
	c.open = true
	return records, nil
}

// collect waits for the first record, takes what is there, and then waits up to
// w.Wait for more.
func (c *consumer) collect(ctx context.Context, w broker.Want) ([]broker.Record, error) {
	var out []broker.Record
	room := w.Bytes
	var mine, fresh *request // the last read that this call has begun, and that has come
	var timeout <-chan time.Time
	for {
		if err := c.check(ctx); err != nil {
			return nil, err
		}
		if len(out) == 0 {
			if err := c.follow(ctx); err != nil {
				return nil, err
			}
			c.pause(w.Pause)
		}
		var held bool
		out, held = c.feed.take(out, w.Records, &room)
		if len(out) >= w.Records || room <= 0 {
			return out, c.readAhead(w)
		}
		if len(out) > 0 && !held && fresh != nil {
			// Who waits for more must not keep others waiting for a partition.
			if w.Wait <= 0 || c.stale.Load() {
				return out, nil
			}
			if timeout == nil {
				timer := time.NewTimer(w.Wait)
				defer timer.Stop()
				timeout = timer.C
			}
		}
		if c.mustRead(len(out) > 0 && !held, mine) {
			mine = c.request(w)
			if len(out) == 0 || timeout != nil {
				mine.block = longestBlock
			}
			if err := c.feed.begin(mine); err != nil {
				return nil, err
			}
		}
		a, timeUp, err := c.wait(ctx, timeout)
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

// mustRead reports whether to begin a read: none under way brings what is
// needed, or some records are at hand and more may have come since the last.
func (c *consumer) mustRead(some bool, mine *request) bool {
	latest := c.feed.latest
	if latest == nil {
		return true
	}
	if c.feed.reading == mostReads {
		return false
	}
	return !latest.covers(c.feed.cursors) || some && latest != mine
}

func (c *consumer) request(w broker.Want) *request {
	q := c.feed.request(w.Records, w.Bytes)
	if q == nil {
		q = &request{count: 1}
	}
	q.events, q.eventsAfter = c.b.keys.events(c.group), c.after
	return q
}

// readAhead begins to read what the next Poll will want, when this one could
// return all that it wanted: much is coming in.
func (c *consumer) readAhead(w broker.Want) error {
	if c.feed.reading > 0 {
		return nil
	}
	for _, cur := range c.feed.cursors {
		if !cur.paused && cur.waiting() < w.Records {
			return c.feed.begin(c.request(w))
		}
	}
	return nil
}

// wait waits for a read, and takes its answer over. It returns no answer when
// something else has happened, and whether that was the timeout.
func (c *consumer) wait(ctx context.Context, timeout <-chan time.Time) (a *answer, timeUp bool, err error) {
	var overdue <-chan time.Time
	if !c.due.IsZero() {
		timer := time.NewTimer(time.Until(c.due))
		defer timer.Stop()
		overdue = timer.C
	}
	select {
	case a = <-c.feed.answers:
		if err := c.feed.arrived(ctx, a); err != nil {
			return nil, false, fmt.Errorf("poll %s: %w", c.group, err)
		}
		if a.err != nil {
			c.unsure = true
		}
		if a.event != "" {
			c.after = a.event
			c.stale.Store(true)
		}
	case <-timeout:
		timeUp = true
	case <-overdue:
	case <-ctx.Done():
	case <-c.b.life.Done():
	}
	return a, timeUp, nil
}

// follow takes part in the group's rebalance, if there is one: it gives and
// takes partitions.
func (c *consumer) follow(ctx context.Context) error {
	overdue := !c.due.IsZero() && !time.Now().Before(c.due)
	if !c.stale.Swap(false) && !overdue && !c.unsure {
		return nil
	}
	if err := c.sync(ctx); err != nil {
		c.stale.Store(true)
		return fmt.Errorf("poll %s: %w", c.group, err)
	}
	return nil
}

func (c *consumer) sync(ctx context.Context) error {
	lease := *c.lease.Load()
	if c.unsure {
		lease = ""
	}
	m, err := c.b.ask(ctx, "poll", c.group, c.name, lease, c.topics, nil)
	if err != nil {
		return err
	}
	if m.event != "" && laterEvent(m.event, c.after) {
		c.after = m.event
	}
	c.due = time.Time{}
	if m.due >= 0 {
		c.due = time.Now().Add(m.due)
	}
	c.settled = m.settled
	if m.lease == lease {
		return nil
	}
	if err := c.assign(m); err != nil {
		return err
	}
	if c.unsure {
		if err := c.findLoss(ctx); err != nil {
			return err
		}
	}
	c.unsure = false
	return nil
}

func laterEvent(x, y string) bool {
	a, err1 := parseID(x)
	b, err2 := parseID(y)
	return err1 == nil && (err2 != nil || a > b)
}

// assign takes over what the member owns now.
func (c *consumer) assign(m membership) error {
	if len(m.positions) != len(m.owned)*len(c.topics) {
		return fmt.Errorf("the script group.lua answered with %d positions", len(m.positions))
	}
	c.lease.Store(&m.lease)
	c.assignment = broker.Assignment{Partitions: m.owned, Epoch: epoch(m.lease)}
	before := c.feed.cursors
	if generation := c.b.generation(); c.unsure || generation != c.generation {
		before, c.generation = nil, generation // what was read ahead may not be there any more
	}
	c.feed.cursors = nil
	for i, p := range m.owned {
		for j, t := range c.topics {
			at := m.positions[i*len(c.topics)+j]
			k := slices.IndexFunc(before, func(x *cursor) bool { return x.stream == t.streams[p] })
			if k < 0 || before[k].from != at {
				c.feed.cursors = append(c.feed.cursors, newCursor(t, p, at))
				continue
			}
			before[k].rewind()
			c.feed.cursors = append(c.feed.cursors, before[k])
		}
	}
	return nil
}

// findLoss looks for streams that end before the group's position: the server
// has lost records that the group had read. That is reported, and the group goes
// on with what there is.
func (c *consumer) findLoss(ctx context.Context) error {
	var streams []string
	for _, cur := range c.feed.cursors {
		streams = append(streams, cur.stream)
	}
	ends, err := c.b.ends(ctx, streams)
	if err != nil {
		return err
	}
	for i, cur := range c.feed.cursors {
		if cur.from.last <= ends[i].last {
			continue
		}
		c.b.options.Logger.Error("Redis has lost records that a group had read",
			"server", c.b.server, "group", c.group, "stream", cur.stream, "position", cur.from.last, "end", ends[i].last)
		to := position{ends[i].last, ends[i].added}
		if err := c.move(ctx, []move{{cur, to}}, nil); err != nil {
			return err
		}
		cur.seek(to)
	}
	return nil
}

func (c *consumer) pause(list []broker.TopicPartition) {
	for _, cur := range c.feed.cursors {
		cur.paused = len(list) > 0 && slices.Contains(list, broker.TopicPartition{Topic: cur.topic.name, Partition: cur.partition})
	}
}

func (c *consumer) rewind() {
	for _, cur := range c.feed.cursors {
		cur.rewind()
	}
}

// forget ends the batch without settling it.
func (c *consumer) forget() {
	c.open = false
	c.rewind()
}

// Rewind implements [broker.Consumer].
func (c *consumer) Rewind() {
	c.forget()
	if c.stale.Load() {
		select {
		case c.yield <- struct{}{}:
		default:
		}
	}
}

// Assignment implements [broker.Consumer].
func (c *consumer) Assignment() broker.Assignment { return c.assignment }

// Close implements [broker.Consumer]. If the server is out of reach the
// partitions move after the hand-over time.
func (c *consumer) Close(ctx context.Context) error {
	if c.done.Swap(true) {
		return broker.ErrClosed
	}
	c.open = false
	c.end()
	c.heart.Wait()
	if err := c.b.check(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.b.options.HandoverTimeout)
	defer cancel()
	if _, err := c.b.ask(ctx, "leave", c.group, c.name, *c.lease.Load(), c.topics, nil); err != nil {
		return fmt.Errorf("leave group %s: %w", c.group, err)
	}
	return nil
}
