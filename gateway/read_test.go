// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// fill publishes n numbers to a partition of tickets.
func fill(t testing.TB, b *broker.Broker, partition int32, n int) {
	t.Helper()
	var records []broker.Record
	for i := range n {
		records = append(records, broker.Record{Topic: "tickets", Partition: partition, Pinned: true, Value: fmt.Appendf(nil, "%d", i)})
	}
	if _, err := b.Publish(t.Context(), records...); err != nil {
		t.Fatal(err)
	}
}

// values reads a query to its end.
func values(t testing.TB, c *Client, q Query) []string {
	t.Helper()
	var all []string
	for r, err := range c.Read(t.Context(), "tickets", q) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%d/%s", r.Partition, r.Value))
	}
	return all
}

func TestAQuerySaysWhichRecordsAreRead(t *testing.T) {
	b := openBroker(t, "tickets")
	_, client := start(t, b, Options{})
	fill(t, b, 0, 5)
	fill(t, b, 1, 2)
	for name, c := range map[string]struct {
		q    Query
		want []string
	}{
		"all":              {Query{Partition: broker.AllPartitions}, []string{"0/0", "0/1", "0/2", "0/3", "0/4", "1/0", "1/1"}},
		"a partition":      {Query{Partition: 1}, []string{"1/0", "1/1"}},
		"from an offset":   {Query{From: "3"}, []string{"0/3", "0/4"}},
		"up to an offset":  {Query{From: "1", To: "3"}, []string{"0/1", "0/2"}},
		"at most":          {Query{Max: 2}, []string{"0/0", "0/1"}},
		"from the end":     {Query{From: "end"}, nil},
		"of the last hour": {Query{From: "1h", To: "2"}, []string{"0/0", "0/1"}},
		"following":        {Query{From: "4", Follow: true, Max: 1}, []string{"0/4"}},
	} {
		if got := values(t, client, c.q); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestAWrongQueryIsExplained(t *testing.T) {
	_, client := start(t, openBroker(t, "tickets"), Options{})
	for query, want := range map[string]string{
		"from=soon":        `from: position "soon": write start, end, an offset (1234), a time (2026-01-31T12:00:00Z) or an age (24h, 7d)`,
		"to=-1":            `to: position "-1": an offset is not negative`,
		"partition=x":      "partition=x: write a number from 0",
		"max=-1":           "max=-1: write a number from 0",
		"follow=yes":       "follow=yes: use true or false",
		"follow=true&to=1": "follow never ends, so it does not go with to",
	} {
		got := request(t, client, "GET", path+"?"+query, "", "")
		if got.status != 400 || message(t, got) != want {
			t.Errorf("%s: %d %s, want %s", query, got.status, got.body, want)
		}
	}
	if got := request(t, client, "GET", path+"?partition=2", "", ""); got.status != 404 || message(t, got) != "topic tickets has partitions 0 to 1, no 2" {
		t.Errorf("partition 2: %v", got)
	}
	if got := request(t, client, "GET", "/v1/topics/tcikets/records", "", ""); got.status != 404 || !strings.Contains(got.body, "did you mean tickets?") {
		t.Errorf("unknown topic: %v", got)
	}
}

func TestAFollowerSeesWhatIsPublishedUntilItGoes(t *testing.T) {
	b := openBroker(t, "tickets")
	g, client := start(t, b, Options{MaxReaders: 1})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	fill(t, b, 0, 1)
	n := 0
	for r, err := range client.Read(ctx, "tickets", Query{Partition: broker.AllPartitions, Follow: true}) {
		if err != nil {
			if n < 5 {
				t.Fatal(err)
			}
			break
		}
		if string(r.Value) != "0" {
			t.Fatalf("record %d is %s", n, r.Value)
		}
		if n++; n == 5 {
			cancel()
			continue
		}
		fill(t, b, int32(n%2), 1)
	}
	if n != 5 {
		t.Fatalf("%d records, want 5", n)
	}
	// The place of the reader that has gone is free again.
	place, err := g.readers.admit(t.Context(), "127.0.0.1", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer place.close()
	if got := request(t, client, "GET", path, "", ""); got.status != 503 || !strings.Contains(message(t, got), "there is room for 1") {
		t.Errorf("one reader too many: %v", got)
	}
}

func TestClosingEndsFollowersInGoodOrder(t *testing.T) {
	b := openBroker(t, "tickets")
	g, client := start(t, b, Options{})
	fill(t, b, 0, 1)
	n := 0
	for _, err := range client.Read(t.Context(), "tickets", Query{Partition: broker.AllPartitions, Follow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		g.Close()
	}
	if n != 1 {
		t.Errorf("%d records, want 1", n)
	}
}

// broken is a broker whose readers fail after the first records.
type broken struct{ broker.Driver }

func (b broken) Read(ctx context.Context, topic string, partitions []int32, from, to broker.Position) (broker.Cursor, error) {
	c, err := b.Driver.Read(ctx, topic, partitions, from, to)
	return &brokenCursor{Cursor: c}, err
}

type brokenCursor struct {
	broker.Cursor
	once bool
}

func (r *brokenCursor) Next(ctx context.Context, n int) ([]broker.Record, error) {
	if r.once {
		return nil, fmt.Errorf("disk on fire")
	}
	r.once = true
	return r.Cursor.Next(ctx, n)
}

func TestAFaultWhileReadingEndsTheStreamWithItsReason(t *testing.T) {
	b := openBroker(t, "tickets")
	fill(t, b, 0, 3)
	_, client := start(t, broker.New(broken{b.Driver()}, b.Options()), Options{})
	n := 0
	var last error
	for _, err := range client.Read(t.Context(), "tickets", Query{}) {
		if last = err; err == nil {
			n++
		}
	}
	if n != 3 || last == nil || last.Error() != "read topic tickets: disk on fire" {
		t.Errorf("%d records, then %v", n, last)
	}
}

func TestRecordsOfAnyBytesComeBackAsTheyWere(t *testing.T) {
	b := openBroker(t, "tickets", "copy")
	_, client := start(t, b, Options{Sources: []string{"tickets", "copy"}})
	in := []broker.Record{
		{Value: []byte(`{"text":"<&>"}`)},
		{Value: []byte("plain\ntext")},
		{Value: []byte("\xff\x00")},
		{Value: nil},
		{Key: []byte("k"), Value: []byte(`"a string"`)},
		{Key: []byte("\xfe"), Value: []byte("1"), Headers: []broker.Header{{Key: "a", Value: []byte("1")}, {Key: "b", Value: []byte("\xff")}, {Key: "a", Value: []byte("2")}}},
	}
	for i := range in {
		in[i].Topic, in[i].Pinned = "tickets", true
	}
	if _, err := b.Publish(t.Context(), in...); err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	enc := json.NewEncoder(&lines)
	enc.SetEscapeHTML(false)
	for r, err := range client.Read(t.Context(), "tickets", Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if time.Since(r.Time) > time.Hour {
			t.Errorf("time %v", r.Time)
		}
		if err := enc.Encode(r); err != nil {
			t.Fatal(err)
		}
	}
	n, err := client.Publish(t.Context(), "copy", strings.NewReader(lines.String()), PublishOptions{Enveloped: true})
	if n != len(in) || err != nil {
		t.Fatalf("published %d, %v", n, err)
	}
	show := func(r *broker.Record) string {
		h := slices.Clone(r.Headers)
		slices.SortStableFunc(h, func(a, b broker.Header) int { return strings.Compare(a.Key, b.Key) })
		return fmt.Sprintf("%q %q %q", r.Key, r.Value, h)
	}
	var want, got []string
	for i := range in {
		want = append(want, show(&in[i]))
	}
	for _, r := range recordsIn(t, b, "copy") {
		got = append(got, show(&r))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("copies\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
