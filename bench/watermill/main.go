// SPDX-License-Identifier: Apache-2.0

// Command watermill measures Millrace's settle loop on Kafka beside a loop of
// Watermill's Kafka adapter that consumes, publishes and acknowledges the same
// records.
//
// The two do not promise the same: Watermill's loop publishes a record and
// acknowledges the one it came from afterwards, so a crash in between answers
// twice. Millrace settles both at once. It is a module of its own so that the
// program does not depend on its peers.
//
//	go run . -kafka 127.0.0.1:9092 -for 5s
//
// Without -kafka it starts a private node: see scripts/fetch-kafka.sh.
package main

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/millrace-ml/millrace/broker"
	millrace "github.com/millrace-ml/millrace/broker/kafka"
	"github.com/millrace-ml/millrace/internal/bench"
	servers "github.com/millrace-ml/millrace/internal/servers/kafka"
)

const (
	records = 256 // of a batch
	size    = 200 // bytes of a value
)

func main() {
	addr := flag.String("kafka", "", "host:port of a Kafka cluster; empty: start a private node")
	d := flag.Duration("for", 5*time.Second, "how long to measure each")
	flag.Parse()
	if err := run(context.Background(), *addr, *d); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, addr string, d time.Duration) error {
	if addr == "" {
		c, err := servers.Start(servers.Options{})
		if err != nil {
			return err
		}
		defer c.Stop()
		addr = c.Addrs()
	}
	settle, err := bench.KafkaSettle(ctx, "kafka://"+addr, 2*d)
	if err != nil {
		return err
	}
	peer, err := consumePublishAck(ctx, addr, d)
	if err != nil {
		return err
	}
	fmt.Printf("%-56s %10s %8s\n", "loop, 200-byte records", "records/s", "ratio")
	fmt.Printf("%-56s %10.0f %8.2f\n", "Millrace: Poll and Settle of 256, exactly once", settle.Loop, 1.0)
	fmt.Printf("%-56s %10.0f %8.2f\n", "franz-go: GroupTransactSession of 256, exactly once", settle.Bare, settle.Bare/settle.Loop)
	fmt.Printf("%-56s %10.0f %8.2f\n", "Watermill: consume, publish, ack; at least once", peer, peer/settle.Loop)
	return nil
}

// consumePublishAck returns records per second of a Watermill loop.
func consumePublishAck(ctx context.Context, addr string, d time.Duration) (float64, error) {
	in, out, err := topics(ctx, addr)
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
	answer := func(m *message.Message) error {
		err := publisher.Publish(out, message.NewMessage(m.UUID, m.Payload))
		m.Ack()
		return err
	}
	if err := answer(<-messages); err != nil { // the group is there now
		return 0, err
	}
	n := 0
	begin := time.Now()
	for time.Since(begin) < d {
		if err := answer(<-messages); err != nil {
			return 0, err
		}
		n++
	}
	return float64(n) / time.Since(begin).Seconds(), nil
}

// topics makes a topic with enough records for a while, and one for answers.
func topics(ctx context.Context, addr string) (in, out string, err error) {
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
	batch := make([]broker.Record, records)
	for i := range batch {
		batch[i] = broker.Record{Topic: in, Pinned: true, Value: make([]byte, size)}
	}
	for range 800 {
		if err := b.Publish(ctx, batch...); err != nil {
			return "", "", err
		}
	}
	return in, out, nil
}
