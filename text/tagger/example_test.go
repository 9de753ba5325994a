// SPDX-License-Identifier: Apache-2.0

package tagger_test

import (
	"fmt"

	"github.com/millrace-ml/millrace/text/tagger"
	"github.com/millrace-ml/millrace/text/token"
)

func Example() {
	text := "my robovac won't charge"
	tokens := token.Append(nil, text)
	for i, tag := range tagger.English().Append(nil, text, tokens) {
		fmt.Println(tokens[i].Of(text), tag)
	}
	// Output:
	// my PRON
	// robovac NOUN
	// wo AUX
	// n't PART
	// charge VERB
}
