// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"context"
	"fmt"
	"sync/atomic"
)

// stickyRun is how many keyless records of a call go to one partition before the
// next one has its turn. Many in one append are cheaper to store and to read.
const stickyRun = 128

// sticky chooses partitions for records without a key.
type sticky struct{ turn atomic.Uint32 }

func (s *sticky) next(n int) int32 { return int32(s.turn.Add(1) % uint32(n)) }

// route checks records and finds the partition of each, so that nothing is
// appended when one of them cannot be.
func (b *Broker) route(ctx context.Context, records []Record) ([]int32, error) {
	if len(records) == 0 {
		return nil, nil
	}
	partitions := make([]int32, len(records))
	topic, n := "", 0
	var anywhere int32 // where records without a key go
	run := 0           // how many more of them
	for i := range records {
		r := &records[i]
		if n := len(r.Headers); n > MaxHeaders {
			return nil, &TooLargeError{Index: i, Size: n, Limit: MaxHeaders, Headers: true}
		}
		if size := r.Size(); size > b.o.MaxRecordBytes {
			return nil, &TooLargeError{Index: i, Size: size, Limit: b.o.MaxRecordBytes}
		}
		if i == 0 || r.Topic != topic {
			var err error
			if n, err = b.partitions(ctx, r.Topic); err != nil {
				return nil, fmt.Errorf("record %d: %w", i, err)
			}
			topic, run = r.Topic, 0
		}
		switch {
		case r.Pinned:
			if r.Partition < 0 || int(r.Partition) >= n {
				return nil, fmt.Errorf("record %d is pinned to partition %d of topic %s, which has %d", i, r.Partition, topic, n)
			}
			partitions[i] = r.Partition
		case len(r.Key) > 0:
			partitions[i] = PartitionOf(r.Key, n)
		default:
			if run == 0 {
				anywhere, run = b.keyless.next(n), stickyRun
			}
			run--
			partitions[i] = anywhere
		}
	}
	return partitions, nil
}
