// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace-ml/millrace/broker"
)

// member is a membership of a group. Its goroutine joins the group, sends
// heartbeats and takes part in rebalances until it is to leave:
//
//	join ── sync ── stay ──┬── the group rebalances, or a share was let go: join
//	          │            ├── the group has gone on without the member: lose all, join
//	          └ gain       └── an error that does not heal: fail
//
// The member owns shares of the group's partitions. A share is gained, which
// takes a while because its former owner's settles are waited for, then adopted
// by the consumer's Poll, and assigned to it when that returns. When the group
// wants another member to have it, it is due: not polled any more, and let go by
// the Poll that finds nothing of it open, or at its time; then the member joins
// again without it, and the others may have it.
//
// mu guards the shares with all that is in them, for the membership, for Poll and
// for Settle. Nothing is waited for while it is held; other locks of this package
// are taken within it or alone.
type member struct {
	d      *driver
	client *kgo.Client
	group  string
	topics []string
	count  int // partitions of each topic
	start  broker.Position

	life  context.Context // of the goroutine
	leave context.CancelFunc
	ended chan struct{}
	asked chan struct{} // a heartbeat is wanted now

	mu         sync.Mutex
	changed    chan struct{} // closed and renewed when anything below changes
	id         string
	generation int32
	failure    error            // that no trying again will heal
	joined     bool             // has been in the group with positions for all that it owns
	shares     map[int32]*share // what it owns, by partition
	epoch      int64            // counts gains and losses
	lost       bool             // a share that was assigned has gone since Poll returned last
	unclaimed  bool             // a share has gone since the member joined
	polling    bool             // a Poll has not returned
	wake       func()           // ends its wait; nil while it does not wait
	settling   *settling        // that is under way; nil for none
}

// share is a partition of all topics of the group.
type share struct {
	partition int32
	cursors   []*cursor // one for each topic
	since     int64     // the epoch in which it was gained
	assigned  bool      // Poll has returned with it
	due       time.Time // when it must be let go; zero for a share that stays
}

// open reports whether something of the share was polled and is not settled. The
// caller holds the member's mu.
func (s *share) open() bool {
	for _, c := range s.cursors {
		if c.taken > 0 {
			return true
		}
	}
	return false
}

func (d *driver) newMember(group string, topics []string, count int, start broker.Position) (*member, error) {
	client, err := d.newClient(append(fetchOptions(), kgo.ClientID(group), kgo.KeepControlRecords())...)
	if err != nil {
		return nil, err
	}
	m := &member{
		d: d, client: client, group: group, topics: topics, count: count, start: start,
		ended: make(chan struct{}), asked: make(chan struct{}, 1), changed: make(chan struct{}),
		generation: -1, shares: map[int32]*share{},
	}
	m.life, m.leave = context.WithCancel(context.Background())
	go m.run()
	return m, nil
}

// notify wakes whoever waits for a change. The caller holds m.mu.
func (m *member) notify() {
	close(m.changed)
	m.changed = make(chan struct{})
	if m.wake != nil {
		m.wake()
	}
}

// await waits until the condition, which is asked under m.mu, holds.
func (m *member) await(ctx context.Context, condition func() bool) error {
	for {
		m.mu.Lock()
		ok, changed := condition(), m.changed
		m.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// run is the goroutine of the membership.
func (m *member) run() {
	defer close(m.ended)
	for try := 1; m.life.Err() == nil; {
		err := m.session()
		if err == nil {
			try = 1
			continue
		}
		if errors.Is(err, kerr.UnknownMemberID) || errors.Is(err, kerr.IllegalGeneration) || errors.Is(err, kerr.FencedInstanceID) {
			m.loseAll(errors.Is(err, kerr.UnknownMemberID))
			continue
		}
		if !heals(err) && !forgotten(err) && m.life.Err() == nil {
			m.fail(fmt.Errorf("group %s: %w", m.group, err))
			return
		}
		_ = sleep(m.life, backoff(try))
		try++
	}
}

func (m *member) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failure = err
	m.notify()
}

// session is the time from joining to the next rebalance. Without an error the
// member joins again.
func (m *member) session() error {
	assigned, err := m.join()
	if err != nil {
		if errors.Is(err, kerr.RebalanceInProgress) {
			return nil
		}
		return err
	}
	gained := m.compare(assigned)
	ctx, cancel := context.WithCancel(m.life)
	found := make(chan error, 1)
	var gaining sync.WaitGroup
	gaining.Go(func() { found <- m.gain(ctx, gained) })
	err = m.stay(found)
	cancel()
	gaining.Wait()
	return err
}

// join joins the group and returns the partitions that are assigned.
func (m *member) join() ([]int32, error) {
	resp, err := m.joinGroup()
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.Generation, req.MemberID = m.group, resp.Generation, resp.MemberID
	req.ProtocolType, req.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr(protocolName)
	if resp.LeaderID == resp.MemberID {
		claims, err := parseClaims(resp.Members)
		if err != nil {
			return nil, err
		}
		req.GroupAssignment = assignments(m.topics, balance(m.count, claims), claims)
	}
	synced, err := req.RequestWith(m.life, m.client)
	if err == nil {
		err = kerr.ErrorForCode(synced.ErrorCode)
	}
	if err != nil {
		return nil, fmt.Errorf("sync: %w", err)
	}
	assigned, err := parseAssignment(synced.MemberAssignment)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.generation = resp.Generation
	m.notify()
	return assigned, nil
}

func (m *member) joinGroup() (*kmsg.JoinGroupResponse, error) {
	for {
		req := kmsg.NewPtrJoinGroupRequest()
		req.Group, req.ProtocolType = m.group, "consumer"
		req.SessionTimeoutMillis = int32(m.d.options.SessionTimeout.Milliseconds())
		req.RebalanceTimeoutMillis = req.SessionTimeoutMillis
		protocol := kmsg.NewJoinGroupRequestProtocol()
		protocol.Name = protocolName
		m.mu.Lock()
		req.MemberID = m.id
		protocol.Metadata = joinMetadata(m.topics, claim{generation: m.generation, owned: m.owned()})
		m.unclaimed = false
		m.mu.Unlock()
		req.Protocols = append(req.Protocols, protocol)
		resp, err := req.RequestWith(m.life, m.client)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		switch {
		case errors.Is(err, kerr.MemberIDRequired):
		case errors.Is(err, kerr.InconsistentGroupProtocol):
			return nil, fmt.Errorf("it has members of another program: %w", err)
		case err != nil:
			return nil, err
		}
		m.mu.Lock()
		m.id = resp.MemberID
		m.mu.Unlock()
		if err == nil {
			return resp, nil
		}
	}
}

// owned lists what the member owns. The caller holds m.mu.
func (m *member) owned() []int32 {
	list := make([]int32, 0, len(m.shares))
	for p := range m.shares {
		list = append(list, p)
	}
	slices.Sort(list)
	return list
}

// compare marks what is to be let go and returns what is new.
func (m *member) compare(assigned []int32) (gained []int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p, s := range m.shares {
		switch {
		case slices.Contains(assigned, p):
			s.due = time.Time{}
		case s.due.IsZero():
			s.due = time.Now().Add(m.d.options.HandoverTimeout)
		}
	}
	for _, p := range assigned {
		if m.shares[p] == nil {
			gained = append(gained, p)
		}
	}
	m.notify()
	return gained
}

// gain finds the positions of new shares, waiting for what former owners have
// begun, and makes them the member's.
func (m *member) gain(ctx context.Context, gained []int32) error {
	positions, err := m.positions(ctx, gained)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if len(gained) > 0 {
		m.epoch++
	}
	for _, p := range gained {
		s := &share{partition: p, since: m.epoch}
		for _, t := range m.topics {
			at := broker.TopicPartition{Topic: t, Partition: p}
			s.cursors = append(s.cursors, &cursor{at: at, share: s, position: positions[at], fetched: positions[at]})
		}
		m.shares[p] = s
	}
	m.joined = true
	m.notify()
	return nil
}

// positions are the group's in the partitions of all topics. Where it has none
// they become its start.
func (m *member) positions(ctx context.Context, partitions []int32) (map[broker.TopicPartition]int64, error) {
	if len(partitions) == 0 {
		return nil, nil
	}
	all, err := m.d.committed(ctx, m.group, true)
	if err != nil {
		return nil, err
	}
	at := map[broker.TopicPartition]int64{}
	begin := map[broker.TopicPartition]int64{}
	for _, t := range m.topics {
		var starts []int64
		for _, p := range partitions {
			tp := broker.TopicPartition{Topic: t, Partition: p}
			c, ok := all[tp]
			if !ok {
				if starts == nil {
					if starts, err = m.d.resolve(ctx, t, m.start); err != nil {
						return nil, err
					}
				}
				begin[tp] = starts[p]
				c.offset = starts[p]
			}
			at[tp] = c.offset
		}
	}
	if len(begin) > 0 {
		m.mu.Lock()
		id, generation := m.id, m.generation
		m.mu.Unlock()
		if err := m.commit(ctx, id, generation, begin, ""); err != nil {
			return nil, err
		}
	}
	return at, nil
}

// everywhere reports whether there is a position for each partition.
func (m *member) everywhere(at map[broker.TopicPartition]position) bool {
	for _, t := range m.topics {
		for p := range m.count {
			if _, ok := at[broker.TopicPartition{Topic: t, Partition: int32(p)}]; !ok {
				return false
			}
		}
	}
	return true
}

// stay sends heartbeats until the group rebalances, or until a share has been
// let go, which the others learn when the member joins again.
func (m *member) stay(found <-chan error) error {
	ticker := time.NewTicker(m.d.options.HeartbeatInterval)
	defer ticker.Stop()
	for {
		m.mu.Lock()
		m.letGo()
		changed, due, unclaimed := m.changed, m.due(), m.unclaimed
		m.mu.Unlock()
		if unclaimed {
			return nil
		}
		var overdue <-chan time.Time
		if !due.IsZero() {
			overdue = time.After(time.Until(due))
		}
		select {
		case <-m.life.Done():
			return m.life.Err()
		case err := <-found:
			found = nil
			if stale(err) {
				return nil // the group has moved on
			}
			if err != nil {
				return err
			}
			continue
		case <-changed:
			continue
		case <-overdue:
			continue
		case <-ticker.C:
		case <-m.asked:
		}
		switch err := m.heartbeat(); {
		case errors.Is(err, kerr.RebalanceInProgress):
			return nil
		case err != nil && !heals(err):
			return err
		}
	}
}

func (m *member) heartbeat() error {
	req := kmsg.NewPtrHeartbeatRequest()
	m.mu.Lock()
	req.Group, req.MemberID, req.Generation = m.group, m.id, m.generation
	m.mu.Unlock()
	resp, err := req.RequestWith(m.life, m.client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("heartbeat: %w", err)
	}
	return nil
}

// due is when the next share must be let go; zero for never, or when a settle
// ends. The caller holds m.mu.
func (m *member) due() time.Time {
	var first time.Time
	for _, s := range m.shares {
		if !s.due.IsZero() && !m.held(s) && (first.IsZero() || s.due.Before(first)) {
			first = s.due
		}
	}
	return first
}

// held reports whether a settle that is under way keeps the share. The caller
// holds m.mu.
func (m *member) held(s *share) bool { return m.settling != nil && m.settling.holds(s) }

// letGo lets go what others are to have: in a Poll what nothing is open of, and
// at any time what has been kept too long. A settle that has begun is waited for.
// The caller holds m.mu.
func (m *member) letGo() {
	any := false
	for p, s := range m.shares {
		if s.due.IsZero() || m.held(s) {
			continue
		}
		if m.polling && !s.open() || !time.Now().Before(s.due) {
			m.lose(p)
			any = true
		}
	}
	if any {
		m.notify()
	}
}

// lose ends the ownership of a share. The caller holds m.mu.
func (m *member) lose(p int32) {
	m.lost = m.lost || m.shares[p].assigned
	m.epoch++
	m.unclaimed = true
	delete(m.shares, p)
}

// loseAll is for a member that the group has gone on without.
func (m *member) loseAll(unknown bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p := range m.shares {
		m.lose(p)
	}
	m.generation = -1
	if unknown {
		m.id = ""
	}
	m.notify()
}

// asMember makes a call for a settle that the coordinator takes from members of
// the group's present generation only. When the group is between two generations
// it is made again in the new one, as long as the member owns what it is about.
func (m *member) asMember(ctx context.Context, s *settling, call func(ctx context.Context, id string, generation int32) error) error {
	for try := 1; ; try++ {
		m.mu.Lock()
		owns, failure, id, generation := m.owns(s), m.failure, m.id, m.generation
		m.mu.Unlock()
		if failure != nil {
			return failure
		}
		if !owns {
			return broker.ErrFenced
		}
		err := call(ctx, id, generation)
		switch {
		case err == nil:
			return nil
		case stale(err):
			if err := m.awaitOther(ctx, s, id, generation); err != nil {
				return err
			}
		case heals(err):
			if err := sleep(ctx, backoff(try)); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// awaitOther waits until the member is one of another generation, or has lost
// what the settle is about.
func (m *member) awaitOther(ctx context.Context, s *settling, id string, generation int32) error {
	select {
	case m.asked <- struct{}{}:
	default: // asked already
	}
	return m.await(ctx, func() bool {
		return !m.owns(s) || m.failure != nil || m.generation >= 0 && (m.generation != generation || m.id != id)
	})
}

// commit moves the group in these partitions, with a note.
func (m *member) commit(ctx context.Context, id string, generation int32, to map[broker.TopicPartition]int64, note string) error {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation = m.group, id, generation
	for _, topic := range m.topics {
		t, err := m.d.topics.get(ctx, topic)
		if err != nil {
			return err
		}
		rt := kmsg.NewOffsetCommitRequestTopic()
		rt.Topic, rt.TopicID = t.name, t.id
		for tp, offset := range to {
			if tp.Topic != topic {
				continue
			}
			rp := kmsg.NewOffsetCommitRequestTopicPartition()
			rp.Partition, rp.Offset, rp.Metadata = tp.Partition, offset, kmsg.StringPtr(note)
			rt.Partitions = append(rt.Partitions, rp)
		}
		if len(rt.Partitions) > 0 {
			req.Topics = append(req.Topics, rt)
		}
	}
	resp, err := req.RequestWith(ctx, m.client)
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("commit %s[%d]: %w", t.Topic, p.Partition, err)
			}
		}
	}
	return nil
}

// end leaves the group, so that others get its partitions at once.
func (m *member) end(ctx context.Context) {
	m.leave()
	<-m.ended
	m.mu.Lock()
	id := m.id
	m.mu.Unlock()
	if id != "" {
		req := kmsg.NewPtrLeaveGroupRequest()
		req.Group, req.MemberID = m.group, id
		member := kmsg.NewLeaveGroupRequestMember()
		member.MemberID = id
		req.Members = append(req.Members, member)
		_, _ = req.RequestWith(ctx, m.client) // without it the session times out
	}
	m.client.Close()
}
