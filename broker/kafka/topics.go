// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace-ml/millrace/broker"
)

// Names of Kafka's settings of topics.
const (
	configRetention      = "retention.ms"
	configRetentionBytes = "retention.bytes"
	configMaxMessage     = "max.message.bytes"
	configTimestamp      = "message.timestamp.type"
	configCleanup        = "cleanup.policy"
)

// settings are what a topic must have. They are taken over by topics that exist:
// without the server's time records would not be in the order of their times,
// and without the size a settle could be refused.
func (b *Broker) settings(t broker.Topic) map[string]string {
	retention, bytes := int64(-1), int64(-1)
	if t.Retention > 0 {
		retention = t.Retention.Milliseconds()
	}
	if t.RetentionBytes > 0 {
		bytes = t.RetentionBytes
	}
	return map[string]string{
		configRetention:      strconv.FormatInt(retention, 10),
		configRetentionBytes: strconv.FormatInt(bytes, 10),
		configMaxMessage:     strconv.Itoa(b.batchBytes()),
		configTimestamp:      "LogAppendTime",
		configCleanup:        "delete",
	}
}

// CreateTopics implements [broker.Broker]. New topics get the cluster's
// replication factor (default.replication.factor).
func (b *Broker) CreateTopics(ctx context.Context, topics ...broker.Topic) error {
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	for _, t := range topics {
		if err := broker.ValidName(t.Name); err != nil {
			return fmt.Errorf("create topic: %w", err)
		}
	}
	for _, t := range topics {
		if t.Partitions == 0 {
			t.Partitions = broker.DefaultPartitions
		}
		if err := b.createTopic(ctx, t); err != nil {
			return fmt.Errorf("create topic %s: %w", t.Name, b.failed(err))
		}
	}
	if err := b.waitUntilKnown(ctx, topics); err != nil {
		return fmt.Errorf("create topics: %w", b.failed(err))
	}
	return nil
}

func (b *Broker) createTopic(ctx context.Context, t broker.Topic) error {
	configs := map[string]*string{}
	for name, value := range b.settings(t) {
		configs[name] = kadm.StringPtr(value)
	}
	_, err := retry(ctx, func() (kadm.CreateTopicResponse, error) {
		return b.admin.CreateTopic(ctx, int32(t.Partitions), -1, configs, t.Name)
	})
	if !errors.Is(err, kerr.TopicAlreadyExists) {
		return err
	}
	known, err := b.topics.await(ctx, t.Name)
	if err != nil {
		return err
	}
	if n := len(known.leaders); n != t.Partitions {
		return fmt.Errorf("%w: it exists with %d partitions, not %d", broker.ErrTopicConflict, n, t.Partitions)
	}
	return b.takeSettings(ctx, t)
}

// takeSettings changes a topic's settings where they are others.
func (b *Broker) takeSettings(ctx context.Context, t broker.Topic) error {
	described, err := b.describeConfigs(ctx, t.Name)
	if err != nil {
		return err
	}
	have := map[string]string{}
	for _, d := range described {
		if d.Err != nil {
			return d.Err
		}
		for _, c := range d.Configs {
			have[c.Key] = c.MaybeValue()
		}
	}
	var changes []kadm.AlterConfig
	for name, value := range b.settings(t) {
		if have[name] == value || name == configMaxMessage && atLeast(have[name], value) {
			continue
		}
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: kadm.StringPtr(value)})
	}
	if len(changes) == 0 {
		return nil
	}
	altered, err := retry(ctx, func() (kadm.AlterConfigsResponses, error) { return b.admin.AlterTopicConfigs(ctx, changes, t.Name) })
	if err != nil {
		return err
	}
	for _, a := range altered {
		if a.Err != nil {
			return fmt.Errorf("change its settings: %w %s", a.Err, a.ErrMessage)
		}
	}
	return b.waitForSettings(ctx, t)
}

func atLeast(have, want string) bool {
	h, errH := strconv.ParseInt(have, 10, 64)
	w, errW := strconv.ParseInt(want, 10, 64)
	return errH == nil && errW == nil && h >= w
}

// waitForSettings waits until changed settings are told back: servers learn of
// them one after the other.
func (b *Broker) waitForSettings(ctx context.Context, t broker.Topic) error {
	for try := 1; ; try++ {
		infos, err := b.describe(ctx, []string{t.Name})
		if err != nil {
			return err
		}
		if got := infos[t.Name]; got.Retention == t.Retention.Truncate(time.Millisecond) && got.RetentionBytes == t.RetentionBytes {
			return nil
		}
		if err := sleep(ctx, backoff(try)); err != nil {
			return err
		}
	}
}

// waitUntilKnown waits until every server that answers knows the topics and
// their leaders.
func (b *Broker) waitUntilKnown(ctx context.Context, topics []broker.Topic) error {
	if len(topics) == 0 {
		return nil
	}
	brokers, err := retry(ctx, func() (kadm.BrokerDetails, error) { return b.admin.ListBrokers(ctx) })
	if err != nil {
		return err
	}
	req := kmsg.NewPtrMetadataRequest()
	for _, t := range topics {
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = kmsg.StringPtr(t.Name)
		req.Topics = append(req.Topics, rt)
	}
	for _, server := range brokers {
		for try := 1; ; try++ {
			resp, err := b.client.Broker(int(server.NodeID)).RetriableRequest(ctx, req)
			if err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				break // it is down, and learns of the topics when it comes back
			}
			if allLed(resp.(*kmsg.MetadataResponse)) {
				break
			}
			if err := sleep(ctx, backoff(try)); err != nil {
				return err
			}
		}
	}
	for _, t := range topics {
		if _, err := b.topics.await(ctx, t.Name); err != nil {
			return err
		}
	}
	return nil
}

func allLed(m *kmsg.MetadataResponse) bool {
	for _, t := range m.Topics {
		if t.ErrorCode != 0 {
			return false
		}
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 || p.Leader < 0 {
				return false
			}
		}
	}
	return true
}

// Topics implements [broker.Broker].
func (b *Broker) Topics(ctx context.Context) ([]broker.TopicInfo, error) {
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	infos, err := b.listTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", b.failed(err))
	}
	return infos, nil
}

func (b *Broker) listTopics(ctx context.Context) ([]broker.TopicInfo, error) {
	details, err := retry(ctx, func() (kadm.TopicDetails, error) { return b.admin.ListTopics(ctx) })
	if err != nil {
		return nil, err
	}
	var names []string
	for name, d := range details {
		if !d.IsInternal && broker.ValidName(name) == nil && d.Err == nil {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	configs, err := b.describe(ctx, names)
	if err != nil {
		return nil, err
	}
	ends, err := b.ends(ctx, names...)
	if err != nil {
		return nil, err
	}
	var infos []broker.TopicInfo
	for _, name := range names {
		info := broker.TopicInfo{Topic: configs[name], Ends: ends[name]}
		if info.Name == "" || info.Ends == nil {
			continue // deleted since it was listed
		}
		info.Partitions = len(info.Ends)
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(x, y broker.TopicInfo) int { return strings.Compare(x.Name, y.Name) })
	return infos, nil
}

func (b *Broker) describeConfigs(ctx context.Context, names ...string) (kadm.ResourceConfigs, error) {
	return retry(ctx, func() (kadm.ResourceConfigs, error) { return b.admin.DescribeTopicConfigs(ctx, names...) })
}

// describe returns the topics' retentions.
func (b *Broker) describe(ctx context.Context, names []string) (map[string]broker.Topic, error) {
	described, err := b.describeConfigs(ctx, names...)
	if err != nil {
		return nil, err
	}
	topics := map[string]broker.Topic{}
	for _, d := range described {
		if errors.Is(d.Err, kerr.UnknownTopicOrPartition) {
			continue
		}
		if d.Err != nil {
			return nil, fmt.Errorf("settings of topic %s: %w", d.Name, d.Err)
		}
		t := broker.Topic{Name: d.Name}
		for _, c := range d.Configs {
			n, err := strconv.ParseInt(c.MaybeValue(), 10, 64)
			if err != nil || n < 0 {
				continue
			}
			switch c.Key {
			case configRetention:
				if n <= math.MaxInt64/int64(time.Millisecond) { // longer is for ever
					t.Retention = time.Duration(n) * time.Millisecond
				}
			case configRetentionBytes:
				t.RetentionBytes = n
			}
		}
		topics[d.Name] = t
	}
	return topics, nil
}

// sleep waits for d, or until ctx ends, whose error it then returns.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
