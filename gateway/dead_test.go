// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/deadletter"
	"github.com/millrace-ml/millrace/lineage"
	"github.com/millrace-ml/millrace/service"
)

// deadDesk is a broker with a letter of mood about each value.
func deadDesk(t *testing.T, values ...string) *broker.Broker {
	t.Helper()
	b := openBroker(t, "tickets", "moods", "mood.dead")
	for i, v := range values {
		place := lineage.Source{Topic: "tickets", Offset: int64(i)}.String()
		_, err := b.Publish(t.Context(), broker.Record{Topic: "mood.dead", Pinned: true, Key: []byte(v), Value: []byte(v), Headers: []broker.Header{
			{Key: "tenant", Value: []byte("a")}, {Key: lineage.ID, Value: []byte(place)}, {Key: lineage.DeadService, Value: []byte("mood")},
			{Key: lineage.DeadRecord, Value: []byte(place)}, {Key: lineage.DeadModel, Value: []byte("mood@1")},
			{Key: lineage.Error, Value: []byte("is ill")}, {Key: lineage.Attempts, Value: []byte("3")}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// echo answers letters with their own value.
func echo(_ context.Context, _ string, letters []service.Letter, settle func([]broker.Record) error) (service.Observation, error) {
	var results []broker.Record
	for _, l := range letters {
		results = append(results, broker.Record{Topic: "moods", Partition: l.Record.Partition, Pinned: true, Value: l.Record.Value})
	}
	return service.Observation{Records: len(letters), Values: len(letters)}, settle(results)
}

func TestDeadLettersAreListedShownAndDecidedOn(t *testing.T) {
	b := deadDesk(t, `{"id":1}`, "two", "\xff")
	_, client := start(t, b, Options{Retry: echo})
	ctx := t.Context()

	list, err := client.DeadLetters(ctx, deadletter.Selection{Services: []string{"mood"}}, 2, deadletter.Open)
	if err != nil || list.Total != 3 || len(list.Letters) != 2 || list.Letters[0].ID != "mood.dead/0/2" {
		t.Fatalf("the list is %+v, %v", list, err)
	}
	l, err := client.DeadLetter(ctx, "mood.dead/0/2")
	if err != nil || l.Error != "is ill" || l.Attempts != 3 || l.Record != "tickets/0/2" {
		t.Fatalf("the letter is %+v, %v", l, err)
	}
	value, err := l.Original.Bytes()
	if err != nil || string(value) != "\xff" || string(l.Original.Key) != "\xff" || len(l.Original.Headers) != 1 {
		t.Errorf("the record is %+v (%q, %v)", l.Original, value, err)
	}
	done, err := client.RetryDead(ctx, deadletter.Selection{Letters: []string{"mood.dead/0/0"}})
	if err != nil || len(done) != 1 || done[0] != (deadletter.Done{Service: "mood", Letters: 1, Answered: 1}) {
		t.Errorf("retried: %+v, %v", done, err)
	}
	done, err = client.DropDead(ctx, deadletter.Selection{Key: "two"})
	if err != nil || len(done) != 1 || done[0] != (deadletter.Done{Service: "mood", Letters: 1}) {
		t.Errorf("dropped: %+v, %v", done, err)
	}
	list, err = client.DeadLetters(ctx, deadletter.Selection{}, 0)
	var states []string
	for _, l := range list.Letters {
		states = append(states, string(l.State))
	}
	if got := strings.Join(states, " "); err != nil || got != "open dropped retried" {
		t.Errorf("newest first they are %s, %v", got, err)
	}
	if answers := recordsIn(t, b, "moods"); len(answers) != 1 || string(answers[0].Value) != `{"id":1}` {
		t.Errorf("the answers are %v", answers)
	}
	// Programs may ask with nothing but a URL.
	got := request(t, client, "GET", "/v1/dead/mood.dead/0/1", "", "")
	var shown DeadLetter
	if err := json.Unmarshal([]byte(got.body), &shown); err != nil || got.status != 200 || shown.State != deadletter.Dropped || shown.Decided == nil {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestWhatRequestsOnDeadLettersAreRefused(t *testing.T) {
	b := deadDesk(t, "one")
	_, client := start(t, b, Options{Services: []string{"mood"}})
	const json = "application/json"
	for _, c := range []struct {
		method, path, contentType, body string
		status                          int
		want                            string
	}{
		{"GET", "/v1/dead?max=0", "", "", 400, "write a number from 1 to 10000"},
		{"GET", "/v1/dead?state=closed", "", "", 400, "use open, retried or dropped"},
		{"GET", "/v1/dead?service=moo", "", "", 404, "did you mean mood?"},
		{"GET", "/v1/dead/mood.dead/0/9", "", "", 404, "there is no dead letter"},
		{"GET", "/v1/dead/mood.dead/9/0", "", "", 404, "there is no dead letter"},
		{"GET", "/v1/dead/tickets/0/0", "", "", 404, "there is no dead letter"},
		{"GET", "/v1/dead/other.dead/0/0", "", "", 404, "there is no service"},
		{"POST", "/v1/dead/drop", "text/plain", "{}", 415, "is not JSON"}, // as pages of other origins may send
		{"POST", "/v1/dead/drop", json, `{"service": "mood"}`, 400, "unknown field"},
		{"POST", "/v1/dead/drop", json, `{"letters": ["mood.dead/0/9"]}`, 404, "there is no dead letter"},
		{"POST", "/v1/dead/drop", json, `{"letters": null}`, 400, `field \"letters\" is null: leave it out`},
		{"POST", "/v1/dead/drop", json, `{"services":null,"key":"one"}`, 400, `field \"services\" is null: leave it out`},
		{"POST", "/v1/dead/drop", json, `{"key": ""}`, 400, `field \"key\" is \"\": leave it out`},
		{"POST", "/v1/dead/drop", json, `{"key": null}`, 400, `field \"key\" is null: leave it out`},
		{"POST", "/v1/dead/drop", json, `{"letters": [ ]}`, 400, "no letters are meant"},
		{"POST", "/v1/dead/drop", json, `{"services": []}`, 400, "no letters are meant"},
		{"POST", "/v1/dead/drop", json, `{"letters": [null]}`, 404, "there is no dead letter"},
		{"POST", "/v1/dead/drop", json, `{"services": [""]}`, 404, "there is no service"},
		{"POST", "/v1/groups/g.mood/seek", json, `{"to": "start", "topic": null}`, 400, `field \"topic\" is null: leave it out`}, // another order
		{"POST", "/v1/groups/g.mood/seek", json, `{"to": "start", "topic": ""}`, 400, `field \"topic\" is \"\": leave it out`},
		{"POST", "/v1/dead/retry", json, `{"letters": null}`, 400, `field \"letters\" is null: leave it out`},
		{"POST", "/v1/dead/retry", json, `{}`, 409, "name the pipeline file with -p"},
		{"POST", "/v1/dead/open", json, `{}`, 405, ""},
	} {
		got := request(t, client, c.method, c.path, c.contentType, c.body)
		if got.status != c.status || !strings.Contains(got.body, c.want) {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, got.status, got.body)
		}
	}
	for _, s := range []deadletter.Selection{{Letters: []string{}}, {Services: []string{}}} {
		if done, err := client.DropDead(t.Context(), s); err == nil || !strings.Contains(err.Error(), "no letters are meant") {
			t.Errorf("drop %#v: %+v, %v", s, done, err)
		}
		if list, err := client.DeadLetters(t.Context(), s, 0); !errors.Is(err, deadletter.ErrNothingSelected) {
			t.Errorf("list %#v: %+v, %v", s, list, err)
		}
	}
	if list, err := client.DeadLetters(t.Context(), deadletter.Selection{}, 0, deadletter.Open); err != nil || list.Total != 1 {
		t.Errorf("after all that %+v are open, %v", list, err)
	}
}

// A process that stops lets the letters be that it has not come to.
func TestARetryEndsWithTheGateway(t *testing.T) {
	b := deadDesk(t, "one")
	predicting := make(chan struct{})
	g, client := start(t, b, Options{Retry: func(ctx context.Context, _ string, _ []service.Letter, _ func([]broker.Record) error) (service.Observation, error) {
		close(predicting)
		<-ctx.Done()
		return service.Observation{}, ctx.Err()
	}})
	go func() {
		<-predicting
		g.Close()
	}()
	for range 2 { // while it stops, and when it is about to
		_, err := client.RetryDead(t.Context(), deadletter.Selection{})
		var refused *Error
		if !errors.As(err, &refused) || refused.Status != 503 {
			t.Errorf("refused with %v", err)
		}
	}
	store, err := deadletter.New(b, deadletter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if list, err := store.List(t.Context(), deadletter.Selection{}, 10, deadletter.Open); err != nil || list.Total != 1 {
		t.Errorf("%+v are open, %v", list, err)
	}
}
