// SPDX-License-Identifier: Apache-2.0

package brokertest_test

import (
	"fmt"

	"github.com/millrace-ml/millrace/broker/brokertest"
)

// A program that answers messages is killed now and then; afterwards its output
// is entered in the ledger that was kept while publishing.
func ExampleLedger() {
	var ledger brokertest.Ledger
	for range 4 {
		n := ledger.Issue("customer-7")
		// … publish a message that carries n …
		ledger.Acknowledge("customer-7", n)
	}
	for offset, n := range []int64{1, 3, 3, 4} {
		ledger.See("answers", "customer-7", n, brokertest.Place{Topic: "answers", Partition: 2, Offset: int64(offset)})
	}
	fmt.Println(ledger.Audit("answers").Err())
	// Output:
	// 4 records seen: 1 lost, 1 duplicated, 0 reordered
	// 	duplicated: key "customer-7" number 3: answers/2/1 and answers/2/2
	// 	lost: key "customer-7" number 2 (number 1: answers/2/0, number 3: answers/2/1)
}
