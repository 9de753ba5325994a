// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"fmt"

	"github.com/millrace-ml/millrace/text/metrics"
)

func ExampleConfusion() {
	c := metrics.NewConfusion([]string{"spam", "ham"})
	for range 8 {
		c.Add(1, 1)
	}
	c.Add(0, 0)
	c.Add(0, 1)
	fmt.Printf("accuracy %.2f, macro-F1 %.2f\n", c.Accuracy(), c.MacroF1())
	fmt.Print(c.Matrix())
	// Output:
	// accuracy 0.90, macro-F1 0.80
	// truth   spam    ham
	// spam       1      1
	// ham        0      8
}
