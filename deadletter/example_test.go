// SPDX-License-Identifier: Apache-2.0

package deadletter_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace"
	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/deadletter"
	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/pipeline"
)

// A record on which the model fails becomes a dead letter. When the model has
// learned, the letter is tried again, once.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	b, err := embedded.Open("data", embedded.Options{FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	defer b.Close()
	p, err := pipeline.Parse("pipeline.yaml", []byte("name: shop\ntopics: {orders: {}}\nservices:\n  price: {from: orders, to: prices, model: {go: price}}\n"), nil)
	if err != nil {
		panic(err)
	}
	var learned atomic.Bool
	price := model.Each("price@1", func(_ context.Context, article string) (int, error) {
		if !learned.Load() {
			return 0, model.Invalid(errors.New("no price is known for " + article))
		}
		return 42, nil
	})
	app, err := millrace.New(ctx, b, p, millrace.Options{Models: millrace.Models{"price": price}})
	if err != nil {
		panic(err)
	}
	drained := make(chan error)
	go func() { drained <- app.Run(ctx) }()
	if _, err := b.Publish(ctx, broker.Record{Topic: "orders", Key: []byte("ann"), Value: []byte(`"lamp"`)}); err != nil {
		panic(err)
	}
	for _, err := range broker.Records(ctx, b, "price.dead", broker.AllPartitions, broker.Start(), broker.Forever()) {
		if err != nil {
			panic(err)
		}
		break // it is there
	}

	letters, err := deadletter.New(b, deadletter.Options{})
	if err != nil {
		panic(err)
	}
	list, err := letters.List(ctx, deadletter.Selection{}, 10, deadletter.Open)
	if err != nil {
		panic(err)
	}
	for _, l := range list.Letters {
		fmt.Printf("%s of %s: %s\n", l.Service, l.Key, l.Error)
	}
	learned.Store(true)
	for range 2 {
		done, err := letters.Retry(ctx, deadletter.Selection{Services: []string{"price"}}, app.Retry)
		fmt.Printf("%+v %v\n", done, err)
	}
	stop()
	fmt.Println("drained:", <-drained)
	// Output:
	// price of ann: no price is known for lamp
	// [{Service:price Letters:1 Answered:1 Failed:0 Lost:0}] <nil>
	// [] <nil>
	// drained: <nil>
}
