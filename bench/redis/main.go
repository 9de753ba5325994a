// SPDX-License-Identifier: Apache-2.0

// Command redis measures the settle loop on a Redis server beside a loop written
// directly with the Redis client and beside Watermill's Redis Streams adapter,
// in the same run, and prints the ratios.
//
// It is a module of its own, so that Millrace does not depend on Watermill.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/millrace-ml/millrace/internal/bench"
)

const recordBytes = 200

func main() {
	addr := flag.String("addr", "127.0.0.1:6379", "the Redis server, host:port")
	d := flag.Duration("d", 5*time.Second, "how long to measure each")
	flag.Parse()
	if err := run(context.Background(), *addr, *d); err != nil {
		fmt.Fprintln(os.Stderr, "bench redis:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, addr string, d time.Duration) error {
	settle, err := bench.RedisSettle(ctx, addr, 2*d)
	if err != nil {
		return err
	}
	other, err := watermillLoop(ctx, addr, d)
	if err != nil {
		return fmt.Errorf("watermill: %w", err)
	}
	fmt.Printf("records of %d bytes a second, consumed and answered\n\n", recordBytes)
	fmt.Printf("%-58s %9.0f\n", "go-redis: XREAD, the settle script, 256 a batch", settle.Bare)
	fmt.Printf("%-58s %9.0f  %5.2f of it\n", "Millrace: Poll, Settle, 256 a batch, exactly once", settle.Loop, settle.Ratio())
	fmt.Printf("%-58s %9.0f  Millrace is %.1f times as fast\n", "Watermill: consume, publish, ack, at least once", other, settle.Loop/other)
	return nil
}

// watermillLoop consumes messages, publishes an answer to each, and
// acknowledges it, as Watermill's handlers do. It does not answer exactly once:
// a crash between publish and ack answers twice.
func watermillLoop(ctx context.Context, addr string, d time.Duration) (perSecond float64, err error) {
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	theirs := redis.NewClient(&redis.Options{Addr: addr}) // the subscriber closes it
	topic := "bench-" + watermill.NewShortUUID()
	defer client.Unlink(context.Background(), topic)

	logger := watermill.NopLogger{}
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, logger)
	if err != nil {
		return 0, err
	}
	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client: theirs, ConsumerGroup: "bench", OldestId: "0",
		BlockTime: time.Second, DisableIndefiniteInitialBlock: true,
	}, logger)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	messages, err := subscriber.Subscribe(ctx, topic)
	if err != nil {
		return 0, err
	}
	// So many are always ahead of the consumer.
	for range 1024 {
		if err := publisher.Publish(topic, message.NewMessage(watermill.NewUUID(), make([]byte, recordBytes))); err != nil {
			return 0, err
		}
	}
	n, began := 0, time.Now()
	for time.Since(began) < d {
		m := <-messages
		answer := message.NewMessage(watermill.NewUUID(), m.Payload)
		// The answer goes back to be consumed, as in the other loops.
		if err := publisher.Publish(topic, answer); err != nil {
			return 0, err
		}
		m.Ack()
		n++
	}
	perSecond = float64(n) / time.Since(began).Seconds()
	cancel()
	return perSecond, subscriber.Close()
}
