// SPDX-License-Identifier: Apache-2.0

package brokers_test

import (
	"testing"

	"github.com/millrace-ml/millrace/brokers"
)

func TestTheSameBrokerIsKnownByOtherURLs(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"kafka://a", "kafkas://user:p%40ss@B:9092,A:9092/?acks=all", true},
		{"kafka://a:9092,b:9092", "kafka://c:9092", false},
		{"kafka://a", "redis://a", false},
		{"redis://a", "rediss://user:word@a:6379/0?namespace=millrace", true},
		{"redis://[::1]", "redis://[::1]:6379", true},
		{"redis://a", "redis://a/1", false},
		{"redis://a", "redis://a?namespace=other", false},
		{"redis://a", "redis://a:6380", false},
		{"embedded", "embedded", false},
		{"nothing://a", "nothing://a", false},
	} {
		if got := brokers.Same(c.a, c.b); got != c.same {
			t.Errorf("Same(%s, %s) is %v", c.a, c.b, got)
		}
	}
}
