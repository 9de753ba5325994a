// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/brokers"
	"github.com/millrace-ml/millrace/gateway"
)

func openBroker(t *testing.T, dir string) *broker.Broker {
	t.Helper()
	b, err := brokers.Open(t.Context(), "embedded", brokers.Options{DataDir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestAProcessThatStartsIsGivenTimeToTellItsAddress(t *testing.T) {
	dir := t.TempDir()
	if address, err := owner(t.Context(), dir); address != "" || err != nil {
		t.Errorf("nobody's directory has owner %q, %v", address, err)
	}
	b := openBroker(t, dir)
	synctest.Test(t, func(t *testing.T) {
		_, err := owner(t.Context(), dir)
		want := fmt.Sprintf("process %d has data directory %s and serves no HTTP", os.Getpid(), dir)
		if err == nil || err.Error() != want {
			t.Errorf("without an address: %v, want %s", err, want)
		}
		var address string
		done := make(chan struct{})
		go func() {
			defer close(done)
			address, err = owner(t.Context(), dir)
		}()
		synctest.Wait()
		const here = "http://127.0.0.1:1"
		if err := brokers.SetAddress(b, here); err != nil {
			t.Fatal(err)
		}
		<-done
		if address != here || err != nil {
			t.Errorf("address %q, %v", address, err)
		}
	})
}

// Between the last records and those that follow there is a moment in which more
// may come.
func TestNothingIsMissedBetweenTheLastRecordsAndFollowing(t *testing.T) {
	b := openBroker(t, t.TempDir())
	if err := b.CreateTopics(t.Context(), broker.Topic{Name: "tickets", Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	publish := func(from, to int) {
		for i := from; i < to; i++ {
			if _, err := b.Publish(t.Context(), broker.Record{Topic: "tickets", Value: fmt.Append(nil, i)}); err != nil {
				t.Error(err)
			}
		}
	}
	g, err := gateway.New(b, gateway.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("follow") != "" {
			publish(10, 20)
		}
		g.ServeHTTP(w, r)
	}))
	defer s.Close()
	defer g.Close()
	publish(0, 10)
	var out bytes.Buffer
	c := &console{out: &out}
	o := tailOptions{last: 5, max: 15, partition: broker.AllPartitions, follow: true}
	if err := c.tail(t.Context(), &connection{Client: &gateway.Client{Base: s.URL}}, "tickets", o); err != nil {
		t.Fatal(err)
	}
	for i := 5; i < 20; i++ {
		if n := strings.Count(out.String(), fmt.Sprintf(`"value":%d}`, i)); n != 1 {
			t.Errorf("record %d was printed %d times", i, n)
		}
	}
}
