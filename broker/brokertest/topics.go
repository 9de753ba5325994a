// SPDX-License-Identifier: Apache-2.0

package brokertest

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

func topicProperties() []property {
	return []property{
		{name: "Topics/are created once", check: topicsCreatedOnce},
		{name: "Topics/keep their number of partitions", check: topicsConflict},
		{name: "Topics/take another retention over", check: topicsRetention},
		{name: "Topics/have valid names", check: topicsNames},
		{name: "Topics/are described as they are", check: topicsDescribed},
	}
}

// topics describes the topics by name.
func (s *suite) topics() map[string]broker.TopicInfo {
	s.Helper()
	infos := make(map[string]broker.TopicInfo)
	s.do("list topics", func(ctx context.Context) error {
		list, err := s.client.Topics(ctx)
		for _, info := range list {
			infos[info.Name] = info
		}
		return err
	})
	return infos
}

func topicsCreatedOnce(s *suite) {
	topic := s.create("tickets", 3)
	s.publish(record(topic, "k", "kept"))
	s.create("tickets", 3)
	s.wantValues("after creating the topic again", s.readAll(topic), "kept")

	s.createTopic(broker.Topic{Name: s.name("default")})
	if n := s.topics()[s.name("default")].Partitions; n != broker.DefaultPartitions {
		s.Errorf("a topic that names no partitions has %d, want %d", n, broker.DefaultPartitions)
	}
}

func topicsConflict(s *suite) {
	topic := s.create("tickets", 3)
	s.mustFail("create the topic with other partitions", broker.ErrTopicConflict, func(ctx context.Context) error {
		return s.client.CreateTopics(ctx, broker.Topic{Name: topic, Partitions: 4})
	})
	if n := s.topics()[topic].Partitions; n != 3 {
		s.Errorf("after a conflict the topic has %d partitions, want 3", n)
	}
}

func topicsRetention(s *suite) {
	want := broker.Topic{Name: s.name("tickets"), Partitions: 2, Retention: 7 * 24 * time.Hour, RetentionBytes: 1 << 30}
	for _, retention := range []time.Duration{want.Retention, 48 * time.Hour, 0} {
		want.Retention = retention
		s.createTopic(want)
		if got := s.topics()[want.Name].Topic; got != want {
			s.Errorf("the topic is %+v, want %+v", got, want)
		}
	}
}

func topicsNames(s *suite) {
	for _, bad := range []string{"", ".", "..", "a b", "tickets/1", "ä", strings.Repeat("n", 201)} {
		s.mustFail("create topic "+bad, nil, func(ctx context.Context) error {
			return s.client.CreateTopics(ctx, broker.Topic{Name: bad, Partitions: 1})
		})
	}
	longest := s.name("Topic_1-")
	longest += strings.Repeat("n", 200-len(longest))
	s.createTopic(broker.Topic{Name: longest, Partitions: 1})
	s.publish(record(longest, "k", "v"))
	s.wantValues("the longest name", s.readAll(longest), "v")
}

func topicsDescribed(s *suite) {
	// b before a: they must come back sorted.
	b, a := s.create("b", 2), s.create("a", 3)
	s.publish(sequence(b, 1, "v", 5)...)
	infos := s.topics()
	for p, want := range []int64{0, 5, 0, 0, 0} {
		topic := b
		if p >= 2 {
			topic, p = a, p-2
		}
		ends := infos[topic].Ends
		if p >= len(ends) {
			s.Fatalf("topic %s has %d ends, want one for each partition", topic, len(ends))
		}
		if e := ends[p]; e.Records != want || e.End-e.Start < want || want == 0 && e.End != e.Start {
			s.Errorf("topic %s partition %d: its ends are %+v, want %d records between them", topic, p, e, want)
		}
	}
	s.publish(pinned(b, 1, "next"))
	got := s.read(b, 1, broker.Offset(infos[b].Ends[1].End), broker.Position{})
	s.wantValues("the record at the end's offset", got, "next")

	s.do("list topics", func(ctx context.Context) error {
		list, err := s.client.Topics(ctx)
		if !slices.IsSortedFunc(list, func(x, y broker.TopicInfo) int { return strings.Compare(x.Name, y.Name) }) {
			s.Error("topics are not sorted by name")
		}
		return err
	})
}
