// SPDX-License-Identifier: Apache-2.0

package tagger

import (
	"math/rand/v2"
	"strings"

	"github.com/millrace-ml/millrace/text/conllu"
)

// augment makes the examples: each sentence as it is, and once more as a
// customer might type it.
func augment(sentences []conllu.Sentence, random *rand.Rand) ([]example, error) {
	var examples []example
	for i := range sentences {
		e, err := exampleOf(sentences[i].Words)
		if err != nil {
			return nil, err
		}
		examples = append(examples, e)
		e, err = exampleOf(careless(sentences[i].Words, random))
		if err != nil {
			return nil, err
		}
		if len(e.tokens) > 0 {
			examples = append(examples, e)
		}
	}
	return examples, nil
}

// careless lower-cases the words and drops the final punctuation.
func careless(words []conllu.Word, _ *rand.Rand) []conllu.Word {
	out := make([]conllu.Word, 0, len(words))
	for _, w := range words {
		w.Form = strings.ToLower(w.Form)
		out = append(out, w)
	}
	return Unpunctuated(out)
}

// Unpunctuated drops the punctuation that ends a sentence.
func Unpunctuated(words []conllu.Word) []conllu.Word {
	for len(words) > 0 && words[len(words)-1].UPOS == "PUNCT" {
		words = words[:len(words)-1]
	}
	return words
}
