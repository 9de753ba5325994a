// SPDX-License-Identifier: Apache-2.0

package tagger

import (
	"math/rand/v2"
	"strings"

	"github.com/millrace-ml/millrace/text/conllu"
)

// block is how many sentences in a row share a fold, as they are about the
// same things.
const block = 20

// joined is how often a careless sentence is followed by the next one: a
// customer's message is seldom a single sentence.
const joined = 0.3

// augment makes the examples: each sentence as it is, and once more as a
// customer may type it.
func augment(sentences []conllu.Sentence, random *rand.Rand) ([]*example, error) {
	examples := make([]*example, 0, 2*len(sentences))
	for i := range sentences {
		typed := careless(sentences[i].Words, random)
		if i+1 < len(sentences) && random.Float64() < joined {
			typed = append(typed, careless(sentences[i+1].Words, random)...)
		}
		for _, words := range [][]conllu.Word{sentences[i].Words, typed} {
			e, err := exampleOf(words)
			if err != nil {
				return nil, err
			}
			e.fold = i / block % folds
			if len(e.tokens) > 0 {
				examples = append(examples, e)
			}
		}
	}
	return examples, nil
}

// slips is how often a word of a careless sentence has a slip in it.
const slips = 0.02

// careless writes the words in lower case, without the punctuation at the end,
// and with a slip of the keyboard now and then.
func careless(words []conllu.Word, random *rand.Rand) []conllu.Word {
	out := Plain(words)
	for i := range out {
		if w := &out[i]; len(w.Form) > 4 && random.Float64() < slips {
			w.Form = slip(w.Form, random)
		}
	}
	return out
}

// slip swaps, drops or doubles a letter that is not the first.
func slip(word string, random *rand.Rand) string {
	for i := range len(word) {
		if word[i] < 'a' || word[i] > 'z' {
			return word
		}
	}
	i := 1 + random.IntN(len(word)-2)
	switch random.IntN(3) {
	case 0:
		return word[:i] + word[i+1:i+2] + word[i:i+1] + word[i+2:]
	case 1:
		return word[:i] + word[i+1:]
	}
	return word[:i] + word[i:i+1] + word[i:]
}

// Plain returns the words in lower case and without the punctuation that ends
// the sentence, as people write in a chat.
func Plain(words []conllu.Word) []conllu.Word {
	for len(words) > 0 && words[len(words)-1].UPOS == PUNCT.String() {
		words = words[:len(words)-1]
	}
	out := make([]conllu.Word, len(words))
	for i, w := range words {
		w.Form = strings.ToLower(w.Form)
		out[i] = w
	}
	return out
}
