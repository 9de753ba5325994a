// SPDX-License-Identifier: Apache-2.0

package millrace_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace"
	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/lineage"
	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/pipeline"
)

// A pipeline of two models of the program's own, in Go. (With [millrace.App.Serve]
// it would be over HTTP too; examples/own-model is a whole program.)
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	// In a program: brokers.Open(ctx, p.BrokerURL(), brokers.Options{}).
	b, err := embedded.Open("data", embedded.Options{FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	defer b.Close()
	// In a program: pipeline.Load("pipeline.yaml").
	p, err := pipeline.Parse("pipeline.yaml", []byte(`
name: shop
topics:
  tickets: {partitions: 2}
services:
  urgency: {from: tickets, to: urgencies, model: {go: urgency}}
  length:  {from: tickets, to: lengths,   model: {go: length}}
gather:
  desk: {of: tickets, from: [urgencies, lengths], to: desk, deadline: 1m}
`), nil)
	if err != nil {
		panic(err)
	}
	app, err := millrace.New(ctx, b, p, millrace.Options{Models: millrace.Models{
		"urgency": model.Each("urgency@1", func(_ context.Context, text string) (bool, error) {
			return strings.HasSuffix(text, "!"), nil
		}),
		"length": model.JSON("length@1", func(_ context.Context, texts []string) ([]int, error) {
			lengths := make([]int, len(texts))
			for i, text := range texts {
				lengths[i] = len(text)
			}
			return lengths, nil
		}),
	}})
	if err != nil {
		panic(err)
	}
	drained := make(chan error)
	go func() { drained <- app.Run(ctx) }()

	if _, err := b.Publish(ctx, broker.Record{Topic: "tickets", Key: []byte("ann"), Value: []byte(`"it burns!"`)}); err != nil {
		panic(err)
	}
	for r, err := range broker.Records(ctx, b, "desk", broker.AllPartitions, broker.Start(), broker.Forever()) {
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s is %s\n", r.Key, r.Header(lineage.JoinStatus))
		break
	}
	stop()
	fmt.Println("drained:", <-drained)
	for _, s := range app.Status() {
		fmt.Println(s.Name, s.Values)
	}
	// Output:
	// ann is complete
	// drained: <nil>
	// urgency 1
	// length 1
	// desk 1
}

// What is wrong with a file or its models is said with line and column.
func ExampleNew() {
	b, err := embedded.Open("data", embedded.Options{FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	defer b.Close()
	p, err := pipeline.Parse("pipeline.yaml", []byte(`name: shop
topics: {tickets: {}}
services:
  urgency: {from: tickets, to: urgencies, model: {go: urgncy}}
`), nil)
	if err != nil {
		panic(err)
	}
	_, err = millrace.New(context.Background(), b, p, millrace.Options{Models: millrace.Models{
		"urgency": model.Each("urgency@1", func(context.Context, string) (bool, error) { return true, nil }),
	}})
	fmt.Println(err)
	// Output: pipeline.yaml:4:55: there is no go model urgncy; did you mean urgency?
}
