// SPDX-License-Identifier: Apache-2.0

package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
)

// A service in its smallest form: it polls a batch, makes a result of each
// record, and settles.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "millrace")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	b, err := embedded.Open(dir, embedded.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()

	err = b.CreateTopics(ctx, broker.Topic{Name: "tickets", Partitions: 1}, broker.Topic{Name: "shouts", Partitions: 1})
	if err != nil {
		log.Fatal(err)
	}
	_, err = b.Publish(ctx,
		broker.Record{Topic: "tickets", Key: []byte("ann"), Value: []byte("where is my parcel")},
		broker.Record{Topic: "tickets", Key: []byte("bob"), Value: []byte("thank you")})
	if err != nil {
		log.Fatal(err)
	}

	c, err := b.Join(ctx, "shouter", broker.Start(), "tickets")
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)
	batch, err := c.Poll(ctx, broker.Want{Records: 256})
	if err != nil {
		log.Fatal(err)
	}
	var results []broker.Record
	for _, r := range batch.Records {
		results = append(results, broker.Record{
			Topic: "shouts", Pinned: true, Partition: r.Partition, Key: r.Key, Value: bytes.ToUpper(r.Value),
		})
	}
	if err := batch.Settle(ctx, results...); err != nil {
		log.Fatal(err)
	}

	r, err := b.Read(ctx, "shouts", broker.AllPartitions, broker.Start(), broker.Position{})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	for {
		records, err := r.Next(ctx, 0)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		for _, r := range records {
			fmt.Printf("%s/%d/%d %s: %s\n", r.Topic, r.Partition, r.Offset, r.Key, r.Value)
		}
	}
	// Output:
	// shouts/0/0 ann: WHERE IS MY PARCEL
	// shouts/0/1 bob: THANK YOU
}
