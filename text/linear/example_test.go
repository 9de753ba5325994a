// SPDX-License-Identifier: Apache-2.0

package linear_test

import (
	"context"
	"fmt"

	"github.com/millrace-ml/millrace/text/linear"
)

func ExampleTrain() {
	o := linear.DefaultOptions()
	add := func(label int, text string) linear.Example {
		v := new(linear.Vector)
		v.AddText(&o, text)
		return linear.Example{Vector: v, Label: label}
	}
	m, err := linear.Train(context.Background(), o, []string{"ham", "spam"}, []linear.Example{
		add(0, "shall we meet for lunch?"), add(0, "lunch on friday"), add(0, "see you at the meeting"),
		add(1, "win money now"), add(1, "cheap money for you"), add(1, "you win a prize"),
	}, linear.Training{Folds: -1})
	if err != nil {
		panic(err)
	}
	v := new(linear.Vector)
	v.AddText(&o, "win cheap prizes")
	_, best := m.Probabilities(nil, v)
	fmt.Println(m.Label(best))
	// Output: spam
}
