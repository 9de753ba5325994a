// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/test/servers/proxy"
	servers "github.com/millrace-ml/millrace/internal/test/servers/redis"
)

// The server comes back empty. That is said aloud, and work goes on.
func TestAServerThatComesBackEmptyIsReported(t *testing.T) {
	s := servers.Start(t, servers.Options{})
	var log logged
	b := open(t, s.URL(), log.options())
	create(t, b, "in", 2)
	create(t, b, "out", 2)
	c := join(t, b, "g", "in")
	publish(t, b, pinned("in", "old"), pinned("in", "older"))
	wantValues(t, poll(t, c, broker.Want{Records: 1}), "old")
	s.Restart()
	if err := c.Settle(bounded(t), pinned("out", "old")); !errors.Is(err, broker.ErrFenced) {
		t.Fatalf("settle on the empty server returned %v", err)
	}
	if !log.has("Redis has lost its data") {
		t.Errorf("the loss is not in the log:\n%s", log.text.String())
	}
	publish(t, b, pinned("in", "new"))
	wantValues(t, poll(t, c, broker.Want{}), "new")
	must(t, c.Settle(bounded(t), pinned("out", "new")))
	wantValues(t, readAll(t, b, "out"), "new")
	if infos, err := b.Topics(bounded(t)); err != nil || len(infos) != 2 || infos[0].Partitions != 2 {
		t.Errorf("the topics are %+v, %v", infos, err)
	}
}

// One stream is gone, as after a failover to a replica that was behind.
func TestAStreamThatEndsBeforeThePositionIsReported(t *testing.T) {
	s := servers.Start(t, servers.Options{})
	p := proxy.Start(t, s.Addr())
	var log logged
	b := open(t, "redis://"+p.Addr(), log.options())
	create(t, b, "in", 1)
	publish(t, b, pinned("in", "old"))
	c := join(t, b, "g", "in")
	wantValues(t, poll(t, c, broker.Want{}), "old")
	must(t, c.Settle(bounded(t)))
	must(t, s.Client().Del(bounded(t), "{millrace}:in:0").Err())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	polled := make(chan []broker.Record, 1)
	go func() {
		batch, err := c.Poll(ctx, broker.Want{})
		if err == nil {
			polled <- batch.Records
		}
	}()
	waitFor(t, "the loss is reported", func() bool {
		p.Reset() // what a client notices of a failover
		time.Sleep(20 * time.Millisecond)
		return log.has("Redis has lost records")
	})
	publish(t, b, pinned("in", "new"))
	wantValues(t, <-polled, "new")
}

// A program that is killed does not leave the group.
func TestThePartitionsOfAKilledMemberMove(t *testing.T) {
	s := servers.Start(t, servers.Options{})
	killed, heir := open(t, s.URL(), conformanceOptions), open(t, s.URL(), conformanceOptions)
	create(t, killed, "in", 4)
	c := join(t, killed, "g", "in")
	publish(t, killed, pinned("in", "a"))
	poll(t, c, broker.Want{})
	must(t, killed.Close()) // with a batch, and without leaving
	d := join(t, heir, "g", "in")
	wantValues(t, poll(t, d, broker.Want{}), "a")
	must(t, d.Settle(bounded(t)))
	waitFor(t, "the heir owns everything", func() bool {
		_, err := d.Poll(contextFor(t, 50*time.Millisecond), broker.Want{})
		return errors.Is(err, context.DeadlineExceeded) && len(d.Assignment().Partitions) == 4
	})
}

// A member that dies must not keep its group from being seeked for ever.
func TestAGroupOfDeadMembersIsSeeked(t *testing.T) {
	s := servers.Start(t, servers.Options{})
	dead, b := open(t, s.URL(), conformanceOptions), open(t, s.URL(), conformanceOptions)
	create(t, dead, "in", 1)
	join(t, dead, "g", "in")
	if err := b.Seek(bounded(t), "g", "in", broker.End()); !errors.Is(err, broker.ErrGroupActive) {
		t.Fatalf("seek of an active group: %v", err)
	}
	must(t, dead.Close())
	waitFor(t, "the group can be seeked", func() bool { return b.Seek(bounded(t), "g", "in", broker.End()) == nil })
}

// A server that stands still holds everything up, and nothing is lost.
func TestAPausedServerIsWaitedFor(t *testing.T) {
	s := servers.Start(t, servers.Options{})
	b := open(t, s.URL(), conformanceOptions)
	create(t, b, "in", 1)
	create(t, b, "out", 1)
	c := join(t, b, "g", "in")
	publish(t, b, pinned("in", "a"))
	poll(t, c, broker.Want{})
	s.Pause()
	done := make(chan error, 2)
	go func() { done <- c.Settle(bounded(t), pinned("out", "a")) }()
	go func() {
		_, err := b.Publish(bounded(t), pinned("in", "b"))
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("a call of a paused server returned %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	s.Resume()
	must(t, <-done)
	must(t, <-done)
	wantValues(t, readAll(t, b, "out"), "a")
	wantValues(t, poll(t, c, broker.Want{}), "b")
}

// Two seconds are what the project promises; one is left for a slow machine.
func TestWorkResumesByItselfSoonAfterAnOutage(t *testing.T) {
	s := servers.Start(t, servers.Options{AppendFsync: "always"})
	b := open(t, s.URL(), conformanceOptions)
	create(t, b, "in", 1)
	c := join(t, b, "g", "in")
	s.Kill()
	published := make(chan error, 1)
	go func() {
		_, err := b.Publish(bounded(t), pinned("in", "a"))
		published <- err
	}()
	polled := make(chan error, 1)
	go func() {
		_, err := c.Poll(bounded(t), broker.Want{})
		polled <- err
	}()
	time.Sleep(1500 * time.Millisecond) // the pauses between tries have become long
	s.Start()
	back := time.Now()
	must(t, <-published)
	must(t, <-polled)
	if took := time.Since(back); took > 3*time.Second {
		t.Errorf("work resumed %v after the server was back", took)
	}
}
