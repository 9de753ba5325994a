// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"slices"
	"time"
)

// book counts what was written and answered.
type book struct {
	begun     time.Time
	sent      map[string]time.Time // messages that are not answered yet
	counts    Counts
	latencies Latencies
	latest    []Answer // oldest first, at most latestKept
}

// Counts are what happened since the start.
type Counts struct {
	Written  int64
	Complete int64 // first answers with every part
	Partial  int64 // first answers without a part
	Amended  int64 // later revisions
}

const latestKept = 64

func (b *book) send(ids []string, now time.Time) {
	for _, id := range ids {
		b.sent[id] = now
	}
	b.counts.Written += int64(len(ids))
}

// enter notes an answer and sets its latency.
func (b *book) enter(a *Answer) {
	if a.Revision > 1 {
		b.counts.Amended++
		b.replace(*a)
		return
	}
	if sent, ok := b.sent[a.ID]; ok {
		delete(b.sent, a.ID)
		a.Latency = max(0, a.Time.Sub(sent))
		b.latencies.add(a.Latency)
	}
	if a.Complete {
		b.counts.Complete++
	} else {
		b.counts.Partial++
	}
	if len(b.latest) == latestKept {
		b.latest = slices.Delete(b.latest, 0, 1)
	}
	b.latest = append(b.latest, *a)
}

// replace puts a amended answer in the place of the one it amends.
func (b *book) replace(a Answer) {
	for i := range b.latest {
		if b.latest[i].ID == a.ID {
			a.Latency = b.latest[i].Latency
			b.latest[i] = a
			return
		}
	}
}

func (d *Demo) open() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.book.sent)
}
