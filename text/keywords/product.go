// SPDX-License-Identifier: Apache-2.0

package keywords

import (
	"github.com/millrace-ml/millrace/text/tagger"
	"github.com/millrace-ml/millrace/text/token"
)

// family is the product of a spelling that several products share, such as
// "robovac" of "RoboVac X30" and "RoboVac Mini": a product is named, but
// which one is not said, so none is answered.
const family = 1 << 20

// maxSpan bounds how many tokens a name is spread over: "air - pure five hundred".
const maxSpan = 7

// find returns the product that is named from token i on and over how many
// tokens, 0 if there is none. The longest spelling wins, an exact one before
// one with a slip.
func (ix *index) find(text string, tokens []token.Token, tags []tagger.Tag, i int) (product, length int) {
	var buf [maxAlias + 8]byte
	joined := buf[:0]
	bestSlip := 0
	for n := 1; n <= maxSpan && i+n <= len(tokens); n++ {
		word := tokens[i+n-1].Of(text)
		if isHyphen(word) {
			if n == 1 {
				return 0, 0
			}
			continue
		}
		before := len(joined)
		joined = squash(joined, word)
		if len(joined) == before || len(joined) > maxAlias {
			break
		}
		if n == 1 && !ix.starts[joined[0]] {
			return 0, 0
		}
		if a, ok := ix.aliases[string(joined)]; ok {
			if !a.weak || plausible(text, tokens, tags, i, n, ix) {
				product, length, bestSlip = int(a.product), n, 0
			}
			continue
		}
		if n <= 3 && length == 0 && len(joined) >= minSlip {
			if p, ok := ix.slipped(joined); ok {
				product, bestSlip = p, n
			}
		}
	}
	if length == 0 && bestSlip > 0 {
		return product, bestSlip
	}
	return product, length
}

func isHyphen(word string) bool {
	switch word {
	case "-", "–", "‑", "_", "®", "™", "'", "’":
		return true
	}
	return false
}

// plausible tells whether a short everyday alias ("mini", "app") names the
// product here: not when it is part of another name or thing, as in "Mac mini"
// and "bank app".
func plausible(text string, tokens []token.Token, tags []tagger.Tag, i, n int, ix *index) bool {
	if i == 0 || tags[i-1] != tagger.PROPN && tags[i-1] != tagger.NOUN {
		return true
	}
	if gap(text, tokens, i) {
		return true
	}
	var buf [maxAlias + 8]byte
	word := squash(buf[:0], tokens[i-1].Of(text))
	return ix.brand[string(word)]
}
