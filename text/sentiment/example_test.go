// SPDX-License-Identifier: Apache-2.0

package sentiment_test

import (
	"fmt"

	"github.com/millrace-ml/millrace/text/sentiment"
)

func ExampleModel_Predict() {
	m := sentiment.English()
	for _, text := range []string{
		"Thank you so much, it works perfectly again!",
		"this is the worst machine i have ever owned",
		"Which filter fits the AirPure 500?",
	} {
		_, best := m.Predict(nil, text)
		fmt.Println(m.Label(best))
	}
	// Output:
	// positive
	// negative
	// neutral
}
