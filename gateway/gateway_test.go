// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// openBroker opens an embedded broker in memory with topics of two partitions.
func openBroker(t testing.TB, topics ...string) *broker.Broker {
	t.Helper()
	b, err := embedded.Open("data", embedded.Options{FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	for _, topic := range topics {
		if err := b.CreateTopics(t.Context(), broker.Topic{Name: topic, Partitions: 2}); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// start serves a gateway on a broker; its sources are tickets.
func start(t testing.TB, b *broker.Broker, o Options) (*Gateway, *Client) {
	t.Helper()
	if o.Sources == nil {
		o.Sources = []string{"tickets"}
	}
	g, err := New(b, o)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(g)
	t.Cleanup(func() {
		g.Close()
		s.Close()
	})
	return g, &Client{Base: s.URL, HTTP: s.Client()}
}

// answer is what a raw request got.
type answer struct {
	status int
	header http.Header
	body   string
}

func request(t testing.TB, c *Client, method, path, contentType, body string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, c.Base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, strings.TrimSpace(string(b))}
}

// records reads all there are in a topic, partition by partition.
func recordsIn(t testing.TB, b *broker.Broker, topic string) []broker.Record {
	t.Helper()
	var all []broker.Record
	for partition := range int32(2) {
		r, err := b.Read(t.Context(), topic, partition, broker.Start(), broker.Position{})
		if err != nil {
			t.Fatal(err)
		}
		for {
			more, err := r.Next(t.Context(), 0)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, more...)
		}
		r.Close()
	}
	return all
}

// failing is a broker whose Publish fails.
type failing struct {
	broker.Driver
	err error
}

func (f failing) Append(context.Context, []broker.Record, []int32) ([]int64, error) {
	return nil, f.err
}

// fail makes a broker that fails of one that works.
func fail(b *broker.Broker, err error) *broker.Broker {
	return broker.New(failing{b.Driver(), err}, b.Options())
}
