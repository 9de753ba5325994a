// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"context"
	"errors"
	"fmt"
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
//	          │            ├── a topic was made again: restart, which fails with ErrRejoin
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
	ids    map[string][16]byte // of the topics, as they were first seen
	count  int                 // partitions of each topic
	grown  bool                // it was said that there are more by now
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

func (d *driver) newMember(ctx context.Context, group string, topics []string, count int, start broker.Position) (*member, error) {
	client, err := d.newClient(append(fetchOptions(), kgo.ClientID(group), kgo.KeepControlRecords())...)
	if err != nil {
		return nil, err
	}
	m := &member{
		d: d, client: client, group: group, topics: topics, count: count, start: start,
		ended: make(chan struct{}), asked: make(chan struct{}, 1), changed: make(chan struct{}),
		ids: map[string][16]byte{}, generation: -1, shares: map[int32]*share{},
	}
	if err := m.remember(ctx); err != nil {
		client.Close()
		return nil, err
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
		if why, ok := errors.AsType[*remade](err); ok {
			m.restart(why)
			return
		}
		if !heals(err) && !forgotten(err) && m.life.Err() == nil {
			m.fail(fmt.Errorf("group %s: %w", m.group, err))
			return
		}
		_ = again(m.life, try)
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

// stay sends heartbeats until the group rebalances, or until a share has been
// let go, which the others learn when the member joins again.
func (m *member) stay(found <-chan error) error {
	ticker := time.NewTicker(m.d.options.HeartbeatInterval)
	defer ticker.Stop()
	look := time.NewTicker(lookInterval)
	defer look.Stop()
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
		case <-look.C:
			if err := m.lookAtTopics(); err != nil {
				return err
			}
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
