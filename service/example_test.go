// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/lineage"
	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/service"
)

// shout is a model: a function from a batch of items to as many answers.
type shout struct{}

func (shout) Name() string { return "shout@1" }

func (shout) Predict(_ context.Context, items []model.Item) ([]model.Answer, error) {
	answers := make([]model.Answer, len(items))
	for i, item := range items {
		answers[i] = model.One(bytes.ToUpper(item.Value))
	}
	return answers, nil
}

// A service of one model, from topic words to topic shouts.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	// In a program: embedded.Open("data", embedded.Options{}).
	b, err := embedded.Open("data", embedded.Options{FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	defer b.Close()
	err = b.CreateTopics(ctx, broker.Topic{Name: "words"}, broker.Topic{Name: "shouts"}, broker.Topic{Name: "shouter.dead"})
	if err != nil {
		panic(err)
	}

	shouter, err := service.New(b, service.Config{
		Name: "shouter", Group: "example.shouter",
		From: []string{"words"}, To: "shouts", Dead: "shouter.dead",
		Model: shout{},
	})
	if err != nil {
		panic(err)
	}
	drained := make(chan error)
	go func() { drained <- shouter.Run(ctx) }()

	if _, err := b.Publish(ctx, broker.Record{Topic: "words", Key: []byte("k"), Value: []byte("mill")}); err != nil {
		panic(err)
	}
	for r, err := range broker.Records(ctx, b, "shouts", broker.AllPartitions, broker.Start(), broker.Forever()) {
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s by %s\n", r.Value, r.Header(lineage.Model))
		break
	}
	stop()
	fmt.Println("drained:", <-drained)
	// Output:
	// MILL by shout@1
	// drained: <nil>
}
