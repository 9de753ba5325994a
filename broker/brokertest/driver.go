// SPDX-License-Identifier: Apache-2.0

package brokertest

import (
	"context"

	"github.com/millrace-ml/millrace/broker"
)

// Package broker gives a driver its settlements in order. That a driver would
// refuse them otherwise is what is left when something is wrong above it.
func driverProperties() []property {
	return []property{
		{name: "Driver/refuses what does not begin where the group stands", check: driverRefusesHoles},
	}
}

// rawMember is a driver's member, without the Consumer that keeps its order.
type rawMember struct {
	broker.Member
	s   *suite
	out string
}

func (s *suite) rawJoin(group, in, out string) *rawMember {
	s.Helper()
	m := &rawMember{s: s, out: out}
	s.do("join the driver's group", func(ctx context.Context) (err error) {
		m.Member, err = s.client.Driver().Join(ctx, group, broker.Start(), []string{in})
		return err
	})
	s.Cleanup(func() {
		s.do("close the driver's member", m.Close)
	})
	return m
}

func (m *rawMember) poll(most int) broker.Polled {
	m.s.Helper()
	var p broker.Polled
	m.s.do("the driver's Poll", func(ctx context.Context) (err error) {
		p, err = m.Poll(ctx, broker.Want{Records: most, Bytes: 1 << 20})
		return err
	})
	return p
}

// settlement answers what was polled in a row.
func (m *rawMember) settlement(list ...broker.Polled) *broker.Settlement {
	s := &broker.Settlement{Moves: []broker.Move{list[0].Moves[0]}}
	for _, p := range list {
		s.Moves[0].To = p.Moves[0].To
		s.Records = append(s.Records, answers(m.out, p.Records)...)
		for i := range p.Records {
			s.Partitions = append(s.Partitions, p.Records[i].Partition)
		}
	}
	return s
}

func (m *rawMember) wantSettled(s *broker.Settlement) {
	m.s.Helper()
	m.s.do("the driver's Settle", func(ctx context.Context) error { return m.Settle(ctx, s) })
}

func (m *rawMember) wantRefused(what string, s *broker.Settlement) {
	m.s.Helper()
	before := values(m.s.readAll(m.out))
	m.s.mustFail(what, broker.ErrFenced, func(ctx context.Context) error { return m.Settle(ctx, s) })
	m.s.wantValues("after a settle that was refused", m.s.readAll(m.out), before...)
}

func driverRefusesHoles(s *suite) {
	in, out, group := s.create("in", 1), s.create("out", 1), s.name("g")
	s.publish(sequence(in, 0, "v", 5)...)
	m := s.rawJoin(group, in, out)
	var polled []broker.Polled
	for i := range 5 {
		p := m.poll(1)
		if len(p.Records) != 1 || len(p.Moves) != 1 {
			s.Fatalf("a Poll of one record brought %d records and %d moves", len(p.Records), len(p.Moves))
		}
		if i > 0 && polled[i-1].Moves[0].To != p.Moves[0].From {
			s.Fatalf("a move begins at %d, behind one that ends at %d", p.Moves[0].From, polled[i-1].Moves[0].To)
		}
		polled = append(polled, p)
	}
	m.wantRefused("settle the second batch before the first", m.settlement(polled[1]))
	m.wantSettled(m.settlement(polled[0]))
	m.wantRefused("settle the first batch a second time", m.settlement(polled[0]))
	m.wantRefused("settle the first batch again with the second", m.settlement(polled[0], polled[1]))
	m.wantRefused("settle the third batch before the second", m.settlement(polled[2]))
	m.wantSettled(m.settlement(polled[1], polled[2]))
	if lag := s.totalLag(group, in); lag != 2 {
		s.Errorf("three of five records are settled, and the lag is %d", lag)
	}
	m.Rewind([]int32{0})
	again := m.poll(1)
	s.wantValues("after a Rewind", again.Records, "v3")
	m.wantRefused("settle what is behind the rewound batch", m.settlement(polled[4]))
	m.wantSettled(m.settlement(again))
	s.wantValues("results", s.readAll(out), "v0", "v1", "v2", "v3")
}
