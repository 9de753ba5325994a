// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/test/servers/proxy"
	servers "github.com/millrace-ml/millrace/internal/test/servers/redis"
)

// rarelyBeating makes members use no connection but for what a test makes them do.
func rarelyBeating() Options {
	o := conformanceOptions
	o.HandoverTimeout = time.Minute
	return o
}

// The server executes a settle and a publish, and the answers get lost.
func TestALostReplyIsFoundOut(t *testing.T) {
	s := servers.Start(t, servers.Options{})
	p := proxy.Start(t, s.Addr())
	b := open(t, "redis://"+p.Addr(), rarelyBeating())
	watch := open(t, s.URL(), conformanceOptions)
	create(t, b, "in", 1)
	create(t, b, "out", 1)
	publish(t, b, pinned("in", "warm up"), pinned("in", "a"))
	c := join(t, b, "g", "in")
	wantValues(t, poll(t, c, broker.Want{Records: 1}), "warm up") // the server learns the scripts
	must(t, c.Settle(bounded(t)))
	wantValues(t, poll(t, c, broker.Want{}), "a")
	var places []broker.Place
	for _, step := range []struct {
		what string
		call func() error
		want []string
	}{
		{"settle", func() error { return c.Settle(bounded(t), pinned("out", "a")) }, []string{"a"}},
		{"publish", func() (err error) {
			places, err = b.Publish(bounded(t), pinned("out", "b"))
			return err
		}, []string{"a", "b"}},
		{"settle without a batch", func() error { return c.Settle(bounded(t), pinned("out", "c")) }, []string{"a", "b", "c"}},
	} {
		p.Set(proxy.Faults{Lose: true})
		done := make(chan error, 1)
		go func() { done <- step.call() }()
		waitFor(t, step.what+" reaches the server", func() bool { return len(readAll(t, watch, "out")) == len(step.want) })
		select {
		case err := <-done:
			t.Fatalf("%s returned %v without an answer", step.what, err)
		default:
		}
		p.Set(proxy.Faults{})
		must(t, <-done)
		wantValues(t, readAll(t, watch, "out"), step.want...)
	}
	if is := place(readAll(t, watch, "out")[1]); len(places) != 1 || places[0] != is {
		t.Errorf("a publish whose answer got lost says %v, the record is at %v", places, is)
	}
}

// The caller gives up a settle that the server has executed, and goes on.
func TestAnAbandonedSettleIsKnownToTheNextPoll(t *testing.T) {
	s := servers.Start(t, servers.Options{})
	p := proxy.Start(t, s.Addr())
	b := open(t, "redis://"+p.Addr(), rarelyBeating())
	watch := open(t, s.URL(), conformanceOptions)
	create(t, b, "in", 1)
	create(t, b, "out", 1)
	publish(t, b, pinned("in", "warm up"), pinned("in", "a"), pinned("in", "b"))
	c := join(t, b, "g", "in")
	wantValues(t, poll(t, c, broker.Want{Records: 1}), "warm up") // the server learns the scripts
	must(t, c.Settle(bounded(t)))
	wantValues(t, poll(t, c, broker.Want{Records: 1}), "a")
	p.Set(proxy.Faults{Lose: true})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Settle(ctx, pinned("out", "a")) }()
	waitFor(t, "the settle reaches the server", func() bool { return len(readAll(t, watch, "out")) == 1 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("settle returned %v when its context ended", err)
	}
	p.Set(proxy.Faults{})
	c.Rewind()
	wantValues(t, poll(t, c, broker.Want{}), "b")
	must(t, c.Settle(bounded(t), pinned("out", "b")))
	wantValues(t, readAll(t, watch, "out"), "a", "b")
}

// joinDriver joins beneath the portable broker.
func joinDriver(t testing.TB, b *broker.Broker, group, topic string) *member {
	t.Helper()
	m, err := b.Driver().Join(bounded(t), group, broker.Start(), []string{topic})
	must(t, err)
	t.Cleanup(func() { _ = m.Close(bounded(t)) })
	return m.(*member)
}

// prepared is a settle with one result that is not sent yet.
func prepared(t testing.TB, m *member, list []broker.Move, result broker.Record) *pending {
	t.Helper()
	records, err := m.d.route(bounded(t), []broker.Record{result}, []int32{0})
	must(t, err)
	moves, err := m.moves(list)
	must(t, err)
	return m.prepare("", moves, records)
}

func pollDriver(t testing.TB, m *member) broker.Polled {
	t.Helper()
	p, err := m.Poll(bounded(t), broker.Want{Records: 1, Bytes: 1 << 20})
	must(t, err)
	return p
}

// The network has held a settle up, and it arrives when the member has gone on.
func TestASettleThatComesLateDoesNothing(t *testing.T) {
	s := servers.Start(t, servers.Options{})
	b := open(t, s.URL(), conformanceOptions)
	create(t, b, "in", 1)
	create(t, b, "out", 1)
	publish(t, b, pinned("in", "a"))
	m := joinDriver(t, b, "g", "in")
	late := prepared(t, m, nil, pinned("out", "late"))
	must(t, m.carryOut(bounded(t), prepared(t, m, pollDriver(t, m).Moves, pinned("out", "in time"))))
	_, err := m.d.run(bounded(t), m.d.scripts.settle, late.keys, late.args)
	must(t, err)
	wantValues(t, readAll(t, b, "out"), "in time")
}

// Nobody has moved the group while the member was without the partition.
func TestASettleIsFencedAlthoughThePartitionCameBack(t *testing.T) {
	s := servers.Start(t, servers.Options{})
	b := open(t, s.URL(), conformanceOptions)
	create(t, b, "in", 1)
	create(t, b, "out", 1)
	publish(t, b, pinned("in", "a"))
	m := joinDriver(t, b, "g", "in")
	before := prepared(t, m, pollDriver(t, m).Moves, pinned("out", "too late"))
	must(t, s.Client().HDel(bounded(t), "{millrace}::group:g", "o:0").Err())
	m.rouse()
	after := prepared(t, m, pollDriver(t, m).Moves, pinned("out", "in time"))
	if err := m.carryOut(bounded(t), before); !errors.Is(err, broker.ErrFenced) {
		t.Errorf("settle what was polled before the loss: %v", err)
	}
	must(t, m.carryOut(bounded(t), after))
	wantValues(t, readAll(t, b, "out"), "in time")
}

// A heartbeat that arrives when the member has left does not make it a member.
func TestAMemberThatHasLeftDoesNotComeBack(t *testing.T) {
	s := servers.Start(t, servers.Options{})
	b := open(t, s.URL(), rarelyBeating())
	create(t, b, "in", 1)
	m := joinDriver(t, b, "g", "in")
	must(t, m.Close(bounded(t)))
	if _, err := m.d.ask(bounded(t), question{action: "beat", group: "g", member: m.name, topics: m.topics}); !isReply(err, "LEFT") {
		t.Errorf("a late heartbeat: %v", err)
	}
	must(t, b.Seek(bounded(t), "g", "in", broker.End()))
}

// Somebody moved the group under a member's feet, or the server lost a settle
// but not the member's lease.
func TestASettleFromAnotherPositionIsRefused(t *testing.T) {
	s := servers.Start(t, servers.Options{})
	b := open(t, s.URL(), conformanceOptions)
	create(t, b, "in", 1)
	create(t, b, "out", 1)
	publish(t, b, pinned("in", "a"), pinned("in", "b"))
	c := join(t, b, "g", "in")
	wantValues(t, poll(t, c, broker.Want{Records: 1}), "a")
	must(t, c.Settle(bounded(t)))
	wantValues(t, poll(t, c, broker.Want{}), "b")
	must(t, s.Client().HSet(bounded(t), "{millrace}::group:g", "p:in:0", "0-0 0").Err())
	if err := c.Settle(bounded(t), pinned("out", "b")); !errors.Is(err, broker.ErrFenced) {
		t.Fatalf("settle from another position: %v", err)
	}
	wantValues(t, readAll(t, b, "out"))
	wantValues(t, poll(t, c, broker.Want{}), "a", "b")
}

// Somebody has put something else under the key of a stream: what was to be added
// to the streams before it is not there, however often the settle is tried.
func TestAScriptThatFailsHalfWayLeavesNothing(t *testing.T) {
	s := servers.Start(t, servers.Options{})
	b := open(t, s.URL(), rarelyBeating())
	create(t, b, "in", 1)
	create(t, b, "out", 1)
	create(t, b, "other", 1)
	publish(t, b, pinned("in", "a"))
	redis := s.Client()
	must(t, redis.Set(t.Context(), "{millrace}:other:0", "not a stream", 0).Err())
	c := join(t, b, "g", "in")
	wantValues(t, poll(t, c, broker.Want{}), "a")
	for range 3 {
		err := c.Settle(bounded(t), pinned("out", "a"), pinned("out", "b"), pinned("other", "c"))
		if err == nil || !strings.Contains(err.Error(), "WRONGTYPE") || !strings.Contains(err.Error(), "other:0") {
			t.Errorf("settled with %v, want the key that is no stream", err)
		}
		if _, err := b.Publish(bounded(t), pinned("out", "p"), pinned("other", "q")); err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
			t.Errorf("published with %v", err)
		}
	}
	wantValues(t, readAll(t, b, "out"))
	must(t, redis.Del(t.Context(), "{millrace}:other:0").Err())
	must(t, c.Settle(bounded(t), pinned("out", "a"), pinned("out", "b"), pinned("other", "c")))
	wantValues(t, readAll(t, b, "out"), "a", "b")
	wantValues(t, readAll(t, b, "other"), "c")
}
