// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"testing"
	"testing/synctest"
)

func TestAFullQueueMakesItsProducerWait(t *testing.T) {
	for name, size := range map[string]int{"of items": 1, "of bytes": batchBytes / 8} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQueue[int]()
				put := 0
				go func() {
					for put < 2*batchRecords && q.put(put, size) {
						put++
					}
					q.end()
				}()
				synctest.Wait()
				room := min(batchRecords, batchBytes/size)
				if put != room {
					t.Fatalf("%d items were put, there is room for %d", put, room)
				}
				next := 0
				for batch := q.take(); len(batch) > 0; batch = q.take() {
					for _, n := range batch {
						if n != next {
							t.Fatalf("took %d, want %d", n, next)
						}
						next++
					}
				}
				if next != 2*batchRecords {
					t.Errorf("took %d items of %d", next, 2*batchRecords)
				}
			})
		})
	}
}

func TestAStoppedQueueLetsBothSidesGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue[int]()
		taken := make(chan []int)
		go func() { taken <- q.take() }()
		synctest.Wait()
		q.stop()
		if got := <-taken; got != nil {
			t.Errorf("took %v", got)
		}
		if q.put(1, 1) {
			t.Error("an item was put that nobody takes")
		}
	})
}
