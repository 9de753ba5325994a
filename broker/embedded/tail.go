// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"sort"
	"sync"
)

// entry is one append in a partition's log. Its bytes never change.
type entry struct {
	base    int64
	time    int64 // nanoseconds since 1970
	count   int32
	records []byte // of a record batch, not compressed
}

func (e *entry) end() int64 { return e.base + int64(e.count) }

// entryOverhead is what an entry costs in memory besides its bytes.
const entryOverhead = 96

// tail keeps the newest entries of all partitions in memory, within a budget.
// The oldest append of the whole broker goes first, so a partition that is quiet
// does not hold memory for ever.
type tail struct {
	budget int64

	mu    sync.Mutex
	used  int64
	queue []tailItem // a ring, in order of append
	first int
	n     int
}

type tailItem struct {
	p    *partition
	size int64
}

// add remembers an entry that was just appended. The caller holds p.appending,
// so a partition's entries come in order.
func (t *tail) add(p *partition, e entry) {
	p.mu.Lock()
	p.recent = append(p.recent, e)
	p.mu.Unlock()

	t.mu.Lock()
	defer t.mu.Unlock()
	size := int64(len(e.records)) + entryOverhead
	t.push(tailItem{p, size})
	t.used += size
	for t.used > t.budget && t.n > 0 {
		old := t.pop()
		t.used -= old.size
		old.p.forgetOldest()
	}
}

func (t *tail) push(item tailItem) {
	if t.n == len(t.queue) {
		grown := make([]tailItem, max(64, 2*t.n))
		for i := range t.n {
			grown[i] = t.queue[(t.first+i)%len(t.queue)]
		}
		t.queue, t.first = grown, 0
	}
	t.queue[(t.first+t.n)%len(t.queue)] = item
	t.n++
}

func (t *tail) pop() tailItem {
	item := t.queue[t.first]
	t.queue[t.first] = tailItem{}
	t.first = (t.first + 1) % len(t.queue)
	t.n--
	return item
}

// forgetOldest drops the oldest entry in memory. append moves the rest to a new
// array when the old one is used up, so the front is not held for ever.
func (p *partition) forgetOldest() {
	p.mu.Lock()
	p.recent[0] = entry{}
	p.recent = p.recent[1:]
	p.mu.Unlock()
}

// recentFrom appends to dst entries in memory from the one that has the offset,
// up to the visible end, max entries or about maxBytes. It reports whether the
// offset is there.
func (p *partition) recentFrom(dst []entry, offset, end int64, max, maxBytes int) ([]entry, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.recent) == 0 || offset < p.recent[0].base {
		return dst, false
	}
	i := sort.Search(len(p.recent), func(i int) bool { return p.recent[i].end() > offset })
	for ; i < len(p.recent) && p.recent[i].base < end && len(dst) < max && maxBytes > 0; i++ {
		dst = append(dst, p.recent[i])
		maxBytes -= len(p.recent[i].records)
	}
	return dst, true
}
