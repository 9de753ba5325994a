// SPDX-License-Identifier: Apache-2.0

package brokertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

func seekProperties() []property {
	return []property{
		{name: "Seek/moves to start, end, offset and time", check: seekMoves},
		{name: "Seek/moves one topic of a group only", check: seekOneTopic},
		{name: "Seek/moves each partition on its own", check: seekEach},
		{name: "Seek/is refused while the group has members", check: seekActive},
		{name: "Seek/gives a new group its positions", check: seekNewGroup},
		{name: "Seek/refuses an unknown topic", check: seekUnknownTopic},
		{name: "Seek/replays the same records", check: seekReplay},
	}
}

// seek moves a group without members. One whose farewell a bad network has lost
// is a member until its session ends, so that is waited for; that members leave
// at once is a property of rebalances.
func (s *suite) seek(group, topic string, to ...broker.Position) {
	s.Helper()
	s.do(fmt.Sprintf("seek %s to %v", group, to), func(ctx context.Context) error {
		for {
			err := s.client.Seek(ctx, group, topic, to...)
			if !errors.Is(err, broker.ErrGroupActive) || ctx.Err() != nil {
				return err
			}
			settleDown()
		}
	})
}

func seekMoves(s *suite) {
	topic, group := s.create("tickets", 1), s.name("g")
	s.publish(pinned(topic, 0, "a"), pinned(topic, 0, "b"))
	late := s.publishLater(topic, 0, "c")
	s.publish(pinned(topic, 0, "d"))
	all := s.readAll(topic)
	byTime := slices.IndexFunc(all, func(r broker.Record) bool { return !r.Time.Before(late.Time) })
	m := s.join(group, broker.Start(), topic)
	m.pollAll(len(all))
	m.leave()
	const end = -1
	for _, c := range []struct {
		to    broker.Position
		index int // of the first record that comes then
	}{
		{broker.Start(), 0},
		{broker.Offset(all[1].Offset), 1},
		{broker.At(late.Time), byTime},
		{broker.At(late.Time.Add(-24 * time.Hour)), 0},
		{broker.At(time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)), 0},
		{broker.At(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)), end},
		{broker.End(), end},
		{broker.Offset(all[len(all)-1].Offset + 1<<40), end}, // beyond what is appended here, with any gaps
	} {
		want := values(s.readAll(topic))
		if c.index == end {
			want = nil
		} else {
			want = want[c.index:]
		}
		s.seek(group, topic, c.to)
		if lag := s.totalLag(group, topic); lag != int64(len(want)) {
			s.Errorf("after a seek to %v the lag is %d, want %d", c.to, lag, len(want))
		}
		s.publish(pinned(topic, 0, "last"))
		m := s.join(group, broker.Start(), topic)
		s.wantValues("after a seek to "+c.to.String(), m.pollAll(len(want)+1), append(want, "last")...)
		m.leave()
	}
}

func seekOneTopic(s *suite) {
	a, b, group := s.create("a", 2), s.create("b", 2), s.name("g")
	s.publish(pinned(a, 0, "a0"), pinned(a, 1, "a1"), pinned(b, 0, "b0"), pinned(b, 1, "b1"))
	m := s.join(group, broker.Start(), a, b)
	m.pollAll(4)
	m.leave()
	s.seek(group, a, broker.Start())
	if lagA, lagB := s.totalLag(group, a), s.totalLag(group, b); lagA != 2 || lagB != 0 {
		s.Errorf("after a seek of one topic to the start the lags are %d and %d, want 2 and 0", lagA, lagB)
	}
}

func seekEach(s *suite) {
	topic, group := s.create("tickets", 3), s.name("g")
	for p := range int32(3) {
		s.publish(sequence(topic, p, string('a'+p), 4)...)
	}
	offset := func(p, i int) broker.Position { return broker.Offset(s.readAll(topic)[4*p+i].Offset) }
	s.seek(group, topic, offset(0, 2), broker.End(), offset(2, 3))
	m := s.join(group, broker.Start(), topic)
	s.wantValues("after a seek to a position in each partition", byPartition(m.pollAll(3)), "a2", "a3", "c3")
	m.leave()
	s.seek(group, topic, broker.Position{}, offset(1, 1), broker.Position{})
	m = s.join(group, broker.Start(), topic)
	s.wantValues("after a seek of one partition", byPartition(m.pollAll(3)), "b1", "b2", "b3")
	m.leave()
	for _, to := range [][]broker.Position{nil, {broker.Start(), broker.End()}, {{}}, {{}, {}, {}}, {broker.Forever()}} {
		ctx, cancel := s.bounded()
		if err := s.client.Seek(ctx, group, topic, to...); err == nil {
			s.Errorf("a seek of 3 partitions to %v succeeded", to)
		}
		cancel()
	}
}

func byPartition(records []broker.Record) []broker.Record {
	slices.SortStableFunc(records, func(a, b broker.Record) int { return int(a.Partition - b.Partition) })
	return records
}

func seekActive(s *suite) {
	topic, group := s.create("tickets", 1), s.name("g")
	s.publish(pinned(topic, 0, "a"), pinned(topic, 0, "b"))
	m := s.join(group, broker.Start(), topic)
	s.wantValues("the first batch", m.poll(broker.Want{Records: 1}), "a")
	m.settle()
	s.mustFail("seek an active group", broker.ErrGroupActive, func(ctx context.Context) error {
		return s.client.Seek(ctx, group, topic, broker.Start())
	})
	s.wantValues("after the refused seek", m.poll(broker.Want{}), "b")
	m.settle()
	m.leave()
	s.seek(group, topic, broker.Start())
}

func seekNewGroup(s *suite) {
	topic, group := s.create("tickets", 1), s.name("g")
	s.publish(sequence(topic, 0, "v", 3)...)
	all := s.readAll(topic)
	s.seek(group, topic, broker.Offset(all[1].Offset))
	if !slices.Contains(s.groups(), group) {
		s.Error("a group with positions is not named")
	}
	m := s.join(group, broker.Start(), topic)
	s.wantValues("a group that was seeked before it was joined", m.poll(broker.Want{}), "v1", "v2")
}

func seekUnknownTopic(s *suite) {
	s.mustFail("seek in an unknown topic", broker.ErrUnknownTopic, func(ctx context.Context) error {
		return s.client.Seek(ctx, s.name("g"), s.name("nowhere"), broker.Start())
	})
}

func seekReplay(s *suite) {
	topic, group := s.create("tickets", 3), s.name("g")
	var records []broker.Record
	for p := range int32(3) {
		records = append(records, sequence(topic, p, string('a'+p), 30)...)
	}
	s.publish(records...)
	m := s.join(group, broker.Start(), topic)
	first := m.pollAll(len(records))
	m.leave()
	s.seek(group, topic, broker.Start())
	m = s.join(group, broker.End(), topic)
	again := m.pollAll(len(records))
	for what, got := range map[string][]broker.Record{"the first time": first, "the second time": again} {
		s.wantValues(what, byPartition(got), values(records)...)
	}
}
