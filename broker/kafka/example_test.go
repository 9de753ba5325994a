// SPDX-License-Identifier: Apache-2.0

package kafka_test

import (
	"context"
	"fmt"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/kafka"
)

// A topic on Kafka: everything else is as on any other broker.
func ExampleOpen() {
	ctx := context.Background()
	b, err := kafka.Open(ctx, "kafka://127.0.0.1:9092", kafka.Options{})
	if err != nil {
		panic(err)
	}
	defer b.Close()
	if err := b.CreateTopics(ctx, broker.Topic{Name: "example", Partitions: 1}); err != nil {
		panic(err)
	}
	if _, err := b.Publish(ctx, broker.Record{Topic: "example", Key: []byte("ann"), Value: []byte("hello")}); err != nil {
		panic(err)
	}
	for r, err := range broker.Records(ctx, b, "example", broker.AllPartitions, broker.Start(), broker.End()) {
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s: %s\n", r.Key, r.Value)
	}
	// Prints: ann: hello
}
