// SPDX-License-Identifier: Apache-2.0

package ledger_test

import (
	"fmt"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/test/ledger"
)

// A program that answers messages is killed now and then; afterwards its output
// is entered in the ledger that was kept while publishing.
func ExampleLedger() {
	var l ledger.Ledger
	for range 4 {
		n := l.Issue("customer-7")
		// … publish a message that carries n …
		l.Acknowledge("customer-7", n)
	}
	for offset, n := range []int64{1, 3, 3, 4} {
		l.See("answers", "customer-7", n, broker.Place{Topic: "answers", Partition: 2, Offset: int64(offset)})
	}
	fmt.Println(l.Audit("answers").Err())
	// Output:
	// 4 records seen: 1 lost, 1 duplicated, 0 reordered
	// 	duplicated: key "customer-7" number 3: answers/2/1 and answers/2/2
	// 	lost: key "customer-7" number 2 (number 1: answers/2/0, number 3: answers/2/1)
}
