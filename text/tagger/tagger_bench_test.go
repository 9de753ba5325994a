// SPDX-License-Identifier: Apache-2.0

package tagger_test

import (
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/text/tagger"
	"github.com/millrace-ml/millrace/text/token"
)

// messages are as varied as a benchmark needs: a word seen a moment ago is
// cheap, as its weights are still in the cache.
var messages = strings.Split(`Hello, I bought the RoboVac X30 in March and since the last update it stops in the middle of the kitchen, any ideas?
the little steamer never faltered. god bless you all, from the ladies of the choir
My order RH-48213 was promised for Friday; today is Wednesday and nobody answers my e-mails!!
is the charging station of the mini also 24 volts or do i need another adapter for the summer house
Downstairs ceiling has a stain. Plumber says: not pipes. Then he lifted up the mop and water came running out.
I've thoroughly enjoyed the thirty-day trial and have come to see that I actually like mopping. Who'd have thought?
cancel it please, found the same thing cheaper at https://example.com/deals?id=7 :)
Two years with our coffee machine and every day begins with a smile; would you kindly walk me through the descaling programme`, "\n")

func BenchmarkAppend(b *testing.B) {
	t := tagger.English()
	tokens := make([][]token.Token, len(messages))
	words := 0
	for i, m := range messages {
		tokens[i] = token.Append(nil, m)
		words += len(tokens[i])
	}
	var tags []tagger.Tag
	b.ReportAllocs()
	for b.Loop() {
		for i, m := range messages {
			tags = t.Append(tags[:0], m, tokens[i])
		}
	}
	b.ReportMetric(float64(b.N*words)/b.Elapsed().Seconds(), "tokens/s")
}
