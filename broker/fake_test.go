// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeDriver is a driver of one topic "in" and one group, whose member the test
// directs; "out" takes results. It notes what reaches it.
type fakeDriver struct {
	partitions map[string]int // of each topic that exists
	member     *fakeMember

	mu       sync.Mutex
	calls    []string // names of methods but for Partitions
	appended []int32  // the partitions of the last Append
	block    bool     // Topics waits for its context
	closed   bool
	infos    []TopicInfo
	names    []string
	lags     []Lag
	err      error // of everything
}

func newFake(t testing.TB, partitions int) (*Broker, *fakeMember) {
	t.Helper()
	d := &fakeDriver{partitions: map[string]int{"in": partitions, "out": partitions}}
	d.member = &fakeMember{t: t, d: d, next: make([]int64, partitions), position: make([]int64, partitions), end: make([]int64, partitions), changed: make(chan struct{})}
	d.member.own(seq(partitions)...)
	b := New(d, Options{})
	t.Cleanup(func() { b.Close() })
	return b, d.member
}

// joinFake opens a broker and joins its group.
func joinFake(t testing.TB, partitions int) (*Consumer, *fakeMember) {
	t.Helper()
	b, m := newFake(t, partitions)
	c, err := b.Join(t.Context(), "g", Start(), "in")
	if err != nil {
		t.Fatal(err)
	}
	return c, m
}

func seq(n int) []int32 {
	list := make([]int32, n)
	for i := range list {
		list[i] = int32(i)
	}
	return list
}

func (d *fakeDriver) note(call string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		d.member.t.Errorf("the driver is closed, and then %s is called", call)
	}
	d.calls = append(d.calls, call)
	return d.err
}

// saw lists the calls since it was asked last.
func (d *fakeDriver) saw() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	calls := d.calls
	d.calls = nil
	return calls
}

func (d *fakeDriver) CreateTopics(_ context.Context, topics []Topic) error {
	return d.note(fmt.Sprintf("CreateTopics %v", topics))
}

func (d *fakeDriver) Topics(ctx context.Context) ([]TopicInfo, error) {
	err := d.note("Topics")
	if d.block {
		<-ctx.Done()
		time.Sleep(time.Millisecond) // a driver may take its time
		return nil, errors.Join(d.note("Topics returns"), ctx.Err())
	}
	return slices.Clone(d.infos), err
}

func (d *fakeDriver) Partitions(_ context.Context, topic string) (int, error) {
	n, known := d.partitions[topic]
	if !known {
		return 0, ErrUnknownTopic
	}
	return n, nil
}

func (d *fakeDriver) Append(_ context.Context, records []Record, partitions []int32) ([]int64, error) {
	d.appended = slices.Clone(partitions)
	return make([]int64, len(records)), d.note("Append")
}

func (d *fakeDriver) Join(_ context.Context, group string, start Position, topics []string) (Member, error) {
	return d.member, d.note(fmt.Sprintf("Join %s %v %v", group, start, topics))
}

func (d *fakeDriver) Read(_ context.Context, topic string, partitions []int32, from, to Position) (Cursor, error) {
	return &fakeCursor{d}, d.note(fmt.Sprintf("Read %s %v %v %v", topic, partitions, from, to))
}

func (d *fakeDriver) Seek(_ context.Context, group, topic string, to []Position) error {
	return d.note(fmt.Sprintf("Seek %s %s %v", group, topic, to))
}

func (d *fakeDriver) Groups(context.Context) ([]string, error) {
	return slices.Clone(d.names), d.note("Groups")
}

func (d *fakeDriver) Lag(context.Context, string) ([]Lag, error) {
	return slices.Clone(d.lags), d.note("Lag")
}

func (d *fakeDriver) Close() error {
	err := d.note("Close")
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	return err
}

type fakeCursor struct{ d *fakeDriver }

func (c *fakeCursor) Next(ctx context.Context, atMost int) ([]Record, error) {
	if err := c.d.note(fmt.Sprintf("Next %d", atMost)); err != nil {
		return nil, err
	}
	if c.d.block {
		<-ctx.Done()
		time.Sleep(time.Millisecond)
		return nil, errors.Join(c.d.note("Next returns"), ctx.Err())
	}
	return nil, io.EOF
}

func (c *fakeCursor) Close() error { return c.d.note("Cursor.Close") }

// fakeMember is a member of a group that reads the topic "in", whose records are
// numbered by their offsets. It holds the Consumer to what a driver may rely on.
type fakeMember struct {
	t testing.TB
	d *fakeDriver

	// settles answers the nth Settle (from 0): whether it takes place and what is
	// returned. Nil: they all do. It is called without the lock.
	settles func(ctx context.Context, n int, s *Settlement) (takesPlace bool, err error)

	mu             sync.Mutex
	changed        chan struct{} // closed and replaced when there may be more to poll
	next, position []int64       // by partition
	end            []int64
	assigned       Assignment
	pollErr        error       // of the next Poll
	doubt          *Settlement // whose outcome was not returned
	took           bool        // whether it took place
	polling        bool
	settling       bool
	closed         bool

	settled []string   // each Settle, as describe says
	results []string   // what was published
	rewound [][]int32  // each Rewind
	paused  [][]string // partitions, of each Poll
	wanted  Want       // by the last Poll
}

// own gives the member these partitions from now on; the next Poll says so.
func (m *fakeMember) own(partitions ...int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.assigned
	m.assigned = Assignment{Epoch: before.Epoch + 1, Partitions: partitions}
	for _, p := range partitions {
		since, owned := before.since(p)
		if !owned {
			since = m.assigned.Epoch
			m.next[p] = m.position[p]
		}
		m.assigned.Since = append(m.assigned.Since, since)
	}
	m.wake()
}

func (m *fakeMember) owns(p int32) bool { return slices.Contains(m.assigned.Partitions, p) }

// publish appends n records to a partition of "in".
func (m *fakeMember) publish(p int32, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.end[p] += int64(n)
	m.wake()
}

// failPoll makes the next Poll return an error.
func (m *fakeMember) failPoll(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pollErr = err
}

func (m *fakeMember) wake() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// enter checks that calls do not overlap which must not.
func (m *fakeMember) enter(call string, beside ...*bool) {
	if m.closed {
		m.t.Errorf("the member has left, and then %s is called", call)
	}
	for _, running := range beside {
		if *running {
			m.t.Errorf("%s is called while another call runs that it must not run beside", call)
		}
	}
}

func (m *fakeMember) Poll(ctx context.Context, w Want) (Polled, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.enter("Poll", &m.polling)
	m.polling = true
	defer func() { m.polling = false }()
	var paused []string
	for _, tp := range w.Pause {
		paused = append(paused, fmt.Sprintf("%s/%d", tp.Topic, tp.Partition))
	}
	m.paused = append(m.paused, paused)
	m.wanted = w
	for {
		if ctx.Err() != nil {
			return Polled{}, ctx.Err()
		}
		if err := m.pollErr; err != nil {
			m.pollErr = nil
			return Polled{}, err
		}
		if p := m.take(w); len(p.Records) > 0 {
			return p, nil
		}
		changed := m.changed
		m.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		m.mu.Lock()
	}
}

// take moves past up to w.Records records.
func (m *fakeMember) take(w Want) Polled {
	var p Polled
	for _, partition := range m.assigned.Partitions {
		tp := TopicPartition{"in", partition}
		if slices.Contains(w.Pause, tp) {
			continue
		}
		from := m.next[partition]
		for m.next[partition] < m.end[partition] && len(p.Records) < w.Records {
			p.Records = append(p.Records, Record{Topic: "in", Partition: partition, Offset: m.next[partition], Time: time.Now()})
			m.next[partition]++
		}
		if to := m.next[partition]; to > from {
			p.Moves = append(p.Moves, Move{tp, from, to})
		}
		p.Backlog += m.end[partition] - m.next[partition]
	}
	return p
}

func (m *fakeMember) Settle(ctx context.Context, s *Settlement) error {
	m.mu.Lock()
	m.enter("Settle", &m.settling)
	m.settling = true
	if m.doubt != nil && m.doubt != s {
		m.t.Errorf("%s is to be settled while it is not known what became of %s", describe(s), describe(m.doubt))
	}
	n := len(m.settled)
	m.settled = append(m.settled, describe(s))
	settles := m.settles
	m.mu.Unlock()
	takesPlace, err := true, error(nil)
	if settles != nil {
		takesPlace, err = settles(ctx, n, s)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settling = false
	if m.doubt == s && m.took {
		takesPlace = false // it did
	} else if e := m.fence(s); e != nil {
		m.doubt = nil
		return e
	}
	if takesPlace {
		m.move(s)
	}
	known := err == nil
	for _, definite := range []error{ErrFenced, ErrFull, ErrTooLarge, ErrUnknownTopic} {
		known = known || errors.Is(err, definite)
	}
	if !known {
		m.took = takesPlace || m.doubt == s && m.took
		m.doubt = s
		return err
	}
	m.doubt = nil
	return err
}

func (m *fakeMember) fence(s *Settlement) error {
	for _, move := range s.Moves {
		// What was polled before the partition was lost and regained is not polled.
		if p := move.Partition; !m.owns(p) || m.position[p] != move.From || m.next[p] < move.To {
			return ErrFenced
		}
	}
	return nil
}

func (m *fakeMember) move(s *Settlement) {
	for _, move := range s.Moves {
		m.position[move.Partition] = move.To
	}
	for i := range s.Records {
		m.results = append(m.results, string(s.Records[i].Value))
	}
}

// describe is a settlement as "0:2-5 1:0-1 a b": its moves and results.
func describe(s *Settlement) string {
	text := ""
	for _, m := range s.Moves {
		text += fmt.Sprintf("%d:%d-%d ", m.Partition, m.From, m.To)
	}
	if s.All {
		text += "all "
	}
	for i := range s.Records {
		text += string(s.Records[i].Value) + " "
	}
	return text[:max(0, len(text)-1)]
}

func (m *fakeMember) Rewind(partitions []int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.enter("Rewind", &m.polling, &m.settling)
	m.doubt = nil // the next Poll would find out
	for _, p := range partitions {
		m.next[p] = m.position[p]
	}
	slices.Sort(partitions)
	m.rewound = append(m.rewound, partitions)
}

func (m *fakeMember) Assignment() Assignment {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.assigned
}

func (m *fakeMember) Close(ctx context.Context) error {
	m.mu.Lock()
	m.enter("Close", &m.polling, &m.settling)
	m.closed = true
	m.mu.Unlock()
	if m.d.block {
		<-ctx.Done()
		time.Sleep(time.Millisecond)
	}
	return m.d.note("Member.Close")
}

// said lists the settlements since it was asked last.
func (m *fakeMember) said() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.settled)
}

func (m *fakeMember) published() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.results)
}

// open polls a batch of up to that many records.
func open(t testing.TB, c *Consumer, records int) *Batch {
	t.Helper()
	b, err := c.Poll(t.Context(), Want{Records: records})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wantErr receives the end of a Settle, which must have come.
func wantErr(t testing.TB, what string, done <-chan error, want error) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-done:
		if !errors.Is(err, want) {
			t.Fatalf("%s: %v, want %v", what, err, want)
		}
	default:
		t.Fatalf("%s: it has not ended, want %v", what, want)
	}
}

func wantWaiting(t testing.TB, what string, done <-chan error) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-done:
		t.Fatalf("%s: it has ended with %v, and should wait", what, err)
	default:
	}
}

func wantList(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: %q, want %q", what, got, want)
	}
}

// wantGone receives the end of a Settle whose context has ended while the driver
// settled: it may learn what the one behind it has found out.
func wantGone(t testing.TB, what string, done <-chan error) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-done:
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatalf("%s: %v, want %v", what, err, context.Canceled)
		}
	default:
		t.Fatalf("%s: it waits though its context has ended", what)
	}
}
