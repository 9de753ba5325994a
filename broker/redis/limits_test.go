// SPDX-License-Identifier: Apache-2.0

package redis

import (
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
