// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http/httptest"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/gateway"
)

func Example() {
	ctx := context.Background()
	b, err := embedded.Open("data", embedded.Options{FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	if err := b.CreateTopics(ctx, broker.Topic{Name: "tickets", Partitions: 1}); err != nil {
		log.Fatal(err)
	}
	g, err := gateway.New(b, gateway.Options{Sources: []string{"tickets"}})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Close()
	server := httptest.NewServer(g) // a program would use gateway.Listen and Serve
	defer server.Close()

	client := &gateway.Client{Base: server.URL}
	tickets := `{"customer":"c-1","text":"my mini is dead"}
{"customer":"c-2","text":"where is my parcel?"}`
	n, err := client.Publish(ctx, "tickets", strings.NewReader(tickets), gateway.PublishOptions{Key: "customer"})
	fmt.Println(n, "published,", err)

	for r, err := range client.Read(ctx, "tickets", gateway.Query{From: "start"}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s/%d/%d %s %s\n", r.Topic, r.Partition, r.Offset, r.Key, r.Value)
	}

	_, err = client.Publish(ctx, "tikets", strings.NewReader("{}"), gateway.PublishOptions{})
	fmt.Println(err)
	// Output:
	// 2 published, <nil>
	// tickets/0/0 c-1 {"customer":"c-1","text":"my mini is dead"}
	// tickets/0/1 c-2 {"customer":"c-2","text":"where is my parcel?"}
	// there is no topic "tikets"
}
