// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http/httptest"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/deadletter"
	"github.com/millrace-ml/millrace/gateway"
	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/service"
)

// polite is a model that answers only those who ask nicely.
type polite struct{}

func (polite) Name() string { return "polite@1" }

func (polite) Predict(_ context.Context, items []model.Item) ([]model.Answer, error) {
	answers := make([]model.Answer, len(items))
	for i, item := range items {
		if strings.Contains(string(item.Value), "please") {
			answers[i] = model.One([]byte(`"at once"`))
		} else {
			answers[i] = model.Fail(model.Invalid(errors.New("not so")))
		}
	}
	return answers, nil
}

// A broker's topics over HTTP, beside a service that reads and writes them. (An
// app serves a whole pipeline in this way: millrace.App.Handler.)
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	// In a program: embedded.Open("data", embedded.Options{}).
	b, err := embedded.Open("data", embedded.Options{FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	if err := b.CreateTopics(ctx, broker.Topic{Name: "tickets", Partitions: 1}, broker.Topic{Name: "replies", Partitions: 1}, broker.Topic{Name: "clerk.dead", Partitions: 1}); err != nil {
		log.Fatal(err)
	}
	clerk, err := service.New(b, service.Config{
		Name: "clerk", Group: "example.clerk", Model: polite{},
		From: []string{"tickets"}, To: "replies", Dead: "clerk.dead",
	})
	if err != nil {
		log.Fatal(err)
	}
	drained := make(chan error)
	go func() { drained <- clerk.Run(ctx) }()

	g, err := gateway.New(b, gateway.Options{
		Sources:  []string{"tickets"},
		Services: []string{"clerk"},
		Retry: func(ctx context.Context, _ string, letters []service.Letter, settle func([]broker.Record) error) (service.Observation, error) {
			return clerk.Retry(ctx, letters, settle)
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer g.Close()
	server := httptest.NewServer(g) // a program would use gateway.Listen and Serve
	defer server.Close()

	client := &gateway.Client{Base: server.URL}
	tickets := `{"customer":"c-1","text":"a new cable, please"}
{"customer":"c-2","text":"where is my parcel?"}`
	n, err := client.Publish(ctx, "tickets", strings.NewReader(tickets), gateway.PublishOptions{Key: "customer"})
	fmt.Println(n, "published,", err)

	for r, err := range client.Read(ctx, "replies", gateway.Query{Follow: true, Max: 2}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s/%d/%d %s %s\n", r.Topic, r.Partition, r.Offset, r.Key, r.Value)
	}
	dead, err := client.DeadLetters(ctx, deadletter.Selection{}, 0, deadletter.Open)
	if err != nil {
		log.Fatal(err)
	}
	for _, letter := range dead.Letters {
		fmt.Println(letter.ID, letter.Key, letter.Error)
	}

	_, err = client.Publish(ctx, "tikets", strings.NewReader("{}"), gateway.PublishOptions{})
	var refused *gateway.Error
	if errors.As(err, &refused) {
		fmt.Printf("%d: %s; %s\n", refused.Status, refused.Message, refused.Hint)
	}
	stop()
	fmt.Println("drained:", <-drained)
	// Output:
	// 2 published, <nil>
	// replies/0/0 c-1 "at once"
	// replies/0/1 c-2 ""
	// clerk.dead/0/0 c-2 not so
	// 404: there is no topic "tikets"; did you mean tickets?
	// drained: <nil>
}
