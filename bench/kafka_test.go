// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/millrace-ml/millrace/broker"
	millrace "github.com/millrace-ml/millrace/broker/kafka"
)

const (
	stock       = 800 // batches of records that are there to be consumed
	stockBatch  = 256
	recordBytes = 200
)

// kafkaWatermill consumes messages, publishes an answer to each, and
// acknowledges it, as Watermill's handlers do. It does not answer exactly once:
// a crash between publish and ack answers twice.
func kafkaWatermill(ctx context.Context, addr string, d time.Duration) (perSecond float64, err error) {
	in, out, err := kafkaTopics(ctx, addr)
	if err != nil {
		return 0, err
	}
	quiet := watermill.NopLogger{}
	publisher, err := kafka.NewPublisher(kafka.PublisherConfig{Brokers: []string{addr}, Marshaler: kafka.DefaultMarshaler{}}, quiet)
	if err != nil {
		return 0, err
	}
	defer publisher.Close()
	config := kafka.DefaultSaramaSubscriberConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	subscriber, err := kafka.NewSubscriber(kafka.SubscriberConfig{
		Brokers: []string{addr}, Unmarshaler: kafka.DefaultMarshaler{}, ConsumerGroup: in, OverwriteSaramaConfig: config,
	}, quiet)
	if err != nil {
		return 0, err
	}
	defer subscriber.Close()
	messages, err := subscriber.Subscribe(ctx, in)
	if err != nil {
		return 0, err
	}
	return answered(ctx, func() error {
		m := <-messages
		err := publisher.Publish(out, message.NewMessage(m.UUID, m.Payload))
		m.Ack()
		return err
	}, d)
}

// kafkaTopics makes a topic with enough records for a while, and one for answers.
func kafkaTopics(ctx context.Context, addr string) (in, out string, err error) {
	b, err := millrace.Open(ctx, "kafka://"+addr, millrace.Options{})
	if err != nil {
		return "", "", err
	}
	defer b.Close()
	suffix := strings.ToLower(rand.Text()[:8])
	in, out = "bench.watermill.in."+suffix, "bench.watermill.out."+suffix
	err = b.CreateTopics(ctx,
		broker.Topic{Name: in, Partitions: 1, Retention: time.Hour}, broker.Topic{Name: out, Partitions: 1, Retention: time.Hour})
	if err != nil {
		return "", "", err
	}
	batch := make([]broker.Record, stockBatch)
	for i := range batch {
		batch[i] = broker.Record{Topic: in, Pinned: true, Value: make([]byte, recordBytes)}
	}
	for range stock {
		if err := b.Publish(ctx, batch...); err != nil {
			return "", "", err
		}
	}
	return in, out, nil
}
