// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"

	"github.com/millrace-ml/millrace/broker"
)

// topic is what this client knows of a topic. It is not changed. The [broker.Topic]
// is stored as JSON.
type topic struct {
	broker.Topic
	streams []string // keys, by partition
}

// data is what this client knows of the server's data. It is not changed but
// replaced. The generation is a random name that the first topic brings; a server
// that was emptied has none or another one.
type data struct {
	generation string
	topics     map[string]*topic
}

// read reads the generation and the topics.
func (d *driver) read(ctx context.Context) (*data, error) {
	generation, err := d.client.Get(ctx, d.keys.generation()).Result()
	if ignoreNil(err) != nil {
		return nil, err
	}
	stored, err := d.client.HGetAll(ctx, d.keys.topics()).Result()
	if err != nil {
		return nil, err
	}
	found := &data{generation: generation, topics: make(map[string]*topic, len(stored))}
	for name, text := range stored {
		t := &topic{}
		err := json.Unmarshal([]byte(text), &t.Topic)
		if err != nil || t.Partitions < 1 || t.Partitions > broker.MaxPartitions {
			return nil, fmt.Errorf("topic %s has a damaged description: %q", name, text)
		}
		for p := range int32(t.Partitions) {
			t.streams = append(t.streams, d.keys.stream(name, p))
		}
		found.topics[name] = t
	}
	return found, nil
}

// refresh reads the topics again, which others may have made.
func (d *driver) refresh(ctx context.Context) error {
	_, err := call(ctx, d, func(ctx context.Context) (struct{}, error) {
		known := d.data.Load()
		found, err := d.read(ctx)
		switch {
		case err != nil:
		case known.generation != "" && found.generation != known.generation:
			err = d.renew(ctx, known)
		default:
			d.data.Store(found)
		}
		return struct{}{}, err
	})
	return err
}

// renew is called when the server's data is of another generation than what was
// known. That is no loss if this client knew of none. Otherwise the server was
// emptied: that is reported, and the topics are made again, so that work goes on.
func (d *driver) renew(ctx context.Context, known *data) error {
	d.renewing.Lock()
	defer d.renewing.Unlock()
	if d.data.Load().generation != known.generation {
		return nil // another call has done it
	}
	if known.generation != "" {
		d.options.Logger.Error("Redis has lost its data: topics are empty and groups begin at their start. "+
			"Was the server restarted without appendonly, or flushed?",
			"server", d.server, "generation", known.generation, "topics", len(known.topics))
		var again []broker.Topic
		for _, t := range known.topics {
			again = append(again, t.Topic)
		}
		if err := d.store(ctx, again); err != nil {
			return err
		}
	}
	found, err := d.read(ctx)
	if err == nil {
		d.data.Store(found)
	}
	return err
}

// store makes the topics, all or none, and a generation if there is none.
func (d *driver) store(ctx context.Context, topics []broker.Topic) error {
	args := []any{rand.Text()}
	for _, t := range topics {
		text, err := json.Marshal(t)
		if err != nil {
			return err
		}
		args = append(args, t.Name, text)
	}
	_, err := d.eval(ctx, d.scripts.topics, []string{d.keys.generation(), d.keys.topics()}, args...)
	return err
}

// CreateTopics implements [broker.Driver].
func (d *driver) CreateTopics(ctx context.Context, topics []broker.Topic) error {
	_, err := call(ctx, d, func(ctx context.Context) (struct{}, error) { return struct{}{}, d.store(ctx, topics) })
	if isReply(err, "CONFLICT") {
		return fmt.Errorf("%s: %w", detail(err), broker.ErrTopicConflict)
	}
	if err != nil {
		return err
	}
	return d.refresh(ctx)
}

// find returns the topic, asking the server if it is not known yet.
func (d *driver) find(ctx context.Context, name string) (*topic, error) {
	if t := d.data.Load().topics[name]; t != nil {
		return t, nil
	}
	if err := d.refresh(ctx); err != nil {
		return nil, err
	}
	if t := d.data.Load().topics[name]; t != nil {
		return t, nil
	}
	return nil, broker.ErrUnknownTopic
}

func (d *driver) findAll(ctx context.Context, names []string) ([]*topic, error) {
	list := make([]*topic, len(names))
	for i, name := range names {
		t, err := d.find(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("topic %q: %w", name, err)
		}
		list[i] = t
	}
	return list, nil
}

// Partitions implements [broker.Driver].
func (d *driver) Partitions(ctx context.Context, name string) (int, error) {
	t, err := d.find(ctx, name)
	if err != nil {
		return 0, err
	}
	return len(t.streams), nil
}

// Topics implements [broker.Driver].
func (d *driver) Topics(ctx context.Context) ([]broker.TopicInfo, error) {
	if err := d.refresh(ctx); err != nil {
		return nil, err
	}
	var infos []broker.TopicInfo
	for _, t := range d.data.Load().topics {
		ends, err := d.ends(ctx, t.streams)
		if err != nil {
			return nil, fmt.Errorf("topic %s: %w", t.Name, err)
		}
		info := broker.TopicInfo{Topic: t.Topic}
		for _, e := range ends {
			info.Ends = append(info.Ends, e.info())
		}
		infos = append(infos, info)
	}
	return infos, nil
}
