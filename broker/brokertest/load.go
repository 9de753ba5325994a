// SPDX-License-Identifier: Apache-2.0

package brokertest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/test/ledger"
)

func loadProperties() []property {
	return []property{
		{name: "Load/a pipeline of groups with publishers and observers", check: func(s *suite) { loadPipeline(s, 1) }},
		{name: "Load/a pipeline of groups with many batches open", check: func(s *suite) { loadPipeline(s, 8) }},
	}
}

// Two services in a row with several members each, which have so many batches
// open, fed by several publishers, while others look on.
func loadPipeline(s *suite, open int) {
	const partitions = 4
	in, middle, out := s.create("in", partitions), s.create("middle", partitions), s.create("out", partitions)
	first, second := s.name("first"), s.name("second")
	crew := s.crew()
	for range 3 {
		crew.start(worker{s: s, group: first, in: []string{in}, out: middle, most: 20, busy: time.Millisecond, open: open}, s.client)
	}
	for range 2 {
		crew.start(worker{s: s, group: second, in: []string{middle}, out: out, open: open}, s.client)
	}
	var sent ledger.Ledger
	var observers sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	defer observers.Wait()
	defer stop()
	observers.Go(func() {
		if err := s.tail(ctx, &sent, middle); err != nil {
			s.Errorf("tail: %v", err)
		}
	})
	observers.Go(func() {
		if err := s.inspect(ctx, first, second); err != nil {
			s.Errorf("inspect: %v", err)
		}
	})
	s.publishNumbered(&sent, in, 4, long(100))
	s.waitForAnswers(first, in)
	s.waitForAnswers(second, middle)
	crew.end()
	total := sent.Acknowledged()
	s.eventually("the tail has seen everything", func() bool { return sent.Audit("tail").Seen >= total })
	stop()
	observers.Wait()
	if err := sent.Audit("tail").Err(); err != nil {
		s.Errorf("tail: %v", err)
	}
	for _, topic := range []string{in, middle, out} {
		s.wantOnce(&sent, topic)
	}
}

// tail enters everything that comes to the topic as the stream "tail".
func (s *suite) tail(ctx context.Context, sent *ledger.Ledger, topic string) error {
	r, err := s.client.Read(ctx, topic, broker.AllPartitions, broker.Start(), broker.Forever())
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		records, err := r.Next(ctx, 0)
		if errors.Is(err, context.Canceled) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, r := range records {
			sent.See("tail", string(r.Key), number(&r), r.Place())
		}
	}
}

// inspect asks for everything that can be asked, over and over.
func (s *suite) inspect(ctx context.Context, groups ...string) error {
	for ctx.Err() == nil {
		bounded, cancel := s.bounded()
		_, errTopics := s.client.Topics(bounded)
		_, errGroups := s.client.Groups(bounded)
		errs := []error{errTopics, errGroups}
		for _, group := range groups {
			_, err := s.client.Lag(bounded, group)
			errs = append(errs, err)
		}
		cancel()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		pause(ctx, time.Millisecond)
	}
	return nil
}
