// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// joinMember makes a member of the driver's, which the tests call without the
// portable layer: that would not do to it what is done here.
func joinMember(t *testing.T, b *broker.Broker) *member {
	t.Helper()
	m, err := b.Driver().Join(t.Context(), "g", broker.Start(), []string{"t"})
	if err != nil {
		t.Fatal(err)
	}
	return m.(*member)
}

func pollOne(t *testing.T, m *member) broker.Polled {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	polled, err := m.Poll(ctx, broker.Want{Records: 1, Bytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return polled
}

func TestAPollThatWaitsHandsOverWhatASettleEmpties(t *testing.T) {
	b := newTestDisk().open(t, Options{HandoverTimeout: time.Hour})
	createTopic(t, b, "t", 1)
	publish(t, b, "t", "a")
	old := joinMember(t, b)
	open := pollOne(t, old)
	publish(t, b, "t", "b")
	// The group wants another owner, and the poll knows of it.
	g := old.g
	fresh := joinMember(t, b)
	g.mu.Lock()
	g.target[0] = fresh
	g.handOver()
	g.mu.Unlock()
	<-old.watcher.ch
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error)
	go func() {
		_, err := old.Poll(ctx, broker.Want{Records: 1, Bytes: 1 << 20})
		waiting <- err
	}()
	waitFor(t, g, func() bool { return !old.mustGive.Load() })
	if err := old.Settle(t.Context(), &broker.Settlement{Moves: open.Moves}); err != nil {
		t.Fatal(err)
	}
	if got := pollOne(t, fresh); values(got.Records) != "b" {
		t.Errorf("the new owner polls %q, want b", values(got.Records))
	}
	cancel()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Errorf("the old owner's poll returned %v", err)
	}
}

func TestAPollGoesOnBehindASettleThatARewindHasMet(t *testing.T) {
	b := newTestDisk().open(t, Options{})
	createTopic(t, b, "t", 1)
	publish(t, b, "t", "a", "b")
	m := joinMember(t, b)
	open := pollOne(t, m)
	p := driverOf(b).topics["t"].partitions[0]
	p.appending.Lock() // holds the settle up, which has a result for this partition
	settled := make(chan error)
	go func() {
		settled <- m.Settle(context.Background(), &broker.Settlement{
			Moves: open.Moves, Records: []broker.Record{{Topic: "t", Value: []byte("c")}}, Partitions: []int32{0},
		})
	}()
	waitFor(t, m.g, func() bool { return m.settling })
	m.Rewind([]int32{0})
	p.appending.Unlock()
	if err := <-settled; err != nil {
		t.Fatal(err)
	}
	if got := pollOne(t, m); values(got.Records) != "b" || got.Moves[0].From != 1 {
		t.Errorf("polled %q by %+v, want b from 1", values(got.Records), got.Moves)
	}
}

// A gap in front of the records is passed with the first of them, not before.
func TestWhatWasDeletedIsPassedWithTheFirstRecordBehindIt(t *testing.T) {
	now := newTestClock()
	b := newTestDisk().open(t, Options{Now: now.time})
	if err := b.CreateTopics(t.Context(), broker.Topic{Name: "t", Partitions: 2, Retention: time.Hour}); err != nil {
		t.Fatal(err)
	}
	m := joinMember(t, b)
	publish(t, b, "t", "deleted")
	now.add(2 * time.Hour)
	if _, err := b.Publish(t.Context(), broker.Record{Topic: "t", Pinned: true, Partition: 1, Value: []byte("first")}); err != nil {
		t.Fatal(err)
	}
	publish(t, b, "t", "second")
	if err := driverOf(b).deleteOld(); err != nil {
		t.Fatal(err)
	}
	if got := pollOne(t, m); values(got.Records) != "first" || len(got.Moves) != 1 || got.Moves[0].Partition != 1 || got.Backlog != 1 {
		t.Errorf("polled %q by %+v and %d are left, want first, by a move in partition 1, and 1", values(got.Records), got.Moves, got.Backlog)
	}
	got := pollOne(t, m)
	want := broker.Move{TopicPartition: broker.TopicPartition{Topic: "t"}, From: 0, To: 2}
	if values(got.Records) != "second" || len(got.Moves) != 1 || got.Moves[0] != want {
		t.Errorf("polled %q by %+v, want second by %+v", values(got.Records), got.Moves, want)
	}
}

func TestABrokenLogEndsWaitsAndFailsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newTestDisk()
		b := disk.open(t, Options{})
		createTopic(t, b, "t", 1)
		m := joinMember(t, b)
		c, err := b.Driver().Read(t.Context(), "t", []int32{0}, broker.End(), broker.Forever())
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() {
			_, err := m.Poll(context.Background(), broker.Want{Records: 1, Bytes: 1 << 20})
			ended <- err
		}()
		go func() {
			_, err := c.Next(context.Background(), 1)
			ended <- err
		}()
		synctest.Wait()
		disk.power.Lock()
		disk.dead = true
		disk.power.Unlock()
		d := b.Driver()
		_, appended := d.Append(t.Context(), []broker.Record{{Topic: "t"}}, []int32{0})
		if appended == nil {
			t.Fatal("an append to a broken disk succeeded")
		}
		_, topics := d.Topics(t.Context())
		_, groups := d.Groups(t.Context())
		_, lag := d.Lag(t.Context(), "g")
		_, read := d.Read(t.Context(), "t", []int32{0}, broker.Start(), broker.End())
		_, join := d.Join(t.Context(), "g", broker.Start(), []string{"t"})
		for i, err := range []error{
			<-ended, <-ended, topics, groups, lag, read, join,
			d.CreateTopics(t.Context(), []broker.Topic{{Name: "u", Partitions: 1}}),
			d.Seek(t.Context(), "other", "t", []broker.Position{broker.Start()}),
			m.Settle(t.Context(), &broker.Settlement{Records: []broker.Record{{Topic: "t"}}, Partitions: []int32{0}}),
		} {
			if failed := driverOf(b).failure.get(); failed == nil || !errors.Is(err, failed) {
				t.Errorf("call %d: %v, want an error that is %v", i, err, failed)
			}
		}
	})
}

func TestALargeAppendThatFailsInItsMiddleDoesNotSayThatNothingWasAppended(t *testing.T) {
	disk := newTestDisk()
	b := disk.open(t, Options{})
	createTopic(t, b, "t", 1)
	value := make([]byte, maxCommitBytes/16)
	rand.NewChaCha8([32]byte{}).Read(value) // what can be compressed would take less room
	records := slices.Repeat([]broker.Record{{Topic: "t", Value: value}}, 40)
	// There is room for the first commit, and when it is written for no other.
	s := &driverOf(b).space
	disk.room.Store(s.reserve + writeFactor*maxCommitBytes*9/8)
	s.mu.Lock()
	s.allowed = 0
	s.mu.Unlock()
	_, err := b.Publish(t.Context(), records...)
	n := count(t, b, "t")
	if err == nil || n == 0 || errors.Is(err, broker.ErrFull) {
		t.Errorf("%d of 40 records are there and the error is %v, want a part of them and one that is not %q", n, err, broker.ErrFull)
	}
}

func TestOnlyAnOpenEmbeddedBrokerNotesAnAddress(t *testing.T) {
	disk := newTestDisk()
	b := disk.open(t, Options{})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := SetAddress(b, "127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	if o, err := readOwner(disk, "data"); err == nil {
		t.Errorf("a closed broker has noted %+v", o)
	}
	if err := SetAddress(broker.New(nil, broker.Options{}), "127.0.0.1:1"); err != nil {
		t.Errorf("a broker of another driver: %v", err)
	}
}
