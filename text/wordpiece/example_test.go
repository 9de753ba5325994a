// SPDX-License-Identifier: Apache-2.0

package wordpiece_test

import (
	"fmt"

	"github.com/millrace-ml/millrace/text/wordpiece"
)

func ExampleTokenizer_AppendIDs() {
	t, err := wordpiece.New([]string{"[UNK]", "robo", "##vac", "does", "n", "'", "t", "charge"})
	if err != nil {
		panic(err)
	}
	for _, id := range t.AppendIDs(nil, "RoboVac doesn't charge!") {
		fmt.Print(t.Token(id), " ")
	}
	// Output: robo ##vac [UNK] ' t charge [UNK]
}
