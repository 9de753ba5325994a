// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// member is a broker.Member.
type member struct {
	b        *Broker
	g        *group
	id       string
	topics   []string
	assigned broker.Assignment
	next     map[string][]int64 // to be polled next; only what is owned counts
	since    []int64            // by partition: the epoch in which it was gained
	fenced   bool               // lost a partition since the last Poll
	gained   bool               // got partitions in this Poll (for a fault)
	atEnd    bool               // begins at the end in the next Poll (for a fault)
	polled   time.Time          // when the last Poll returned (for a fault)
	buffer   []byte             // what Poll returns records in (for a fault)
	skip     bool               // the next record (for a fault)
	turns    []broker.Move      // of all polls (for a fault)
}

// Poll implements broker.Member.
func (m *member) Poll(ctx context.Context, w broker.Want) (broker.Polled, error) {
	b := m.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.atEnd {
		m.g.positions[m.topics[0]] = b.offsets(m.topics[0], broker.End())
		m.atEnd = false
	}
	var first time.Time          // when there was a record
	var handedOver broker.Polled // what was at hand then (for a fault)
	for {
		if b.gone {
			return broker.Polled{}, errGone
		}
		b.rebalance(m)
		p, full := m.take(w)
		if m.skip && len(p.Records) > 0 {
			m.skip = false
			m.open(p)
			m.g.move(p.Moves)
			continue
		}
		n := len(p.Records)
		if ctx.Err() != nil {
			return m.cancelled(ctx, p)
		}
		if n > 0 && first.IsZero() {
			first = time.Now()
			handedOver = p
		}
		if b.broken(WaitsTooLong) && w.Wait > 0 {
			full = false
		}
		waited := n > 0 && !time.Now().Before(first.Add(w.Wait))
		if full || waited || b.broken(IgnoresWait) && n > 0 {
			return m.found(p, handedOver), nil
		}
		var until time.Time
		if n > 0 {
			until = first.Add(w.Wait)
		}
		if at, ok := m.waitsForPartition(); ok && (until.IsZero() || at.Before(until)) {
			until = at
		}
		if n == 0 && (b.broken(SilentKeepPartitions) || b.broken(PartitionsOrphaned)) {
			until = time.Time{}
		}
		b.wait(ctx, until)
	}
}

// cancelled is what becomes of what was at hand when the context ended.
func (m *member) cancelled(ctx context.Context, p broker.Polled) (broker.Polled, error) {
	if m.b.broken(CancelReturnsBatch) && len(p.Records) > 0 {
		m.open(p)
		return p, nil
	}
	m.skip = m.b.broken(CancelSkips)
	return broker.Polled{}, ctx.Err()
}

// found opens what is returned.
func (m *member) found(p, handedOver broker.Polled) broker.Polled {
	b := m.b
	m.open(p)
	if b.broken(PollReorders) || b.broken(ReordersAfterRebalance) && m.gained {
		slices.Reverse(p.Records)
	}
	if b.broken(ReturnsHandedOver) {
		kept := func(r broker.Record) bool { return slices.Contains(m.assigned.Partitions, r.Partition) }
		p.Records = append(slices.DeleteFunc(handedOver.Records, kept), p.Records...)
	}
	m.gained = false
	m.polled = time.Now()
	return p
}

// open moves past what is polled.
func (m *member) open(p broker.Polled) {
	m.turns = append(m.turns, p.Moves...)
	for _, move := range p.Moves {
		m.next[move.Topic][move.Partition] = move.To
	}
}

// take collects the oldest records of m's partitions, and whether w allows no
// more.
func (m *member) take(w broker.Want) (p broker.Polled, full bool) {
	b := m.b
	after := clonePositions(m.next)
	defer func() {
		p.Moves = m.moves(after)
		p.Backlog = m.backlog(after, w.Pause)
	}()
	bytes := 0
	for {
		topic, partition := m.oldest(after, w.Pause)
		if topic == "" {
			return p, false
		}
		r := b.topics[topic].logs[partition][after[topic][partition]].Record
		tooMany := len(p.Records) >= w.Records && !b.broken(IgnoresWantRecords)
		tooBig := len(p.Records) > 0 && bytes+r.Size() > w.Bytes && !b.broken(IgnoresWantBytes)
		if tooMany || tooBig {
			return p, true
		}
		if r.Size() > w.Bytes && b.broken(HugeNeverFits) {
			return p, len(p.Records) > 0
		}
		if b.broken(ReusesBuffers) {
			m.buffer = append(m.buffer[:0], r.Value...)
			r.Value = m.buffer
		}
		p.Records = append(p.Records, r)
		bytes += r.Size()
		after[topic][partition]++
		if len(p.Records) == w.Records && !b.broken(IgnoresWantRecords) {
			return p, true
		}
	}
}

// moves are the ways past what was taken.
func (m *member) moves(after map[string][]int64) []broker.Move {
	var moves []broker.Move
	for _, topic := range m.topics {
		for p, to := range after[topic] {
			if from := m.next[topic][p]; to != from {
				moves = append(moves, broker.Move{
					TopicPartition: broker.TopicPartition{Topic: topic, Partition: int32(p)}, From: from, To: to,
				})
			}
		}
	}
	return moves
}

// backlog counts what is left to poll.
func (m *member) backlog(after map[string][]int64, pause []broker.TopicPartition) int64 {
	if m.b.broken(BacklogStands) {
		return 0
	}
	n := int64(0)
	for _, topic := range m.topics {
		for _, p := range m.assigned.Partitions {
			if m.g.target(int(p)) != m || slices.Contains(pause, broker.TopicPartition{Topic: topic, Partition: p}) {
				continue
			}
			from := after[topic][p]
			if m.b.broken(BacklogCountsOpen) {
				from = m.g.positions[topic][p]
			}
			n += int64(len(m.b.topics[topic].logs[p])) - from
		}
	}
	return n
}

// oldest is where the next record stands: the one that was appended first. What
// another member waits for is not polled any more.
func (m *member) oldest(from map[string][]int64, pause []broker.TopicPartition) (topic string, partition int32) {
	var first int64
	if m.b.broken(PollsNothingMeanwhile) && slices.ContainsFunc(m.assigned.Partitions, func(p int32) bool { return m.g.target(int(p)) != m }) {
		return "", 0
	}
	for i, name := range m.topics {
		if m.b.broken(TopicsInTurn) && topic != "" {
			break
		}
		for _, p := range m.assigned.Partitions {
			if m.g.target(int(p)) != m && !m.b.broken(PollsWhatMustGo) {
				continue
			}
			if m.b.broken(SplitsCoPartitions) {
				p = (p + int32(i)) % int32(len(m.g.owner))
			}
			if slices.Contains(pause, broker.TopicPartition{Topic: name, Partition: p}) && !m.b.broken(IgnoresPause) {
				continue
			}
			log := m.b.topics[name].logs[p]
			if at := from[name][p]; at < int64(len(log)) && (topic == "" || log[at].seq < first) {
				topic, partition, first = name, p, log[at].seq
			}
		}
	}
	return topic, partition
}

// Settle implements broker.Member.
func (m *member) Settle(ctx context.Context, s *broker.Settlement) error {
	b := m.b
	if err := b.enter(); err != nil {
		return err
	}
	defer b.mu.Unlock()
	if b.broken(FencesLoneMembers) && time.Since(m.polled) > b.opts.HandoverTimeout {
		m.fenced = true
	}
	if err := m.fence(s); err != nil {
		return err
	}
	if len(s.Moves) == 0 && b.broken(SettleNeedsBatch) && len(s.Records) > 0 {
		return fmt.Errorf("no batch")
	}
	if b.broken(SettlesLate) || b.broken(CancelledSettleHalf) {
		return m.settleSlowly(ctx, s)
	}
	if err := m.publish(s); err != nil {
		return err
	}
	if b.broken(PositionsLater) {
		b.pause()
	}
	m.move(s.Moves)
	return nil
}

// settleSlowly takes long enough to be cut off (for faults).
func (m *member) settleSlowly(ctx context.Context, s *broker.Settlement) error {
	half := m.b.broken(CancelledSettleHalf)
	if half {
		if err := m.publish(s); err != nil {
			return err
		}
	}
	m.b.pause()
	if ctx.Err() != nil {
		if !half {
			late := broker.Settlement{Moves: s.Moves, Records: slices.Clone(s.Records), Partitions: slices.Clone(s.Partitions)}
			m.b.late.Go(func() { m.settleLate(&late) })
		}
		return ctx.Err()
	}
	if !half {
		if err := m.publish(s); err != nil {
			return err
		}
	}
	m.move(s.Moves)
	return nil
}

// settleLate settles when nobody waits for it any more.
func (m *member) settleLate(s *broker.Settlement) {
	m.b.mu.Lock()
	defer m.b.mu.Unlock()
	m.b.pause()
	_ = m.publish(s)
	m.move(s.Moves)
}

// pause gives the mutex up for a while.
func (b *Broker) pause() {
	b.mu.Unlock()
	time.Sleep(2 * time.Millisecond)
	b.mu.Lock()
}

// publish appends the results.
func (m *member) publish(s *broker.Settlement) error {
	b := m.b
	records, partitions := s.Records, s.Partitions
	switch n := len(records); {
	case b.broken(SettleLosesResults):
		n = max(0, n-1)
		records, partitions = records[:n], partitions[:n]
	case b.broken(LargeSettleTruncated):
		n = min(n, 10_000)
		records, partitions = records[:n], partitions[:n]
	case b.broken(SettleReorders):
		records, partitions = slices.Clone(records), slices.Clone(partitions)
		slices.Reverse(records)
		slices.Reverse(partitions)
	}
	if _, err := b.append(records, partitions); err != nil {
		if b.broken(ErrorClosesBatch) {
			m.g.move(s.Moves)
		}
		return err
	}
	for i := range records {
		b.topics[records[i].Topic].marked = true
	}
	return nil
}

// fence refuses what another member does, or did.
func (m *member) fence(s *broker.Settlement) error {
	b := m.b
	if b.broken(IgnoresFencing) {
		return nil
	}
	all := s.All && !b.broken(FencesItsMovesOnly) || b.broken(FencesAllBatches)
	if all && m.fenced && (len(s.Moves) > 0 || !b.broken(FencesBatchesOnly)) {
		return broker.ErrFenced
	}
	if b.broken(SettlesInTurn) && len(s.Moves) > 0 && !m.inTurn(s.Moves) {
		return broker.ErrFenced
	}
	for _, move := range s.Moves {
		owned := m.g.owner[move.Partition] == m || b.broken(SplitsCoPartitions)
		stands := m.g.positions[move.Topic][move.Partition] == move.From
		// Not when the partition was lost and regained meanwhile.
		polled := m.next[move.Topic][move.Partition] >= move.To
		if !owned || !(stands && polled) && !b.broken(SettlesPastHoles) {
			return broker.ErrFenced
		}
	}
	return nil
}

// inTurn reports whether the first of all open batches is among the moves (for a
// fault).
func (m *member) inTurn(moves []broker.Move) bool {
	for _, first := range m.turns {
		if m.g.positions[first.Topic][first.Partition] < first.To {
			return slices.ContainsFunc(moves, func(move broker.Move) bool { return move.TopicPartition == first.TopicPartition })
		}
	}
	return true
}

// move puts the group behind what was settled.
func (m *member) move(moves []broker.Move) {
	g := m.g
	g.before = clonePositions(g.positions)
	if m.b.broken(SettleKeepsPositions) {
		return
	}
	moves = slices.Clone(moves)
	for i, move := range moves {
		if m.b.broken(SettleMovesToEnd) {
			moves[i].To = int64(len(m.b.topics[move.Topic].logs[move.Partition]))
		}
		if m.b.broken(SettleMovesToPolled) {
			moves[i].To = m.next[move.Topic][move.Partition]
		}
	}
	g.move(moves)
	if !m.b.broken(SettleWakesNobody) {
		m.b.wake() // what others wait for may be free now
	}
}

func (g *group) move(moves []broker.Move) {
	for _, move := range moves {
		g.positions[move.Topic][move.Partition] = move.To
	}
}

// Rewind implements broker.Member.
func (m *member) Rewind(partitions []int32) {
	m.b.mu.Lock()
	defer m.b.mu.Unlock()
	if m.b.broken(RewindDoesNothing) {
		return
	}
	for _, p := range partitions {
		for _, topic := range m.topics {
			if m.b.broken(RewindLoses) {
				m.g.positions[topic][p] = m.next[topic][p]
			}
			m.next[topic][p] = m.g.positions[topic][p]
		}
	}
}

// Assignment implements broker.Member.
func (m *member) Assignment() broker.Assignment {
	m.b.mu.Lock()
	defer m.b.mu.Unlock()
	return m.assigned
}

// Close implements broker.Member.
func (m *member) Close(context.Context) error {
	b := m.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken(CloseSkipsBatch) {
		for p, owner := range m.g.owner {
			for _, topic := range m.topics {
				if owner == m {
					m.g.positions[topic][p] = m.next[topic][p]
				}
			}
		}
	}
	m.g.members = slices.DeleteFunc(m.g.members, func(other *member) bool { return other == m })
	for p, owner := range m.g.owner {
		if owner == m && !b.broken(CloseKeepsPartitions) && !b.broken(PartitionsOrphaned) {
			m.g.owner[p] = nil
		}
	}
	if b.broken(FencingForgotten) {
		for _, other := range m.g.members {
			other.fenced = false
		}
	}
	b.membersChanged(m.g)
	return nil
}
