// SPDX-License-Identifier: Apache-2.0

package millrace

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/deadletter"
	"github.com/millrace-ml/millrace/gateway"
)

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestTheHandlerServesAllOfAPipelineAndEndsWithIt(t *testing.T) {
	a, stop := start(t, open(t, vfs.NewMem()), load(t, graph), Options{})
	s := httptest.NewServer(a.Handler())
	defer s.Close()
	client := &gateway.Client{Base: s.URL}
	publish := func(topic string) error {
		_, err := client.Publish(t.Context(), topic, strings.NewReader("{}\n"), gateway.PublishOptions{})
		return err
	}
	if err := publish("tickets"); err != nil {
		t.Fatal(err)
	}
	var refused *gateway.Error
	if err := publish("tags"); !errors.As(err, &refused) || refused.Status != http.StatusForbidden {
		t.Errorf("a service's topic takes records: %v", err)
	}
	for _, err := range client.Read(t.Context(), "desk", gateway.Query{Follow: true, Partition: broker.AllPartitions, Max: 1}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.DropDead(t.Context(), deadletter.Selection{}); err != nil {
		t.Error(err)
	}
	if done, err := client.RetryDead(t.Context(), deadletter.Selection{}); err != nil || len(done) != 0 {
		t.Errorf("retrying nothing: %v, %v", done, err)
	}
	if status, body := get(t, s.URL+"/metrics"); status != 200 || !strings.Contains(body, `millrace_published_records_total{topic="tickets"} 1`) || !strings.Contains(body, "millrace_batch_records_count") {
		t.Errorf("metrics: %d %s", status, body)
	}
	if status, body := get(t, s.URL+"/healthz"); status != 200 {
		t.Errorf("health: %d %s", status, body)
	}
	n := 0
	ended := make(chan struct{})
	for _, err := range client.Read(t.Context(), "desk", gateway.Query{Follow: true, Partition: broker.AllPartitions}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		go func() {
			defer close(ended)
			stop()
		}()
	}
	<-ended
	if n != 1 {
		t.Errorf("%d answers were followed to the end of the pipeline, want 1", n)
	}
	if err := publish("tickets"); !errors.As(err, &refused) || refused.Status != http.StatusServiceUnavailable {
		t.Errorf("a pipeline that has ended takes records: %v", err)
	}
}

func TestWhatIsWatchedIsPartOfTheHealth(t *testing.T) {
	a, err := New(t.Context(), open(t, vfs.NewMem()), load(t, graph), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var ill error
	a.Watch("door", func() error { return ill })
	s := httptest.NewServer(a.Handler())
	defer s.Close()
	if status, body := get(t, s.URL+"/healthz"); status != 200 {
		t.Errorf("all is well: %d %s", status, body)
	}
	ill = errors.New("it is stuck")
	if status, body := get(t, s.URL+"/healthz"); status != 503 || !strings.Contains(body, "door: it is stuck") {
		t.Errorf("the door is stuck: %d %s", status, body)
	}
	if status, body := get(t, s.URL+"/readyz"); status != 503 || !strings.Contains(body, "the services are starting") {
		t.Errorf("nothing runs: %d %s", status, body)
	}
}

func TestServeRunsAndAnswersUntilItsContextEnds(t *testing.T) {
	b := open(t, vfs.NewMem())
	url := make(chan string, 1)
	a, err := New(t.Context(), b, load(t, graph), Options{Announce: func(on *broker.Broker, at string) error {
		if on != b {
			t.Error("another broker is announced")
		}
		url <- at
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- a.Serve(ctx, "127.0.0.1:0") }()
	client := &gateway.Client{Base: <-url}
	if _, err := client.Publish(t.Context(), "tickets", strings.NewReader("{}\n"), gateway.PublishOptions{}); err != nil {
		t.Error(err)
	}
	n := 0
	for _, err := range client.Read(t.Context(), "desk", gateway.Query{Follow: true, Partition: broker.AllPartitions}) {
		if err != nil {
			t.Error(err)
		}
		n++
		stop() // which ends the reader
	}
	if err := <-ended; err != nil || n != 1 {
		t.Errorf("it gave %d answers and ended with %v", n, err)
	}
}

// The address of one that serves is not taken from it by another call.
func TestASecondServeAnnouncesNothing(t *testing.T) {
	announced := make(chan string, 2)
	a, err := New(t.Context(), open(t, vfs.NewMem()), load(t, graph), Options{
		Grace:    1 << 62, // which twice is less than no time
		Announce: func(_ *broker.Broker, url string) error { announced <- url; return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- a.Serve(ctx, "127.0.0.1:0") }()
	<-announced
	if err := a.Serve(ctx, "127.0.0.1:0"); !errors.Is(err, errRan) || len(announced) > 0 {
		t.Errorf("a second Serve returned %v and announced %d addresses", err, len(announced))
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestServeRunsNothingWithoutItsAddress(t *testing.T) {
	refuse := errors.New("nobody may know")
	for address, want := range map[string]error{"0.0.0.0:8088": gateway.ErrAddress, "127.0.0.1:0": refuse} {
		a, err := New(t.Context(), open(t, vfs.NewMem()), load(t, graph), Options{Announce: func(*broker.Broker, string) error { return refuse }})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Serve(t.Context(), address); !errors.Is(err, want) {
			t.Errorf("at %s it ended with %v, want %v", address, err, want)
		}
		if a.Ready() == nil {
			t.Errorf("at %s it has run", address)
		}
	}
}
