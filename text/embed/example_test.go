// SPDX-License-Identifier: Apache-2.0

package embed_test

import (
	"fmt"

	"github.com/millrace-ml/millrace/text/embed"
)

func Example() {
	m := embed.Default()
	near := func(a, b string) float32 {
		x, y := make([]float32, m.Dim()), make([]float32, m.Dim())
		m.Embed(x, a)
		m.Embed(y, b)
		return embed.Dot(x, y)
	}
	fmt.Println(near("the coffee is cold", "my espresso does not get hot") > near("the coffee is cold", "where is my parcel?"))
	// Output: true
}
