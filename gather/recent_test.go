// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/broker"
)

// However answers come and go, the newest are there, within the bound.
func TestTheNewestAnswersAreKeptWithinTheBound(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var c recent
	newest := map[int64]int64{} // source → number of its last put
	for i := range int64(20_000) {
		source := random.Int64N(1000)
		if random.IntN(4) == 0 {
			c.drop(source)
			delete(newest, source)
			continue
		}
		c.put(source, &broker.Record{Offset: i, Value: make([]byte, random.IntN(64<<10))})
		newest[source] = i
		sum := 0
		for _, kept := range c.answers {
			sum += kept.answer.Size()
		}
		if sum != c.bytes || c.bytes > maxRecent || len(c.order) > 2*len(c.answers)+65 {
			t.Fatalf("put %d: %d bytes are counted, %d there, of at most %d; %d turns of %d answers", i, c.bytes, sum, maxRecent, len(c.order), len(c.answers))
		}
		if r := c.get(source); r == nil || r.Offset != i {
			t.Fatalf("put %d is not there", i)
		}
	}
	for source, kept := range c.answers {
		if kept.answer.Offset != newest[source] {
			t.Errorf("source %d has answer %d, not %d", source, kept.answer.Offset, newest[source])
		}
	}
	c.put(1, &broker.Record{Value: make([]byte, maxRecent+1)})
	if c.get(1) != nil || c.bytes != 0 {
		t.Errorf("one beyond the bound: %d bytes are kept", c.bytes)
	}
}
