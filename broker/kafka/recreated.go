// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace-ml/millrace/broker"
)

// lookInterval is how often a member looks whether its topics are still those that
// it joined for. The servers do not say so: a client asks for a topic by its id, and
// of one that has been made again under its name it gets nothing.
const lookInterval = 3 * time.Second

// remember notes which topics the member joins for.
func (m *member) remember(ctx context.Context) error {
	for _, name := range m.topics {
		t, err := m.d.topics.get(ctx, name)
		if err != nil {
			return err
		}
		m.ids[name] = t.id
	}
	return nil
}

// remade is a topic that was deleted and made again.
type remade struct{ topic string }

func (e *remade) Error() string {
	return fmt.Sprintf("topic %s was deleted and made again: it is read from its start", e.topic)
}

func (e *remade) Unwrap() error { return broker.ErrRejoin }

// lookAtTopics finds a topic that was made again, and says once that a topic has got
// more partitions. What it cannot find out now it finds out later.
func (m *member) lookAtTopics() error {
	details, err := m.d.admin.ListTopics(m.life, m.topics...)
	if err != nil {
		return nil //nolint:nilerr // the servers are gone, which heartbeats notice
	}
	for _, name := range m.topics {
		d, found := details[name]
		if !found || d.Err != nil || d.ID == (kadm.TopicID{}) {
			continue
		}
		if d.ID != m.ids[name] {
			return &remade{name}
		}
		if n := len(d.Partitions); n > m.count && !m.grown {
			m.grown = true
			m.d.options.Logger.Warn("a topic has got more partitions, which nobody reads: give as many to every topic of the pipeline, and restart it",
				"topic", name, "partitions", n, "read", m.count, "group", m.group)
		}
	}
	return nil
}

// whyForgotten is the error of a fetch of a topic that the servers do not know. It
// may have been made again, or be about to be: that is waited for a while, and
// restarts the membership.
func (m *member) whyForgotten(ctx context.Context, err error) error {
	wait, cancel := context.WithTimeout(ctx, 4*lookInterval)
	defer cancel()
	failed := func() bool { return m.failure != nil }
	if m.await(wait, failed) == nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.failure
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// restart ends a membership whose topic was made again: no settle begins any more,
// and when the last one has ended the group is put at the new topic's start, in the
// partitions that are the member's. The old positions say nothing about it.
func (m *member) restart(why *remade) {
	m.fail(why)
	if m.await(m.life, func() bool { return m.settling == nil }) != nil {
		return
	}
	m.mu.Lock()
	owned, id, generation := m.owned(), m.id, m.generation
	m.mu.Unlock()
	m.d.topics.forget(why.topic)
	for try := 1; ; try++ {
		err := m.goToStart(why.topic, owned, id, generation)
		if err == nil || stale(err) || again(m.life, try) != nil {
			return
		}
	}
}

func (m *member) goToStart(topic string, partitions []int32, id string, generation int32) error {
	starts, err := m.d.resolve(m.life, topic, broker.Start())
	if err != nil {
		return err
	}
	to := map[broker.TopicPartition]int64{}
	for _, p := range partitions {
		if int(p) < len(starts) {
			to[broker.TopicPartition{Topic: topic, Partition: p}] = starts[p]
		}
	}
	if len(to) == 0 {
		return nil
	}
	return m.commit(m.life, id, generation, to, "")
}

// acquainted are the ids of topics with which the client that publishes has forgotten
// what it knew of them.
type acquainted struct {
	mu  sync.Mutex
	ids map[string][16]byte
}

// meetAgain lets the client that publishes forget the topics of the records that may
// have been made again: it would go on asking for them by their old ids. It reports
// whether there was one.
func (d *driver) meetAgain(ctx context.Context, records []*kgo.Record) (any bool) {
	d.acquainted.mu.Lock()
	defer d.acquainted.mu.Unlock()
	looked := map[string]bool{}
	for _, r := range records {
		if looked[r.Topic] {
			continue
		}
		looked[r.Topic] = true
		t, err := d.topics.refresh(ctx, r.Topic)
		if err != nil || t.id == d.acquainted.ids[r.Topic] {
			continue
		}
		d.client.PurgeTopicsFromProducing(r.Topic)
		if d.acquainted.ids == nil {
			d.acquainted.ids = map[string][16]byte{}
		}
		d.acquainted.ids[r.Topic] = t.id
		any = true
	}
	return any
}
