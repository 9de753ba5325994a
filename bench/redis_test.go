// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
)

// redisAhead is how many messages are always ahead of the consumer.
const redisAhead = 1024

// redisWatermill is [kafkaWatermill] on Redis Streams. Each answer goes back to
// be consumed.
func redisWatermill(ctx context.Context, addr string, d time.Duration) (perSecond float64, err error) {
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	theirs := redis.NewClient(&redis.Options{Addr: addr}) // the subscriber closes it
	topic := "bench-" + watermill.NewShortUUID()

	quiet := watermill.NopLogger{}
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, quiet)
	if err != nil {
		return 0, err
	}
	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client: theirs, ConsumerGroup: "bench", OldestId: "0",
		BlockTime: time.Second, DisableIndefiniteInitialBlock: true,
	}, quiet)
	if err != nil {
		return 0, err
	}
	defer subscriber.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	messages, err := subscriber.Subscribe(ctx, topic)
	if err != nil {
		return 0, err
	}
	for range redisAhead {
		if err := publisher.Publish(topic, message.NewMessage(watermill.NewUUID(), make([]byte, recordBytes))); err != nil {
			return 0, err
		}
	}
	return answered(ctx, func() error {
		m := <-messages
		err := publisher.Publish(topic, message.NewMessage(watermill.NewUUID(), m.Payload))
		m.Ack()
		return err
	}, d)
}
