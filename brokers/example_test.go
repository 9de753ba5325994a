// SPDX-License-Identifier: Apache-2.0

package brokers_test

import (
	"context"
	"fmt"
	"os"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/brokers"
)

// The broker's URL is all that differs: "redis://127.0.0.1:6379" and
// "kafka://127.0.0.1:9092" open the others.
func ExampleOpen() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "millrace")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	b, err := brokers.Open(ctx, "embedded", brokers.Options{DataDir: dir})
	if err != nil {
		panic(err)
	}
	defer b.Close()
	if err := b.CreateTopics(ctx, broker.Topic{Name: "tickets", Partitions: 4}); err != nil {
		panic(err)
	}
	fmt.Println(b.Partitions(ctx, "tickets"))
	// Output: 4 <nil>
}

func ExampleCheck() {
	fmt.Println(brokers.Check("reids://127.0.0.1:6379"))
	// Output: no broker has the scheme "reids": write embedded or redis://host:6379 or kafka://host:9092
}
