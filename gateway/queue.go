// SPDX-License-Identifier: Apache-2.0

package gateway

import "sync"

// queue hands what one goroutine puts to another, which takes all there is. So a
// slow stream is handed on item by item and a fast one in full batches.
type queue[T any] struct {
	mu      sync.Mutex
	changed sync.Cond
	items   []T
	bytes   int
	most    int  // items that wait to be taken
	limit   int  // bytes that do, about
	ended   bool // nothing more will be put
	stopped bool // nothing more will be taken
}

// newQueue makes a queue in which at most so many items wait, and about so many
// bytes.
func newQueue[T any](items, bytes int) *queue[T] {
	q := &queue[T]{most: items, limit: bytes}
	q.changed.L = &q.mu
	return q
}

// put adds an item, when there is room for it, and reports whether it may still
// be taken.
func (q *queue[T]) put(item T, size int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.stopped && (len(q.items) >= q.most || q.bytes >= q.limit) {
		q.changed.Wait()
	}
	if q.stopped {
		return false
	}
	q.items = append(q.items, item)
	q.bytes += size
	q.changed.Broadcast()
	return true
}

// take waits for items and takes them all, and tells their size. There are none at
// the end, or once the queue was stopped.
func (q *queue[T]) take() ([]T, int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) == 0 && !q.ended && !q.stopped {
		q.changed.Wait()
	}
	if q.stopped {
		return nil, 0
	}
	items, size := q.items, q.bytes
	q.items, q.bytes = nil, 0
	q.changed.Broadcast()
	return items, size
}

func (q *queue[T]) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	q.changed.Broadcast()
}

func (q *queue[T]) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	q.changed.Broadcast()
}
