// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"testing"
	"time"
)

func TestANodeIsKilledAndComesBack(t *testing.T) {
	c := ForTest(t, Options{})
	n := c.Nodes[0]
	n.Kill()
	if err := c.ready(n); err == nil {
		t.Fatal("a killed node answers")
	}
	began := time.Now()
	if err := n.Restart(); err != nil {
		t.Fatal(err)
	}
	t.Logf("ready after %v", time.Since(began))
}
