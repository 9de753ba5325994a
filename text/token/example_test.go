// SPDX-License-Identifier: Apache-2.0

package token_test

import (
	"fmt"

	"github.com/millrace-ml/millrace/text/token"
)

func Example() {
	text := "my x-30 won't charge 😡"
	for _, t := range token.Append(nil, text) {
		fmt.Print(t.Of(text), "|")
	}
	// Output: my|x-30|wo|n't|charge|😡|
}
