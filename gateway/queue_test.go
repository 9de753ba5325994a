// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"testing"
	"testing/synctest"
)

func TestAFullQueueMakesItsProducerWait(t *testing.T) {
	for name, size := range map[string]int{"of items": 1, "of bytes": uploadBytes / 8} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQueue[int](uploadLines, uploadBytes)
				put := 0
				go func() {
					for put < 2*uploadLines && q.put(put, size) {
						put++
					}
					q.end()
				}()
				synctest.Wait()
				room := min(uploadLines, uploadBytes/size)
				if put != room {
					t.Fatalf("%d items were put, there is room for %d", put, room)
				}
				next := 0
				for batch, _ := q.take(); len(batch) > 0; batch, _ = q.take() {
					for _, n := range batch {
						if n != next {
							t.Fatalf("took %d, want %d", n, next)
						}
						next++
					}
				}
				if next != 2*uploadLines {
					t.Errorf("took %d items of %d", next, 2*uploadLines)
				}
			})
		})
	}
}

func TestAStoppedQueueLetsBothSidesGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue[int](uploadLines, uploadBytes)
		taken := make(chan []int)
		go func() {
			items, _ := q.take()
			taken <- items
		}()
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
