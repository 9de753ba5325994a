// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrace-ml/millrace/broker"
)

// newTestQueue has a cursor for each list of times.
func newTestQueue(times ...[]int) *queue {
	q := &queue{}
	for i, list := range times {
		c := &cursor{at: broker.TopicPartition{Topic: string(rune('a' + i))}}
		for offset, at := range list {
			c.push(broker.Record{Topic: c.at.Topic, Offset: int64(offset), Time: time.Unix(int64(at), 0), Value: make([]byte, 10)})
		}
		q.cursors = append(q.cursors, c)
	}
	return q
}

func times(records []broker.Record) []int {
	list := make([]int, len(records))
	for i, r := range records {
		list[i] = int(r.Time.Unix())
	}
	return list
}

func TestQueueTakesTheOldestFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var lists [][]int
		var all []int
		for range rapid.IntRange(1, 4).Draw(t, "cursors") {
			list := rapid.SliceOfN(rapid.IntRange(0, 20), 0, 10).Draw(t, "times")
			slices.Sort(list)
			lists = append(lists, list)
			all = append(all, list...)
		}
		slices.Sort(all)
		q := newTestQueue(lists...)
		var got []int
		for {
			most := rapid.IntRange(1, 5).Draw(t, "most")
			batch := q.take(most, 1<<20)
			if len(batch) == 0 {
				break
			}
			if rapid.Bool().Draw(t, "rewind") {
				q.rewind()
				continue
			}
			got = append(got, times(batch)...)
			for _, c := range q.cursors {
				c.settled()
			}
		}
		if !slices.Equal(got, all) {
			t.Fatalf("took %v, want %v", got, all)
		}
		if q.bytes() != 0 {
			t.Fatalf("an empty queue has %d bytes", q.bytes())
		}
	})
}

func TestQueueStopsAtItsBytes(t *testing.T) {
	q := newTestQueue([]int{1, 2, 3, 4})
	if n := len(q.take(10, 25)); n != 2 {
		t.Errorf("took %d records of 10 bytes, want 2 for 25", n)
	}
	q.rewind()
	if n := len(q.take(10, 1)); n != 1 {
		t.Errorf("took %d records for one byte, want one", n)
	}
}

func TestQueuePassesOverWhatIsPaused(t *testing.T) {
	q := newTestQueue([]int{1, 3}, []int{2, 4})
	q.pause([]broker.TopicPartition{{Topic: "a"}})
	if got := times(q.take(10, 1<<20)); !slices.Equal(got, []int{2, 4}) {
		t.Errorf("took %v, want those of b", got)
	}
	q.pause(nil)
	if got := times(q.take(10, 1<<20)); !slices.Equal(got, []int{1, 3}) {
		t.Errorf("then took %v, want those of a", got)
	}
}
