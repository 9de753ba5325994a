// SPDX-License-Identifier: Apache-2.0

package nearest_test

import (
	"fmt"

	"github.com/millrace-ml/millrace/text/embed"
	"github.com/millrace-ml/millrace/text/nearest"
)

func ExampleIndex_Search() {
	e := embed.Default()
	x, err := nearest.New([]nearest.Item{
		nearest.Describe(e, "dock", "Robot does not charge", []string{"the battery stays empty on the dock"}, nil),
		nearest.Describe(e, "leak", "Coffee machine leaks", []string{"water runs out under the machine"}, nil),
	}, e.Dim(), nearest.DefaultOptions())
	if err != nil {
		panic(err)
	}
	vector := make([]float32, e.Dim())
	e.Embed(vector, "there is a puddle below my coffee machine")
	for _, m := range x.Search(nil, vector, 1) {
		fmt.Println(x.Item(m.Item).Title)
	}
	e.Embed(vector, "I would like to apply for the job as an accountant")
	fmt.Println(len(x.Search(nil, vector, 1)), "matches")
	// Output:
	// Coffee machine leaks
	// 0 matches
}
