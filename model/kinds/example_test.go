// SPDX-License-Identifier: Apache-2.0

package kinds_test

import (
	"fmt"

	"github.com/millrace-ml/millrace/model/kinds"
)

// What a pipeline file can name.
func ExampleAll() {
	for _, kind := range kinds.All(nil) {
		fmt.Println(kind.Name)
	}
	// Output:
	// builtin
	// go
}
