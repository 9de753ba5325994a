// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
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
func (d *driver) settings(t broker.Topic) map[string]string {
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
		configMaxMessage:     strconv.Itoa(d.batchBytes()),
		configTimestamp:      "LogAppendTime",
		configCleanup:        "delete",
	}
}

// Partitions implements [broker.Driver].
func (d *driver) Partitions(ctx context.Context, name string) (int, error) {
	t, err := d.topics.get(ctx, name)
	if err != nil {
		return 0, d.known(err)
	}
	return len(t.leaders), nil
}

// CreateTopics implements [broker.Driver]. New topics get the cluster's
// replication factor (default.replication.factor).
func (d *driver) CreateTopics(ctx context.Context, topics []broker.Topic) error {
	for _, t := range topics {
		if err := d.createTopic(ctx, t); err != nil {
			return fmt.Errorf("%s: %w", t.Name, d.known(err))
		}
	}
	return d.known(d.waitUntilKnown(ctx, topics))
}

func (d *driver) createTopic(ctx context.Context, t broker.Topic) error {
	configs := map[string]*string{}
	for name, value := range d.settings(t) {
		configs[name] = kadm.StringPtr(value)
	}
	_, err := retry(ctx, func() (kadm.CreateTopicResponse, error) {
		return d.admin.CreateTopic(ctx, int32(t.Partitions), -1, configs, t.Name)
	})
	if !errors.Is(err, kerr.TopicAlreadyExists) {
		return err
	}
	known, err := d.topics.await(ctx, t.Name)
	if err != nil {
		return err
	}
	if n := len(known.leaders); n != t.Partitions {
		return fmt.Errorf("%w: it exists with %d partitions, not %d", broker.ErrTopicConflict, n, t.Partitions)
	}
	return d.takeSettings(ctx, t)
}

// takeSettings changes a topic's settings where they are others.
func (d *driver) takeSettings(ctx context.Context, t broker.Topic) error {
	described, err := d.describeConfigs(ctx, t.Name)
	if err != nil {
		return err
	}
	have := map[string]string{}
	for _, t := range described {
		if t.Err != nil {
			return t.Err
		}
		for _, c := range t.Configs {
			have[c.Key] = c.MaybeValue()
		}
	}
	var changes []kadm.AlterConfig
	for name, value := range d.settings(t) {
		if have[name] == value || name == configMaxMessage && atLeast(have[name], value) {
			continue
		}
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: kadm.StringPtr(value)})
	}
	if len(changes) == 0 {
		return nil
	}
	altered, err := retry(ctx, func() (kadm.AlterConfigsResponses, error) { return d.admin.AlterTopicConfigs(ctx, changes, t.Name) })
	if err != nil {
		return err
	}
	for _, a := range altered {
		if a.Err != nil {
			return fmt.Errorf("change its settings: %w %s", a.Err, a.ErrMessage)
		}
	}
	return d.waitForSettings(ctx, t)
}

func atLeast(have, want string) bool {
	h, errH := strconv.ParseInt(have, 10, 64)
	w, errW := strconv.ParseInt(want, 10, 64)
	return errH == nil && errW == nil && h >= w
}

// waitForSettings waits until changed settings are there: servers learn of them
// one after the other.
func (d *driver) waitForSettings(ctx context.Context, t broker.Topic) error {
	for try := 1; ; try++ {
		infos, err := d.describe(ctx, []string{t.Name})
		if err != nil {
			return err
		}
		if got := infos[t.Name]; got.Retention == t.Retention.Truncate(time.Millisecond) && got.RetentionBytes == t.RetentionBytes {
			return nil
		}
		if err := again(ctx, try); err != nil {
			return err
		}
	}
}

// waitUntilKnown waits until every server that answers knows the topics and
// their leaders.
func (d *driver) waitUntilKnown(ctx context.Context, topics []broker.Topic) error {
	brokers, err := retry(ctx, func() (kadm.BrokerDetails, error) { return d.admin.ListBrokers(ctx) })
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
			resp, err := d.client.Broker(int(server.NodeID)).RetriableRequest(ctx, req)
			if err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				break // it is down, and learns of the topics when it comes back
			}
			if allLed(resp.(*kmsg.MetadataResponse)) {
				break
			}
			if err := again(ctx, try); err != nil {
				return err
			}
		}
	}
	for _, t := range topics {
		if _, err := d.topics.await(ctx, t.Name); err != nil {
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

// Topics implements [broker.Driver].
func (d *driver) Topics(ctx context.Context) ([]broker.TopicInfo, error) {
	infos, err := d.listTopics(ctx)
	return infos, d.known(err)
}

func (d *driver) listTopics(ctx context.Context) ([]broker.TopicInfo, error) {
	details, err := retry(ctx, func() (kadm.TopicDetails, error) { return d.admin.ListTopics(ctx) })
	if err != nil {
		return nil, err
	}
	var names []string
	for name, t := range details {
		if !t.IsInternal && broker.ValidName(name) == nil && t.Err == nil {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	configs, err := d.describe(ctx, names)
	if err != nil {
		return nil, err
	}
	ends, err := d.ends(ctx, names...)
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
	return infos, nil
}

func (d *driver) describeConfigs(ctx context.Context, names ...string) (kadm.ResourceConfigs, error) {
	return retry(ctx, func() (kadm.ResourceConfigs, error) { return d.admin.DescribeTopicConfigs(ctx, names...) })
}

// describe returns the topics' retentions.
func (d *driver) describe(ctx context.Context, names []string) (map[string]broker.Topic, error) {
	described, err := d.describeConfigs(ctx, names...)
	if err != nil {
		return nil, err
	}
	topics := map[string]broker.Topic{}
	for _, config := range described {
		if errors.Is(config.Err, kerr.UnknownTopicOrPartition) {
			continue
		}
		if config.Err != nil {
			return nil, fmt.Errorf("settings of topic %s: %w", config.Name, config.Err)
		}
		t := broker.Topic{Name: config.Name}
		for _, c := range config.Configs {
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
		topics[t.Name] = t
	}
	return topics, nil
}
