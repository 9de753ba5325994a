// SPDX-License-Identifier: Apache-2.0

package gather_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/gather"
	"github.com/millrace-ml/millrace/lineage"
)

// A gather waits for the answers of two services to each record of topic words.
// (Package service runs such services; here their answers are published by hand.)
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	b, err := embedded.Open("data", embedded.Options{FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	defer b.Close()
	for _, topic := range []string{"words", "lengths", "languages", "facts"} {
		if err := b.CreateTopics(ctx, broker.Topic{Name: topic}); err != nil {
			panic(err)
		}
	}
	join, err := gather.New(b, gather.Config{
		Name: "facts", Group: "example.facts", Of: "words", To: "facts",
		Parts: []gather.Part{{Name: "length", Topic: "lengths"}, {Name: "language", Topic: "languages"}},
	})
	if err != nil {
		panic(err)
	}
	drained := make(chan error)
	go func() { drained <- join.Run(ctx) }()

	word := broker.Record{Topic: "words", Key: []byte("k"), Value: []byte(`"mill"`)}
	if _, err := b.Publish(ctx, word); err != nil {
		panic(err)
	}
	word.Partition = broker.PartitionOf(word.Key, broker.DefaultPartitions) // where it is now
	answer := func(topic, service, value string) broker.Record {
		id := lineage.AppendChild(nil, &word, service, 0, 1)
		return broker.Record{Topic: topic, Key: word.Key, Value: []byte(value), Headers: []broker.Header{{Key: lineage.ID, Value: id}}}
	}
	if _, err := b.Publish(ctx, answer("languages", "language", `"en"`), answer("lengths", "length", `4`)); err != nil {
		panic(err)
	}
	for r, err := range broker.Records(ctx, b, "facts", broker.AllPartitions, broker.Start(), broker.Forever()) {
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s: %s\n", r.Header(lineage.JoinOf), r.Header(lineage.JoinStatus))
		break
	}
	stop()
	fmt.Println("drained:", <-drained)
	// Output:
	// words/0/0: complete
	// drained: <nil>
}
