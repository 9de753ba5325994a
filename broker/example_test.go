// SPDX-License-Identifier: Apache-2.0

package broker_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
)

// The loop that all services run, once: poll a batch, answer its records, settle.
// Until then the batch comes again, after it never.
func Example() {
	ctx := context.Background()
	// In a program: embedded.Open("data", embedded.Options{}), or a driver's Open.
	b, err := embedded.Open("data", embedded.Options{FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	defer b.Close()
	if err := b.CreateTopics(ctx, broker.Topic{Name: "words"}, broker.Topic{Name: "shouts"}); err != nil {
		panic(err)
	}
	places, err := b.Publish(ctx, broker.Record{Topic: "words", Key: []byte("ann"), Value: []byte("hello")})
	if err != nil {
		panic(err)
	}
	fmt.Println("published at offset", places[0].Offset)

	c, err := b.Join(ctx, "shouter", broker.Start(), "words")
	if err != nil {
		panic(err)
	}
	defer c.Close(ctx)
	batch, err := c.Poll(ctx, broker.Want{Records: 100})
	if err != nil {
		panic(err)
	}
	var results []broker.Record
	for _, r := range batch.Records {
		results = append(results, broker.Record{Topic: "shouts", Key: r.Key, Value: bytes.ToUpper(r.Value)})
	}
	if err := batch.Settle(ctx, results...); err != nil {
		panic(err)
	}
	for r, err := range broker.Records(ctx, b, "shouts", broker.AllPartitions, broker.Start(), broker.End()) {
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s: %s\n", r.Key, r.Value)
	}
	// Output:
	// published at offset 0
	// ann: HELLO
}

// Equal keys go to the same partition, on every broker the one where Kafka's own
// clients put them.
func ExamplePartitionOf() {
	fmt.Println(broker.PartitionOf([]byte("c-017"), 8))
	// Output: 5
}
