// SPDX-License-Identifier: Apache-2.0

package recordbatch_test

import (
	"errors"
	"fmt"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded/recordbatch"
)

// A batch of two records, written and read.
func Example() {
	records := []broker.Record{{Key: []byte("ann"), Value: []byte("hello")}, {Key: []byte("bob"), Value: []byte("good night")}}
	batch := make([]byte, recordbatch.HeaderLen)
	for i := range records {
		batch = recordbatch.AppendRecord(batch, i, &records[i])
	}
	recordbatch.Finish(batch, recordbatch.None, 1000, len(records), 1767870000000)

	h, err := recordbatch.Parse(batch)
	if err != nil {
		fmt.Println(err)
		return
	}
	plain, err := recordbatch.AppendRecords(nil, batch, h)
	if err != nil {
		fmt.Println(err)
		return
	}
	r := recordbatch.NewReader(plain, h.BaseOffset, int(h.Count))
	var arena recordbatch.Headers
	for r.Left() > 0 {
		var record broker.Record
		if err := r.Next(&record, &arena); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%d %s: %s\n", record.Offset, record.Key, record.Value)
	}
	batch[len(batch)-1]++
	_, err = recordbatch.Parse(batch)
	fmt.Println(errors.Is(err, recordbatch.ErrCorrupt))
	// Output:
	// 1000 ann: hello
	// 1001 bob: good night
	// true
}
