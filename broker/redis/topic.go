// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/millrace-ml/millrace/broker"
)

const maxPartitions = 4096

// topic is what this client knows of a topic. It is not changed.
type topic struct {
	name        string
	description description
	streams     []string // keys, by partition
}

// description is a topic as it is stored.
type description struct {
	Partitions     int           `json:"partitions"`
	Retention      time.Duration `json:"retention,omitempty"` // nanoseconds
	RetentionBytes int64         `json:"retention_bytes,omitempty"`
}

func (b *Broker) newTopic(name string, d description) *topic {
	t := &topic{name: name, description: d}
	for p := range int32(d.Partitions) {
		t.streams = append(t.streams, b.keys.stream(name, p))
	}
	return t
}

// data is what this client knows of the server's data. The generation is a
// random name that the first topic brings; a server that was emptied has none
// or another one.
type data struct {
	mu         sync.RWMutex
	generation string
	topics     map[string]*topic
	renewing   sync.Mutex
}

func (b *Broker) generation() string {
	b.data.mu.RLock()
	defer b.data.mu.RUnlock()
	return b.data.generation
}

// learn reads the generation and the topics.
func (b *Broker) learn(ctx context.Context) error {
	generation, stored, err := b.readData(ctx)
	if err != nil {
		return err
	}
	return b.adopt(generation, stored)
}

func (b *Broker) readData(ctx context.Context) (generation string, stored map[string]string, err error) {
	generation, err = b.client.Get(ctx, b.keys.generation()).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return "", nil, err
	}
	stored, err = b.client.HGetAll(ctx, b.keys.topics()).Result()
	return generation, stored, err
}

// adopt takes over what was read.
func (b *Broker) adopt(generation string, stored map[string]string) error {
	topics := make(map[string]*topic, len(stored))
	for name, text := range stored {
		var d description
		if err := json.Unmarshal([]byte(text), &d); err != nil || d.Partitions < 1 || d.Partitions > maxPartitions {
			return fmt.Errorf("topic %s has a damaged description: %q", name, text)
		}
		topics[name] = b.newTopic(name, d)
	}
	b.data.mu.Lock()
	defer b.data.mu.Unlock()
	b.data.generation, b.data.topics = generation, topics
	return nil
}

// renew is called when a script says that the server's data is of another
// generation than the one given. That is no loss if this client knew of no data.
// Otherwise the server was emptied: that is reported, and the topics are made
// again, so that work goes on.
func (b *Broker) renew(ctx context.Context, old string) error {
	b.data.renewing.Lock()
	defer b.data.renewing.Unlock()
	if b.generation() != old {
		return nil // another call has done it
	}
	generation, stored, err := b.readData(ctx)
	if err != nil {
		return err
	}
	if old == "" {
		return b.adopt(generation, stored)
	}
	known := b.known()
	b.options.Logger.Error("Redis has lost its data: topics are empty and groups begin at their start. "+
		"Was the server restarted without appendonly, or flushed?",
		"server", b.server, "generation", old, "topics", len(known))
	if generation, err = b.store(ctx, known); err != nil {
		return err
	}
	if stored, err = b.client.HGetAll(ctx, b.keys.topics()).Result(); err != nil {
		return err
	}
	return b.adopt(generation, stored)
}

func (b *Broker) known() map[string]description {
	b.data.mu.RLock()
	defer b.data.mu.RUnlock()
	known := make(map[string]description, len(b.data.topics))
	for name, t := range b.data.topics {
		known[name] = t.description
	}
	return known
}

// store makes the topics, all or none, and returns the generation.
func (b *Broker) store(ctx context.Context, topics map[string]description) (string, error) {
	args := []any{rand.Text()}
	for name, d := range topics {
		text, err := json.Marshal(d)
		if err != nil {
			return "", err
		}
		args = append(args, name, text)
	}
	v, err := b.eval(ctx, b.scripts.topics, []string{b.keys.generation(), b.keys.topics()}, args)
	if err != nil {
		return "", err
	}
	generation, _ := v.(string)
	return generation, nil
}

// CreateTopics implements [broker.Broker].
func (b *Broker) CreateTopics(ctx context.Context, topics ...broker.Topic) error {
	wanted := map[string]description{}
	for _, t := range topics {
		if err := checkTopic(&t); err != nil {
			return err
		}
		d := description{t.Partitions, t.Retention, t.RetentionBytes}
		if before, ok := wanted[t.Name]; ok && before.Partitions != d.Partitions {
			return fmt.Errorf("create topic %s with %d and with %d partitions: %w", t.Name, before.Partitions, d.Partitions, broker.ErrTopicConflict)
		}
		wanted[t.Name] = d
	}
	if len(wanted) == 0 {
		return b.check(ctx)
	}
	_, err := call(ctx, b, func(ctx context.Context) (struct{}, error) {
		if _, err := b.store(ctx, wanted); err != nil {
			return struct{}{}, err
		}
		if generation := b.generation(); generation != "" {
			return struct{}{}, b.refresh(ctx, generation)
		}
		return struct{}{}, b.learn(ctx)
	})
	switch {
	case isReply(err, "CONFLICT"):
		name, n, _ := strings.Cut(detail(err), " ")
		return fmt.Errorf("create topic %s with %d partitions: it has %s: %w", name, wanted[name].Partitions, n, broker.ErrTopicConflict)
	case err != nil:
		return fmt.Errorf("create topics: %w", err)
	}
	return nil
}

func checkTopic(t *broker.Topic) error {
	if err := broker.ValidName(t.Name); err != nil {
		return fmt.Errorf("create topic: %w", err)
	}
	if t.Partitions == 0 {
		t.Partitions = broker.DefaultPartitions
	}
	if t.Partitions < 1 || t.Partitions > maxPartitions {
		return fmt.Errorf("create topic %s: %d partitions, use 1 to %d", t.Name, t.Partitions, maxPartitions)
	}
	if t.Retention < 0 || t.RetentionBytes < 0 {
		return fmt.Errorf("create topic %s: retention is negative, use 0 to keep records for ever", t.Name)
	}
	return nil
}

// check is the outcome of a call that has nothing to do.
func (b *Broker) check(ctx context.Context) error {
	if b.isClosed() {
		return broker.ErrClosed
	}
	return ctx.Err()
}

// refresh reads the topics again, which others may have made.
func (b *Broker) refresh(ctx context.Context, generation string) error {
	now, stored, err := b.readData(ctx)
	if err != nil {
		return err
	}
	if now != generation && generation != "" {
		return b.renew(ctx, generation)
	}
	return b.adopt(now, stored)
}

// find returns the topics of these names, asking the server for those that are
// not known yet.
func (b *Broker) find(ctx context.Context, names ...string) ([]*topic, error) {
	if err := b.check(ctx); err != nil {
		return nil, err
	}
	list, missing := b.lookUp(names)
	if missing == "" {
		return list, nil
	}
	_, err := call(ctx, b, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, b.refresh(ctx, b.generation())
	})
	if err != nil {
		return nil, err
	}
	if list, missing = b.lookUp(names); missing != "" {
		return nil, fmt.Errorf("topic %q: %w", missing, broker.ErrUnknownTopic)
	}
	return list, nil
}

func (b *Broker) lookUp(names []string) (list []*topic, missing string) {
	b.data.mu.RLock()
	defer b.data.mu.RUnlock()
	list = make([]*topic, 0, len(names))
	for _, name := range names {
		t := b.data.topics[name]
		if t == nil {
			return nil, name
		}
		list = append(list, t)
	}
	return list, ""
}

// Topics implements [broker.Broker].
func (b *Broker) Topics(ctx context.Context) ([]broker.TopicInfo, error) {
	_, err := call(ctx, b, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, b.refresh(ctx, b.generation())
	})
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	b.data.mu.RLock()
	topics := slices.SortedFunc(maps.Values(b.data.topics), func(x, y *topic) int { return cmp.Compare(x.name, y.name) })
	b.data.mu.RUnlock()
	var infos []broker.TopicInfo
	for _, t := range topics {
		ends, err := b.ends(ctx, t.streams)
		if err != nil {
			return nil, fmt.Errorf("list topics: %s: %w", t.name, err)
		}
		info := broker.TopicInfo{Topic: broker.Topic{
			Name: t.name, Partitions: t.description.Partitions,
			Retention: t.description.Retention, RetentionBytes: t.description.RetentionBytes,
		}}
		for _, e := range ends {
			info.Ends = append(info.Ends, e.info())
		}
		infos = append(infos, info)
	}
	return infos, nil
}
