// SPDX-License-Identifier: Apache-2.0

//go:build !race

package tagger_test

import (
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/text/tagger"
	"github.com/millrace-ml/millrace/text/token"
)

// Under the race detector sync.Pool forgets at random, so this is not counted
// there.
func TestTaggingAllocatesNothing(t *testing.T) {
	text := strings.Repeat("the X30 stops in the hall, where's my order RH-4821? ", 20)
	tokens := token.Append(nil, text)
	model := tagger.English()
	tags := model.Append(nil, text, tokens)
	if n := testing.AllocsPerRun(100, func() { tags = model.Append(tags[:0], text, tokens) }); n > 0.1 {
		t.Errorf("%v allocations", n)
	}
}
