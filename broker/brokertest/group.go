// SPDX-License-Identifier: Apache-2.0

package brokertest

import (
	"context"
	"slices"

	"github.com/millrace-ml/millrace/broker"
)

func groupProperties() []property {
	return []property{
		{name: "Join/begins a new group where it says", check: joinStarts},
		{name: "Join/begins a new group at a time", check: joinAtTime},
		{name: "Join/fixes the end when it joins", check: joinFixesEnd},
		{name: "Join/lets existing positions win", check: joinPositionsWin},
		{name: "Join/gives a new topic of an old group its start", check: joinNewTopic},
		{name: "Join/refuses topics that do not fit", check: joinRefuses},
		{name: "Groups/read independently of each other", check: groupsIndependent},
		{name: "Groups/are named while they have members or positions", check: groupsNamed},
		{name: "Lag/is true at each step", check: lagTrue},
		{name: "Lag/counts partitions that the group has no position in", check: lagWithoutPosition},
		{name: "Lag/names the members", check: lagNamesMembers},
		{name: "Lag/is zero after everything is settled downstream", check: lagDownstream},
	}
}

func joinStarts(s *suite) {
	topic := s.create("tickets", 1)
	s.publish(pinned(topic, 0, "old"))
	fromStart := s.join(s.name("start"), broker.Start(), topic)
	fromEnd := s.join(s.name("end"), broker.End(), topic)
	s.publish(pinned(topic, 0, "new"))
	s.wantValues("a group from the start", fromStart.pollAll(2), "old", "new")
	s.wantValues("a group from the end", fromEnd.poll(broker.Want{}), "new")
}

func joinAtTime(s *suite) {
	topic := s.create("tickets", 1)
	s.publish(pinned(topic, 0, "early"))
	middle := s.publishLater(topic, 0, "middle")
	s.publishLater(topic, 0, "late")
	all := s.readAll(topic)
	cut := slices.IndexFunc(all, func(r broker.Record) bool { return !r.Time.Before(middle.Time) })
	m := s.join(s.name("g"), broker.At(middle.Time), topic)
	s.wantValues("a group from a time", m.pollAll(len(all)-cut), values(all[cut:])...)
}

// A service that starts at the end must not miss what comes while it starts,
// nor what comes while it is down before its first settle.
func joinFixesEnd(s *suite) {
	topic, group := s.create("tickets", 1), s.name("g")
	s.publish(pinned(topic, 0, "old"))
	m := s.join(group, broker.End(), topic)
	s.publish(pinned(topic, 0, "while it started"))
	s.wantValues("after joining at the end", m.poll(broker.Want{}), "while it started")
	m.leave()
	s.publish(pinned(topic, 0, "while it was down"))
	m = s.join(group, broker.End(), topic)
	s.wantValues("after joining at the end again", m.pollAll(2), "while it started", "while it was down")
}

func joinPositionsWin(s *suite) {
	topic, group := s.create("tickets", 1), s.name("g")
	s.publish(sequence(topic, 0, "v", 4)...)
	m := s.join(group, broker.Start(), topic)
	s.wantValues("the first batch", m.poll(broker.Want{Records: 2}), "v0", "v1")
	m.settle()
	m.leave()
	for _, start := range []broker.Position{broker.Start(), broker.End(), broker.Offset(0)} {
		m = s.join(group, start, topic)
		s.wantValues("after joining again at "+start.String(), m.poll(broker.Want{}), "v2", "v3")
		m.leave() // without a settle: the group stays where it is
	}
}

func joinNewTopic(s *suite) {
	a, b, group := s.create("a", 1), s.create("b", 1), s.name("g")
	s.publish(pinned(a, 0, "a0"), pinned(b, 0, "b0"))
	m := s.join(group, broker.Start(), a)
	s.wantValues("the first topic", m.pollAll(1), "a0")
	m.leave()
	m = s.join(group, broker.Start(), a, b)
	s.wantValues("the topic that came later", m.poll(broker.Want{}), "b0")
}

func joinRefuses(s *suite) {
	three, four := s.create("three", 3), s.create("four", 4)
	refuse := func(what string, target error, group string, topics ...string) {
		s.Helper()
		s.mustFail(what, target, func(ctx context.Context) error {
			c, err := s.client.Join(ctx, group, broker.Start(), topics...)
			if err == nil {
				_ = c.Close(ctx)
			}
			return err
		})
	}
	refuse("join an unknown topic", broker.ErrUnknownTopic, s.name("g"), s.name("nowhere"))
	refuse("join a known and an unknown topic", broker.ErrUnknownTopic, s.name("g"), three, s.name("nowhere"))
	refuse("join topics of 3 and 4 partitions", broker.ErrTopicConflict, s.name("g"), three, four)
	refuse("join a group with a bad name", nil, "a group", three)
	if slices.Contains(s.groups(), s.name("g")) {
		s.Error("a group exists that could not be joined")
	}
}

func (s *suite) groups() []string {
	s.Helper()
	var names []string
	s.do("list groups", func(ctx context.Context) (err error) {
		names, err = s.client.Groups(ctx)
		return err
	})
	if !slices.IsSorted(names) {
		s.Errorf("groups are not sorted: %q", names)
	}
	return names
}

func groupsIndependent(s *suite) {
	topic := s.create("tickets", 1)
	s.publish(sequence(topic, 0, "v", 6)...)
	a := s.join(s.name("a"), broker.Start(), topic)
	b := s.join(s.name("b"), broker.Start(), topic)
	s.wantValues("group a", a.poll(broker.Want{Records: 4}), "v0", "v1", "v2", "v3")
	s.wantValues("group b", b.poll(broker.Want{Records: 1}), "v0")
	a.settle()
	b.Rewind()
	s.wantValues("group a", a.poll(broker.Want{}), "v4", "v5")
	s.wantValues("group b", b.pollAll(6), "v0", "v1", "v2", "v3", "v4", "v5")
}

func groupsNamed(s *suite) {
	topic := s.create("tickets", 2)
	s.publish(pinned(topic, 1, "v"))
	group := s.name("g")
	if slices.Contains(s.groups(), group) {
		s.Fatal("a group exists before anyone joined it")
	}
	m := s.join(group, broker.Start(), topic)
	if !slices.Contains(s.groups(), group) {
		s.Error("a group with a member is not named")
	}
	m.pollAll(1)
	m.leave()
	if !slices.Contains(s.groups(), group) {
		s.Error("a group with positions and no members is not named")
	}
	if n := len(s.lag(s.name("no such group"))); n != 0 {
		s.Errorf("a group that does not exist has %d lags, want none", n)
	}
}

func lagTrue(s *suite) {
	topic, other, group := s.create("tickets", 2), s.create("other", 2), s.name("g")
	s.publish(append(sequence(topic, 0, "a", 5), sequence(other, 1, "b", 2)...)...)
	want := func(when string, lags ...int64) { // topic 0, topic 1, other 0, other 1
		s.Helper()
		got := s.lag(group)
		if len(got) != 4 {
			s.Fatalf("%s: %d lags, want one for each partition of each topic: %+v", when, len(got), got)
		}
		for i, n := range lags {
			at := broker.TopicPartition{Topic: []string{topic, other}[i/2], Partition: int32(i % 2)}
			// Offsets may have gaps, but at the end there is nothing between.
			if l := got[at]; l.Lag != n || l.End-l.Position < n || n == 0 && l.End != l.Position {
				s.Errorf("%s: lag of %v is %+v, want %d", when, at, l, n)
			}
		}
	}
	m := s.join(group, broker.Start(), topic, other)
	want("after joining", 5, 0, 0, 2)
	if n := len(m.poll(broker.Want{Records: 7, Wait: s.h.Patience / 2})); n != 7 {
		s.Fatalf("polled %d records, want 7", n)
	}
	want("after a poll", 5, 0, 0, 2)
	m.settle()
	want("after a settle", 0, 0, 0, 0)
	s.publish(pinned(topic, 1, "more"))
	want("after a publish", 0, 1, 0, 0)
	m.poll(broker.Want{})
	m.Rewind()
	want("after a rewind", 0, 1, 0, 0)
	m.leave()
	want("after leaving", 0, 1, 0, 0)

	s.do("lag", func(ctx context.Context) error {
		list, err := s.client.Lag(ctx, group)
		sorted := slices.IsSortedFunc(list, func(x, y broker.Lag) int {
			if x.Topic != y.Topic {
				if x.Topic < y.Topic {
					return -1
				}
				return 1
			}
			return int(x.Partition - y.Partition)
		})
		if !sorted {
			s.Errorf("lags are not sorted by topic and partition: %+v", list)
		}
		return err
	})
}

// A group has positions in some partitions only when one was moved, and, on some
// brokers, while its first members join. It takes the others from the start.
func lagWithoutPosition(s *suite) {
	topic, group := s.create("tickets", 2), s.name("g")
	s.publish(sequence(topic, 1, "v", 3)...)
	s.seek(group, topic, broker.Start(), broker.Position{})
	if lag := s.totalLag(group, topic); lag != 3 {
		s.Errorf("the lag is %d while 3 records are left, in a partition without a position", lag)
	}
	m := s.join(group, broker.Start(), topic)
	m.pollAll(3)
	if lag := s.totalLag(group, topic); lag != 0 {
		s.Errorf("the lag is %d after everything was taken", lag)
	}
}

func lagNamesMembers(s *suite) {
	topic, group := s.create("tickets", 2), s.name("g")
	s.publish(pinned(topic, 0, "v"), pinned(topic, 1, "v"))
	m := s.join(group, broker.Start(), topic)
	m.pollAll(2)
	lag := s.lag(group)
	first := lag[broker.TopicPartition{Topic: topic, Partition: 0}].Member
	second := lag[broker.TopicPartition{Topic: topic, Partition: 1}].Member
	if first == "" || first != second {
		s.Errorf("one member owns both partitions, Lag names %q and %q", first, second)
	}
	m.leave()
	s.eventually("Lag names no member of a group without members", func() bool {
		return s.lag(group)[broker.TopicPartition{Topic: topic, Partition: 0}].Member == ""
	})
}

func lagDownstream(s *suite) {
	in, out := s.create("in", 2), s.create("out", 2)
	s.publish(append(sequence(in, 0, "a", 10), sequence(in, 1, "b", 10)...)...)
	first := s.join(s.name("first"), broker.Start(), in)
	for got := 0; got < 20; {
		records := first.poll(broker.Want{Records: 3})
		first.settle(answers(out, records)...)
		got += len(records)
	}
	second := s.join(s.name("second"), broker.Start(), out)
	if lag := s.totalLag(s.name("second"), out); lag < 20 {
		s.Errorf("lag of a group that has read nothing of 20 records is %d", lag)
	}
	second.pollAll(20)
	s.eventually("lag is 0 after everything was settled", func() bool {
		return s.totalLag(s.name("second"), out) == 0
	})
}

// answers makes a result of each record, pinned to its partition.
func answers(topic string, records []broker.Record) []broker.Record {
	results := make([]broker.Record, len(records))
	for i, r := range records {
		results[i] = broker.Record{Topic: topic, Partition: r.Partition, Pinned: true, Key: r.Key, Value: r.Value}
	}
	return results
}
