// SPDX-License-Identifier: Apache-2.0

package timeline_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/lineage"
	"github.com/millrace-ml/millrace/timeline"
)

// What became of a record of ann's: a service answered it. (Its answer, which
// package service writes, is published by hand here.)
func ExampleOf() {
	ctx := context.Background()
	b, err := embedded.Open("data", embedded.Options{FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	defer b.Close()
	if err := b.CreateTopics(ctx, broker.Topic{Name: "tickets", Partitions: 1}, broker.Topic{Name: "moods", Partitions: 1}); err != nil {
		panic(err)
	}
	ticket := broker.Record{Topic: "tickets", Key: []byte("ann"), Value: []byte("it burns!")}
	if _, err := b.Publish(ctx, ticket); err != nil {
		panic(err)
	}
	id := lineage.AppendChild(nil, &ticket, "mood", 0, 1) // of what stands at tickets/0/0
	if _, err := b.Publish(ctx, broker.Record{Topic: "moods", Key: ticket.Key, Value: []byte("angry"), Headers: []broker.Header{
		{Key: lineage.ID, Value: id}, {Key: lineage.Model, Value: []byte("mood@1")},
	}}); err != nil {
		panic(err)
	}

	events, err := timeline.Of(ctx, b, "ann", broker.Start())
	if err != nil {
		panic(err)
	}
	for _, e := range events {
		fmt.Printf("%-9s %s\n", e.What, e.ID)
	}
	// Output:
	// published tickets/0/0
	// answered  tickets/0/0/mood
}
