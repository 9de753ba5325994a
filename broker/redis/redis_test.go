// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/millrace-ml/millrace/broker"
	servers "github.com/millrace-ml/millrace/internal/test/servers/redis"
)

func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t testing.TB, b *broker.Broker, name string, partitions int) {
	t.Helper()
	must(t, b.CreateTopics(bounded(t), broker.Topic{Name: name, Partitions: partitions}))
}

func pinned(topic, value string) broker.Record {
	return broker.Record{Topic: topic, Pinned: true, Value: []byte(value)}
}

func publish(t testing.TB, b *broker.Broker, records ...broker.Record) []broker.Place {
	t.Helper()
	places, err := b.Publish(bounded(t), records...)
	must(t, err)
	return places
}

func join(t testing.TB, b *broker.Broker, group string, topics ...string) *broker.Consumer {
	t.Helper()
	c, err := b.Join(bounded(t), group, broker.Start(), topics...)
	must(t, err)
	return c
}

func poll(t testing.TB, c *broker.Consumer, w broker.Want) []broker.Record {
	t.Helper()
	return batch(t, c, w).Records
}

func batch(t testing.TB, c *broker.Consumer, w broker.Want) *broker.Batch {
	t.Helper()
	b, err := c.Poll(bounded(t), w)
	must(t, err)
	return b
}

func readAll(t testing.TB, b *broker.Broker, topic string) []broker.Record {
	t.Helper()
	r, err := b.Read(bounded(t), topic, broker.AllPartitions, broker.Start(), broker.End())
	must(t, err)
	defer r.Close()
	var all []broker.Record
	for {
		records, err := r.Next(bounded(t), 0)
		if err != nil {
			return all
		}
		all = append(all, records...)
	}
}

func place(r broker.Record) broker.Place {
	return broker.Place{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}
}

func values(records []broker.Record) []string {
	var list []string
	for _, r := range records {
		list = append(list, string(r.Value))
	}
	return list
}

func wantValues(t testing.TB, records []broker.Record, want ...string) {
	t.Helper()
	if got := values(records); !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
}

// logged is a log that tests look into.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

func (l *logged) options() Options {
	o := conformanceOptions
	o.Logger = slog.New(slog.NewTextHandler(l, nil))
	return o
}

func TestAPlainClientPublishesATicketAndReadsTheAnswer(t *testing.T) {
	s := servers.Start(t, servers.Options{})
	b, plain := open(t, s.URL(), conformanceOptions), s.Client()
	create(t, b, "tickets", 1)
	create(t, b, "answers", 1)
	c := join(t, b, "desk", "tickets")
	for _, fields := range [][]any{
		{"value", "the ticket", "key", "c17", "language", "en"},
		{"text", "my parcel is late", "key", "c18"},
	} {
		must(t, plain.XAdd(bounded(t), &redis.XAddArgs{Stream: "{millrace}:tickets:0", Values: fields}).Err())
	}
	batch := poll(t, c, broker.Want{Records: 2, Wait: 20 * time.Second})
	wantValues(t, batch, "the ticket", `{"text":"my parcel is late"}`)
	if r := batch[0]; string(r.Key) != "c17" || string(r.Header("language")) != "en" || time.Since(r.Time).Abs() > time.Minute {
		t.Errorf("the first ticket is %+v", r)
	}
	must(t, c.Settle(bounded(t), broker.Record{
		Topic: "answers", Pinned: true, Key: []byte("c17"), Value: []byte("an answer"),
		Headers: []broker.Header{{Key: "mr-service", Value: []byte("desk")}},
	}))
	entries, err := plain.Do(bounded(t), "XRANGE", "{millrace}:answers:0", "-", "+").Slice()
	must(t, err)
	if got := fmt.Sprint(entries[0].([]any)[1]); got != "[key c17 value an answer mr-service desk]" {
		t.Errorf("the plain client reads %s", got)
	}
}

func TestHeadersMayBeNamedKeyAndValue(t *testing.T) {
	s := servers.Start(t, servers.Options{})
	b := open(t, s.URL(), conformanceOptions)
	create(t, b, "tickets", 1)
	sent := pinned("tickets", "v")
	sent.Headers = []broker.Header{{Key: "value", Value: []byte("1")}, {Key: "key", Value: []byte("2")}, {Key: "", Value: nil}}
	publish(t, b, sent)
	got := readAll(t, b, "tickets")
	if len(got) != 1 || len(got[0].Key) != 0 || string(got[0].Value) != "v" || fmt.Sprint(got[0].Headers) != fmt.Sprint(sent.Headers) {
		t.Errorf("got %+v", got)
	}
}

func TestXInfoGroupsShowsTheTruth(t *testing.T) {
	s := servers.Start(t, servers.Options{})
	b, plain := open(t, s.URL(), conformanceOptions), s.Client()
	create(t, b, "tickets", 1)
	for i := range 10 {
		publish(t, b, pinned("tickets", strconv.Itoa(i)))
	}
	check := func(when string, lag int64) {
		t.Helper()
		groups, err := plain.XInfoGroups(bounded(t), "{millrace}:tickets:0").Result()
		must(t, err)
		if len(groups) != 1 || groups[0].Name != "desk" || groups[0].Lag != lag || groups[0].EntriesRead != 10-lag {
			t.Errorf("%s: XINFO GROUPS tells %+v, want a lag of %d", when, groups, lag)
		}
	}
	c := join(t, b, "desk", "tickets")
	check("after joining", 10)
	first, second := batch(t, c, broker.Want{Records: 3}), batch(t, c, broker.Want{Records: 1})
	poll(t, c, broker.Want{Records: 1})
	check("with three batches open", 10)
	must(t, first.Settle(bounded(t)))
	check("after the first is settled", 7)
	must(t, second.Settle(bounded(t)))
	check("after the second is settled", 6)
	must(t, c.Close(bounded(t)))
	all := readAll(t, b, "tickets")
	must(t, b.Seek(bounded(t), "desk", "tickets", broker.Offset(all[2].Offset)))
	check("after a seek", 8)
	must(t, b.Seek(bounded(t), "desk", "tickets", broker.End()))
	check("after a seek to the end", 0)
}

func TestLagCountsWhatOthersHaveDeletedOneByOne(t *testing.T) {
	s := servers.Start(t, servers.Options{})
	b, plain := open(t, s.URL(), conformanceOptions), s.Client()
	create(t, b, "tickets", 1)
	for i := range 200 {
		publish(t, b, pinned("tickets", strconv.Itoa(i)))
	}
	c := join(t, b, "desk", "tickets")
	poll(t, c, broker.Want{Records: 50})
	must(t, c.Settle(bounded(t)))
	for _, i := range []int{3, 100, 150} {
		at := id(readAll(t, b, "tickets")[i].Offset)
		must(t, plain.XDel(bounded(t), "{millrace}:tickets:0", at.String()).Err())
	}
	lags, err := b.Lag(bounded(t), "desk")
	must(t, err)
	if len(lags) != 1 || lags[0].Lag != 148 {
		t.Errorf("the lag is %+v, want 148", lags)
	}
}

func waitFor(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestRetentionDeletesByAgeAndByBytes(t *testing.T) {
	s := servers.Start(t, servers.Options{})
	o := conformanceOptions
	o.retentionInterval = 20 * time.Millisecond
	b := open(t, s.URL(), o)
	must(t, b.CreateTopics(bounded(t),
		broker.Topic{Name: "aged", Partitions: 1, Retention: 50 * time.Millisecond},
		broker.Topic{Name: "large", Partitions: 1, RetentionBytes: 64 << 10},
		broker.Topic{Name: "kept", Partitions: 1}))
	for _, topic := range []string{"aged", "large", "kept"} {
		var records []broker.Record
		for i := range 3000 {
			records = append(records, pinned(topic, fmt.Sprintf("%0100d", i)))
		}
		publish(t, b, records...)
	}
	c := join(t, b, "g", "aged")
	count := func(topic string) int64 {
		infos, err := b.Topics(bounded(t))
		must(t, err)
		i := slices.IndexFunc(infos, func(info broker.TopicInfo) bool { return info.Name == topic })
		return infos[i].Ends[0].Records
	}
	waitFor(t, "old records are deleted", func() bool { return count("aged") <= 100 })
	waitFor(t, "records beyond the bytes are deleted", func() bool { return count("large") < 1000 })
	if n := count("large"); n < 300 {
		t.Errorf("only %d records of 100 bytes are left of 64 KiB", n)
	}
	if n := count("kept"); n != 3000 {
		t.Errorf("%d records are left of a topic that keeps all 3000", n)
	}
	lags, err := b.Lag(bounded(t), "g")
	must(t, err)
	if lags[0].Lag > 100 {
		t.Errorf("the lag counts deleted records: %+v", lags)
	}
	// The group goes on with what there is.
	publish(t, b, pinned("aged", "next"))
	for {
		batch := poll(t, c, broker.Want{})
		must(t, c.Settle(bounded(t)))
		if string(batch[len(batch)-1].Value) == "next" {
			break
		}
	}
}

func contextFor(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// A million entries of one millisecond do not fit into offsets.
func TestAClockThatStandsStillUsesUpItsNumbersAndGoesOn(t *testing.T) {
	s := servers.Start(t, servers.Options{})
	b := open(t, s.URL(), conformanceOptions)
	create(t, b, "in", 1)
	future := time.Now().Add(time.Hour).UnixMilli()
	must(t, s.Client().XAdd(bounded(t), &redis.XAddArgs{
		Stream: "{millrace}:in:0", ID: fmt.Sprintf("%d-999997", future), Values: []any{"value", "0"},
	}).Err())
	want := []string{"0"}
	var places []broker.Place
	for range 2 {
		var records []broker.Record
		for range 3 {
			want = append(want, strconv.Itoa(len(want)))
			records = append(records, pinned("in", want[len(want)-1]))
		}
		places = append(places, publish(t, b, records...)...)
	}
	got := readAll(t, b, "in")
	wantValues(t, got, want...)
	for i, r := range got[1:] {
		if places[i] != place(r) {
			t.Errorf("a record at %v was said to be at %v", place(r), places[i])
		}
	}
	if last := id(got[len(got)-1].Offset); last.String() != fmt.Sprintf("%d-3", future+1) {
		t.Errorf("the last id is %v", last)
	}
}

func TestAServerThatWouldDeleteRecordsIsRefused(t *testing.T) {
	s := servers.Start(t, servers.Options{Args: []string{"--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"}})
	_, err := Open(bounded(t), s.URL(), conformanceOptions)
	if err == nil || !strings.Contains(err.Error(), "noeviction") {
		t.Errorf("got %v", err)
	}
}

func TestTheWrongPasswordIsAnErrorWithoutIt(t *testing.T) {
	s := servers.Start(t, servers.Options{Password: "the-right-one"})
	open(t, "redis://:the-right-one@"+s.Addr(), conformanceOptions)
	_, err := Open(bounded(t), "redis://:the-wrong-one@"+s.Addr(), conformanceOptions)
	if err == nil || !strings.Contains(err.Error(), "WRONGPASS") || strings.Contains(err.Error(), "wrong-one") {
		t.Errorf("got %v", err)
	}
	if _, err := Open(bounded(t), s.URL(), conformanceOptions); err == nil || !strings.Contains(err.Error(), "NOAUTH") {
		t.Errorf("without a password: %v", err)
	}
}
