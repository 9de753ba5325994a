// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const stressPartitions = 3

// storm is a member at work while everything that may fail does: settles are
// slow, fail in every way, or lose their answer; partitions come and go; contexts
// end; batches are forgotten. In the end every record has one result, in order.
// A Settle or Poll that waits for ever is a deadlock of the test's bubble.
type storm struct {
	t *testing.T
	c *Consumer
	m *fakeMember

	mu     sync.Mutex
	random *rand.Rand
	calm   bool
	tasks  sync.WaitGroup
	held   bool // a batch is left open; those behind it wait
}

func TestInAStormEveryRecordIsSettledOnceAndInOrder(t *testing.T) {
	rounds := 100
	if os.Getenv("MILLRACE_LONG") != "" {
		rounds *= 20
	}
	for seed := range uint64(rounds) {
		ok := t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, m := joinFake(t, stressPartitions)
				s := &storm{t: t, c: c, m: m, random: rand.New(rand.NewPCG(seed, 1))}
				m.settles = s.answer
				s.blow()
				s.drain()
				s.check()
			})
		})
		if !ok {
			return
		}
	}
}

// chance is true once in n times.
func (s *storm) chance(n int) bool { return s.upTo(n) == 0 }

// upTo is a number from 0 to n-1.
func (s *storm) upTo(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.IntN(n)
}

func (s *storm) isCalm() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calm
}

// context is one that ends now and then, soon.
func (s *storm) context() (context.Context, context.CancelFunc) {
	if s.chance(3) {
		return context.WithTimeout(context.Background(), time.Duration(s.upTo(12))*time.Millisecond)
	}
	return context.WithCancel(context.Background())
}

// answer is what the driver does with a settlement.
func (s *storm) answer(ctx context.Context, _ int, _ *Settlement) (takesPlace bool, err error) {
	if s.isCalm() {
		return true, nil
	}
	select {
	case <-time.After(time.Duration(s.upTo(5)) * time.Millisecond):
	case <-ctx.Done():
		return s.chance(2), ctx.Err()
	}
	switch s.upTo(12) {
	case 0:
		return s.chance(2), errors.New("connection lost")
	case 1:
		return false, ErrFull
	case 2:
		return false, ErrTooLarge
	case 3:
		return false, ErrUnknownTopic
	}
	return true, nil
}

// blow makes a hundred steps.
func (s *storm) blow() {
	for range 100 {
		switch s.upTo(10) {
		case 0:
			s.rewind()
		case 1:
			s.rebalance()
		case 2:
			s.settleAll()
		default:
			s.m.publish(int32(s.upTo(stressPartitions)), 1+s.upTo(4))
			s.poll()
		}
	}
	s.wait()
}

func (s *storm) rewind() {
	s.c.Rewind()
	s.held = false
}

// wait waits for the tasks, which end unless they wait for a batch that is left
// open.
func (s *storm) wait() {
	if s.held {
		s.rewind()
	}
	s.tasks.Wait()
}

// rebalance gives the member other partitions. Those that it loses another member
// takes further.
func (s *storm) rebalance() {
	var kept []int32
	for p := range int32(stressPartitions) {
		if !s.chance(4) {
			kept = append(kept, p)
		}
	}
	s.m.mu.Lock()
	for p := range int32(stressPartitions) {
		if slices.Contains(kept, p) || s.m.doubt != nil || s.m.settling {
			continue
		}
		for s.m.position[p] < s.m.end[p] && s.chance(2) {
			s.m.results = append(s.m.results, answer(p, s.m.position[p]))
			s.m.position[p]++
		}
	}
	s.m.mu.Unlock()
	s.m.own(kept...)
}

func answer(partition int32, offset int64) string { return fmt.Sprintf("%d/%d", partition, offset) }

func answersTo(batches ...*Batch) []Record {
	var list []Record
	for _, b := range batches {
		for i := range b.Records {
			list = append(list, results(answer(b.Records[i].Partition, b.Records[i].Offset))...)
		}
	}
	return list
}

// poll starts a task for the batch that comes, if one comes.
func (s *storm) poll() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(s.upTo(6))*time.Millisecond)
	defer cancel()
	if s.chance(15) {
		s.m.failPoll(errors.New("connection lost"))
	}
	b, err := s.c.Poll(ctx, Want{Records: 1 + s.upTo(4)})
	if err != nil {
		return
	}
	if s.chance(30) {
		s.held = true
		return
	}
	s.tasks.Go(func() {
		time.Sleep(time.Duration(s.upTo(10)) * time.Millisecond)
		s.settle(b)
	})
}

// settle tries until the batch has ended, as a service does.
func (s *storm) settle(b *Batch) {
	for {
		ctx, cancel := s.context()
		err := b.Settle(ctx, answersTo(b)...)
		cancel()
		if err == nil || errors.Is(err, ErrFenced) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// settleAll begins afresh, polls, and settles everything at once, as a join does.
func (s *storm) settleAll() {
	s.wait()
	s.rewind()
	var open []*Batch
	var epoch int64
	for range 1 + s.upTo(3) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		b, err := s.c.Poll(ctx, Want{Records: 1 + s.upTo(4)})
		cancel()
		now := s.c.Assignment().Epoch
		if len(open) > 0 && now != epoch {
			return // some of them may be forgotten
		}
		epoch = now
		if err == nil {
			open = append(open, b)
		}
	}
	for try := 0; ; try++ {
		ctx, cancel := s.context()
		err := s.c.Settle(ctx, answersTo(open...)...)
		cancel()
		if err == nil || errors.Is(err, ErrFenced) {
			return
		}
		if s.chance(10) {
			s.rewind()
			return
		}
	}
}

// drain settles what is left when nothing fails any more.
func (s *storm) drain() {
	s.mu.Lock()
	s.calm = true
	s.mu.Unlock()
	s.m.own(seq(stressPartitions)...)
	s.m.failPoll(nil)
	s.c.Rewind()
	for s.left() > 0 {
		b, err := s.c.Poll(s.t.Context(), Want{Records: 7})
		if err != nil {
			s.t.Fatal(err)
		}
		if err := b.Settle(s.t.Context(), answersTo(b)...); err != nil && !errors.Is(err, ErrFenced) {
			s.t.Fatal(err)
		}
	}
}

func (s *storm) left() int64 {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	var n int64
	for p, end := range s.m.end {
		n += end - s.m.position[p]
	}
	return n
}

// check compares the results with what was published.
func (s *storm) check() {
	next := map[int32]int64{}
	for i, got := range s.m.results {
		var p int32
		var offset int64
		if _, err := fmt.Sscanf(got, "%d/%d", &p, &offset); err != nil {
			s.t.Fatal(err)
		}
		if offset != next[p] {
			s.t.Fatalf("result %d is of record %s, want %s\nsettles: %q\nresults: %q", i, got, answer(p, next[p]), s.m.settled, s.m.results)
		}
		next[p]++
	}
	for p, end := range s.m.end {
		if next[int32(p)] != end {
			s.t.Errorf("partition %d has %d records and %d results", p, end, next[int32(p)])
		}
	}
}
