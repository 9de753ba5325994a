// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/broker"
	servers "github.com/millrace-ml/millrace/internal/test/servers/redis"
)

func TestTwoOfTheLargestTopicsAreJoined(t *testing.T) {
	s := servers.Start(t, servers.Options{})
	b := open(t, s.URL(), rarelyBeating())
	create(t, b, "in", 4096)
	create(t, b, "also", 4096)
	publish(t, b, broker.Record{Topic: "in", Partition: 4095, Pinned: true, Value: []byte("a")})
	c := join(t, b, "g", "in", "also")
	wantValues(t, poll(t, c, broker.Want{}), "a")
	must(t, c.Settle(bounded(t)))
}

// An entry whose id is no time in milliseconds stops its own partition only, until
// it is deleted; groups, topics and everything else about the topic can be had.
func TestAnEntryWithAForeignIDStopsItsPartitionOnly(t *testing.T) {
	s := servers.Start(t, servers.Options{})
	b := open(t, s.URL(), rarelyBeating())
	create(t, b, "in", 2)
	to := func(partition int32, value string) broker.Record {
		return broker.Record{Topic: "in", Partition: partition, Pinned: true, Value: []byte(value)}
	}
	publish(t, b, to(0, "before"))
	redis := s.Client()
	const stream, foreign = "{millrace}:in:0", "1790000000000000-0"
	last, err := redis.XRevRangeN(t.Context(), stream, "+", "-", 1).Result()
	must(t, err)
	must(t, redis.Do(t.Context(), "XADD", stream, foreign, "value", "foreign").Err())

	c := join(t, b, "g", "in")
	wantValues(t, poll(t, c, broker.Want{}), "before")
	publish(t, b, to(1, "other"))
	wantValues(t, poll(t, c, broker.Want{}), "other")
	must(t, c.Settle(bounded(t)))
	if _, err := b.Publish(bounded(t), to(1, "none"), to(0, "none")); err == nil || !strings.Contains(err.Error(), stream) {
		t.Errorf("published behind the entry with %v, want an error that names the stream", err)
	}
	wantValues(t, readAll(t, b, "in"), "before", "other")
	if _, err := b.Topics(bounded(t)); err != nil {
		t.Error(err)
	}
	if lags, err := b.Lag(bounded(t), "g"); err != nil || lags[0].Lag != 1 || lags[1].Lag != 0 {
		t.Errorf("lag %v, %v; want the one entry", lags, err)
	}
	for _, at := range []broker.Position{broker.Start(), broker.End(), broker.Offset(7)} {
		must(t, b.Seek(bounded(t), "other", "in", at))
	}
	late := join(t, b, "other", "in") // from offset 7 on

	must(t, redis.XDel(t.Context(), stream, foreign).Err())
	must(t, redis.Do(t.Context(), "XSETID", stream, last[0].ID).Err())
	publish(t, b, to(0, "after"))
	wantValues(t, poll(t, c, broker.Want{}), "after")
	wantValues(t, poll(t, late, broker.Want{Records: 3, Wait: 0}), "before", "other", "after")
}
