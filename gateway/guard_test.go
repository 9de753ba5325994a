// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace-ml/millrace/broker"
)

func TestOnlyNamesOfThisMachineAreAnswered(t *testing.T) {
	_, client := start(t, openBroker(t, "tickets"), Options{})
	for host, want := range map[string]int{
		"localhost": 200, "localhost:8088": 200, "127.0.0.1:1": 200, "[::1]:8088": 200, "app.localhost": 200,
		"evil.example": 421, "127.0.0.1.evil.example:8088": 421, "localhost.evil.example": 421, "192.168.1.2": 421,
	} {
		if got := request(t, client, "GET", "/v1/topics", "", "", "Host", host); got.status != want {
			t.Errorf("host %s: %d, want %d", host, got.status, want)
		}
	}
}

func TestNoOriginIsAllowedToRead(t *testing.T) {
	_, client := start(t, openBroker(t, "tickets"), Options{})
	got := request(t, client, "GET", "/v1/topics", "", "", "Origin", "https://evil.example")
	for name := range got.header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("header %s", name)
		}
	}
	if got := request(t, client, "OPTIONS", path, "", "", "Origin", "https://evil.example", "Access-Control-Request-Method", "POST"); got.status == 200 {
		t.Errorf("preflight: %v", got)
	}
}

func TestListenTakesTheLoopbackOnly(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "192.168.1.2:80", "example.org:80", "8088"} {
		ln, err := Listen(t.Context(), address)
		if !errors.Is(err, ErrAddress) {
			t.Errorf("%s: %v", address, err)
		}
		if ln != nil {
			ln.Close()
		}
	}
	ln, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if _, err := Listen(t.Context(), ln.Addr().String()); !errors.Is(err, ErrAddress) || !strings.Contains(err.Error(), "another process has the port") {
		t.Errorf("a port in use: %v", err)
	}
}

func TestServeEndsWhenItsContextDoes(t *testing.T) {
	b := openBroker(t, "tickets")
	g, err := New(b, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- g.Serve(ctx, ln, 10*time.Second) }()

	client := &Client{Base: "http://" + ln.Addr().String()}
	fill(t, b, 0, 1)
	for _, err := range client.Read(t.Context(), "tickets", Query{Follow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		cancel()
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		t.Error("it still listens")
	}
}

func TestHealthReadinessAndMetricsAreShown(t *testing.T) {
	bad := errors.New("tagger: 7 records wait")
	registry := prometheus.NewRegistry()
	_, client := start(t, openBroker(t, "tickets"), Options{Registry: registry, Ready: func() error { return bad }})
	if got := request(t, client, "GET", "/healthz", "", ""); got.status != 200 {
		t.Errorf("healthz: %v", got)
	}
	if got := request(t, client, "GET", "/readyz", "", ""); got.status != 503 || message(t, got) != bad.Error() {
		t.Errorf("readyz: %v", got)
	}
	request(t, client, "POST", path, typeJSON, "[1,2,3]")
	request(t, client, "POST", path, typeJSON, "[1")
	got := request(t, client, "GET", "/metrics", "", "")
	for _, line := range []string{
		`millrace_published_records_total{topic="tickets"} 3`,
		`millrace_http_requests_total{code="200",route="POST /v1/topics/{topic}/records"} 1`,
		`millrace_http_requests_total{code="400",route="POST /v1/topics/{topic}/records"} 1`,
	} {
		if !strings.Contains(got.body+"\n", line+"\n") {
			t.Errorf("no %s in the metrics:\n%s", line, got.body)
		}
	}
}

func TestTopicsAndGroupsAreDescribed(t *testing.T) {
	b := openBroker(t, "moods", "tickets")
	_, client := start(t, b, Options{})
	fill(t, b, 0, 3)
	fill(t, b, 1, 1)
	c, err := b.Join(t.Context(), "desk.tagger", broker.Start(), "tickets")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	if _, err := c.Poll(t.Context(), broker.Want{Records: 2}); err != nil {
		t.Fatal(err)
	}
	if err := c.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}

	topics, err := client.Topics(t.Context())
	if err != nil || len(topics) != 2 {
		t.Fatal(topics, err)
	}
	if got := topics[1]; got.Name != "tickets" || !got.Source || got.Records != 4 || got.Partitions[0] != (Partition{0, 3, 3}) || got.Partitions[1] != (Partition{0, 1, 1}) {
		t.Errorf("tickets: %+v", got)
	}
	if topics[0].Source {
		t.Error("moods is no source")
	}
	groups, err := client.Groups(t.Context())
	if err != nil || len(groups) != 1 || groups[0].Lag != 2 || groups[0].Members != 1 || groups[0].Partitions != nil {
		t.Errorf("groups: %+v, %v", groups, err)
	}
	group, err := client.Group(t.Context(), "desk.tagger")
	if err != nil || len(group.Partitions) != 2 || group.Lag != 2 || group.Topics[0] != "tickets" {
		t.Errorf("group: %+v, %v", group, err)
	}
	_, err = client.Group(t.Context(), "desk.taggr")
	if e, ok := errors.AsType[*Error](err); !ok || e.Status != 404 || e.Hint != "did you mean desk.tagger?" {
		t.Errorf("unknown group: %v", err)
	}
}
