// SPDX-License-Identifier: Apache-2.0

//go:build !race

package embed_test

import (
	"testing"

	"github.com/millrace-ml/millrace/text/embed"
)

// The race detector makes pools forget at random, so allocations say nothing
// under it.

func TestEmbedDoesNotAllocate(t *testing.T) {
	m := embed.Default()
	v := make([]float32, m.Dim())
	if n := testing.AllocsPerRun(100, func() { m.Embed(v, "I am still waiting on my card, what can I do?") }); n > 0.1 {
		t.Errorf("%v allocations", n)
	}
}
