// SPDX-License-Identifier: Apache-2.0

package keywords_test

import (
	"fmt"

	"github.com/millrace-ml/millrace/text/keywords"
	"github.com/millrace-ml/millrace/text/tagger"
	"github.com/millrace-ml/millrace/text/token"
)

func Example() {
	e, err := keywords.New(keywords.Options{Products: []string{"RoboVac X30", "AirPure 500"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	a := "The x-30 leaves its docking station with a flat battery."
	b := "Two weeks with the robovac x thirty: no complaints!"
	var first, second keywords.Result
	tokens := token.Append(nil, a)
	e.Extract(&first, a, tokens, tagger.English().Append(nil, a, tokens))
	tokens = token.Append(nil, b)
	e.Extract(&second, b, tokens, tagger.English().Append(nil, b, tokens))
	for _, p := range first.Phrases {
		fmt.Println(a[p.Start:p.End])
	}
	fmt.Println(e.Products()[first.Products[0]], keywords.SameProduct(&first, &second))
	// Unordered output:
	// docking station
	// flat battery
	// RoboVac X30 true
}
