// SPDX-License-Identifier: Apache-2.0

package classifier_test

import (
	"context"
	"fmt"

	"github.com/millrace-ml/millrace/text/classifier"
)

func ExampleModel_Predict() {
	m := classifier.English()
	for _, text := range []string{
		"my robot does not charge any more",
		"Where is my parcel? It should have come on Monday.",
		"I want to send it back and get my money back",
	} {
		_, best := m.Predict(nil, classifier.Tag(text))
		fmt.Println(m.Label(best))
	}
	// Output:
	// help_needed
	// delivery
	// return_refund
}

func ExampleTrain() {
	var examples []classifier.Example
	for _, text := range []string{"turn on the light", "lights on please", "switch the lamp on"} {
		examples = append(examples, classifier.Example{Tagged: classifier.Tag(text), Label: "on"})
	}
	for _, text := range []string{"turn off the light", "lights off please", "switch the lamp off"} {
		examples = append(examples, classifier.Example{Tagged: classifier.Tag(text), Label: "off"})
	}
	o, t := classifier.Options()
	t.Folds = -1 // too few to calibrate on
	m, err := classifier.Train(context.Background(), examples, o, t)
	if err != nil {
		panic(err)
	}
	_, best := m.Predict(nil, classifier.Tag("please switch off that lamp"))
	fmt.Println(m.Label(best))
	// Output: off
}
