// SPDX-License-Identifier: Apache-2.0

package builtin_test

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/model/builtin"
)

// A built-in model reads a text, or a JSON object with one, and answers JSON.
func ExampleNew() {
	m, err := builtin.New(context.Background(), "sentiment", nil, "")
	if err != nil {
		panic(err)
	}
	answers, err := m.Predict(context.Background(), []model.Item{
		{Value: []byte(`{"text":"Thank you so much, it works again!"}`)}, {Value: []byte(`{"txet":"?"}`)},
	})
	if err != nil {
		panic(err)
	}
	var mood struct{ Label string }
	if err := json.Unmarshal(answers[0].Values[0], &mood); err != nil {
		panic(err)
	}
	fmt.Println(m.Name(), mood.Label)
	fmt.Println(answers[1].Err)
	// Output:
	// sentiment@1 positive
	// there is no field "text"; it has "txet"
}
