// SPDX-License-Identifier: Apache-2.0

package embed_test

import (
	"math"
	"testing"

	"github.com/millrace-ml/millrace/text/embed"
)

func vector(t testing.TB, text string) []float32 {
	t.Helper()
	m := embed.Default()
	v := make([]float32, m.Dim())
	m.Embed(v, text)
	return v
}

func TestLikeMeaningIsNear(t *testing.T) {
	a := vector(t, "My vacuum robot does not charge any more")
	near := vector(t, "the battery of the robo vac stays empty on its dock")
	far := vector(t, "Where is my parcel? It should have arrived on Monday")
	if embed.Dot(a, near) < embed.Dot(a, far)+0.1 {
		t.Errorf("near %.3f, far %.3f", embed.Dot(a, near), embed.Dot(a, far))
	}
	if n := embed.Dot(a, a); math.Abs(float64(n)-1) > 1e-5 {
		t.Errorf("a vector's length is %v", n)
	}
}

func BenchmarkEmbed(b *testing.B) {
	m := embed.Default()
	v := make([]float32, m.Dim())
	b.ReportAllocs()
	for b.Loop() {
		m.Embed(v, "I am still waiting on my card, what can I do?")
	}
}
