// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/millrace-ml/millrace/broker"
)

// directory remembers topics: their ids, and who leads their partitions. What
// it knows can be old; whoever is refused by a server forgets and asks again.
type directory struct {
	admin *kadm.Client

	mu     sync.Mutex
	topics map[string]*topic // nil for one that was known, and is forgotten
}

type topic struct {
	name    string
	id      [16]byte
	leaders []int32 // by partition; -1: none now
}

func newDirectory(admin *kadm.Client) *directory {
	return &directory{admin: admin, topics: map[string]*topic{}}
}

// get returns a topic, which must exist. Of one that was known it is not believed
// at once that it is gone: a server that has just started may not know it yet.
func (d *directory) get(ctx context.Context, name string) (*topic, error) {
	d.mu.Lock()
	t, known := d.topics[name]
	d.mu.Unlock()
	if t != nil {
		return t, nil
	}
	if !known {
		return d.refresh(ctx, name)
	}
	t, err := insist(ctx, func() (*topic, error) { return d.refresh(ctx, name) })
	if errors.Is(err, broker.ErrUnknownTopic) {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.topics, name)
	}
	return t, err
}

// await asks the cluster about a topic that exists, until it is known.
func (d *directory) await(ctx context.Context, name string) (*topic, error) {
	for try := 1; ; try++ {
		t, err := d.refresh(ctx, name)
		if !errors.Is(err, broker.ErrUnknownTopic) {
			return t, err
		}
		if again(ctx, try) != nil {
			return nil, fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}

// refresh asks the cluster about a topic.
func (d *directory) refresh(ctx context.Context, name string) (*topic, error) {
	if err := broker.ValidName(name); err != nil {
		return nil, fmt.Errorf("%w: %w", broker.ErrUnknownTopic, err)
	}
	t, err := retry(ctx, func() (*topic, error) {
		details, err := d.admin.ListTopics(ctx, name)
		if err != nil {
			return nil, err
		}
		return asTopic(details[name])
	})
	if err != nil {
		d.forget(name)
		return nil, fmt.Errorf("look up topic %s: %w", name, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.topics[name] = t
	return t, nil
}

func asTopic(d kadm.TopicDetail) (*topic, error) {
	if errors.Is(d.Err, kerr.UnknownTopicOrPartition) || d.Topic == "" {
		return nil, broker.ErrUnknownTopic
	}
	if d.Err != nil {
		return nil, d.Err
	}
	t := &topic{name: d.Topic, id: d.ID, leaders: make([]int32, len(d.Partitions))}
	for _, p := range d.Partitions {
		if int(p.Partition) >= len(t.leaders) {
			return nil, kerr.LeaderNotAvailable // some partitions are left out
		}
		t.leaders[p.Partition] = p.Leader
	}
	return t, nil
}

func (d *directory) forget(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.topics[name] != nil {
		d.topics[name] = nil
	}
}

func (d *directory) forgetAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name := range d.topics {
		d.topics[name] = nil
	}
}
