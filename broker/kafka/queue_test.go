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
		c := &cursor{at: broker.TopicPartition{Topic: string(rune('a' + i))}, share: &share{}}
		var records []broker.Record
		for offset, at := range list {
			records = append(records, testRecord(c, int64(offset), at))
		}
		c.push(records, int64(len(list)), int64(len(list)))
		q.cursors = append(q.cursors, c)
	}
	return q
}

func testRecord(c *cursor, offset int64, at int) broker.Record {
	return broker.Record{Topic: c.at.Topic, Offset: offset, Time: time.Unix(int64(at), 0), Value: make([]byte, 10)}
}

// settle moves the queue as a settle of these moves does.
func (q *queue) settle(moves []broker.Move) {
	for _, m := range moves {
		for _, c := range q.cursors {
			if c.at == m.TopicPartition {
				c.settled(m.To)
			}
		}
	}
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
		for n, _ := q.available(); n > 0; n, _ = q.available() {
			p := q.poll(rapid.IntRange(1, 5).Draw(t, "most"), 1<<20)
			if rapid.Bool().Draw(t, "rewind") {
				q.rewind()
				continue
			}
			got = append(got, times(p.Records)...)
			q.settle(p.Moves)
		}
		if !slices.Equal(got, all) {
			t.Fatalf("took %v, want %v", got, all)
		}
		if q.bytes() != 0 {
			t.Fatalf("an empty queue has %d bytes", q.bytes())
		}
	})
}

func (q *queue) rewind() {
	for _, c := range q.cursors {
		c.rewind()
	}
}

// log is what a cursor should do: offsets of records with those of markers between
// them.
type log struct {
	c              *cursor
	offsets        []int64
	end            int64 // with markers
	position, next int   // of offsets
	fetched        int
}

// fetch draws how far the next fetch comes, and whether it sees the end.
func (l *log) fetch(t *rapid.T) {
	n := rapid.IntRange(0, len(l.offsets)-l.fetched).Draw(t, "fetched")
	var records []broker.Record
	for _, offset := range l.offsets[l.fetched : l.fetched+n] {
		records = append(records, testRecord(l.c, offset, int(offset)))
	}
	l.fetched += n
	next := l.end
	if l.fetched < len(l.offsets) {
		next = l.offsets[l.fetched]
	}
	l.c.push(records, next, l.end)
}

// took checks a part of a batch and its move, and moves on.
func (l *log) took(t *rapid.T, p broker.Polled) {
	from := l.c.position
	if l.next > l.position {
		from = l.offsets[l.next-1] + 1
	}
	to := from
	for _, r := range p.Records {
		if r.Topic != l.c.at.Topic {
			continue
		}
		if r.Offset != l.offsets[l.next] {
			t.Fatalf("took offset %d of %s, want %d", r.Offset, r.Topic, l.offsets[l.next])
		}
		l.next++
		to = r.Offset + 1
	}
	i := slices.IndexFunc(p.Moves, func(m broker.Move) bool { return m.TopicPartition == l.c.at })
	if i < 0 && to != from || i >= 0 && (p.Moves[i].From != from || p.Moves[i].To != to) {
		t.Fatalf("the moves are %v, want one of %s from %d to %d", p.Moves, l.c.at.Topic, from, to)
	}
}

// settled moves past the records before an offset, polled or rewound.
func (l *log) settled(to int64) {
	l.position, _ = slices.BinarySearch(l.offsets, to)
	l.next = max(l.next, l.position)
}

// Batches are polled while others are open, settled from the front, one by one or
// together, and rewound; a settle may turn out to have taken place after that.
func TestQueueKeepsWhatIsOpen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newTestQueue(make([][]int, 3)...)
		logs := make([]*log, len(q.cursors))
		for i, c := range q.cursors {
			logs[i] = &log{c: c}
		}
		var open []broker.Polled
		settle := func() {
			n := rapid.IntRange(0, len(open)).Draw(t, "batches to settle")
			for _, p := range open[:n] {
				q.settle(p.Moves)
				for _, m := range p.Moves {
					logs[m.Topic[0]-'a'].settled(m.To)
				}
			}
			open = open[n:]
		}
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				l := logs[rapid.IntRange(0, len(logs)-1).Draw(t, "log")]
				for range rapid.IntRange(1, 4).Draw(t, "records") {
					l.offsets = append(l.offsets, l.end)
					l.end++
				}
				l.end += int64(rapid.IntRange(0, 1).Draw(t, "markers"))
			},
			"fetch": func(t *rapid.T) { logs[rapid.IntRange(0, len(logs)-1).Draw(t, "log")].fetch(t) },
			"poll": func(t *rapid.T) {
				p := q.poll(rapid.IntRange(1, 6).Draw(t, "most"), 1<<20)
				for _, l := range logs {
					l.took(t, p)
				}
				open = append(open, p)
			},
			"settle": func(*rapid.T) { settle() },
			"rewind": func(*rapid.T) {
				q.rewind()
				for _, l := range logs {
					l.next = l.position
				}
				settle() // it was under way
				open = nil
			},
			"": func(t *rapid.T) {
				hand := 0
				for _, l := range logs {
					hand += l.fetched - l.next
				}
				if n, bytes := q.available(); n != hand || bytes != 10*hand || q.bytes() != bytes {
					t.Fatalf("%d records are at hand, not %d with %d bytes", hand, n, bytes)
				}
				if backlog := q.poll(0, 0).Backlog; backlog < int64(hand) {
					t.Fatalf("%d records are at hand, and the backlog is %d", hand, backlog)
				}
			},
		})
	})
}

func TestBacklogIsExactWhereAllIsFetched(t *testing.T) {
	q := newTestQueue([]int{1, 2, 3}, []int{4})
	q.cursors[0].push(nil, 5, 7) // two markers, and two records that are not fetched
	if p := q.poll(2, 1<<20); p.Backlog != 4 {
		t.Errorf("two of six records were polled, and the backlog is %d", p.Backlog)
	}
	q.pause([]broker.TopicPartition{{Topic: "a"}})
	if p := q.poll(0, 1<<20); p.Backlog != 1 {
		t.Errorf("one record is left that is not paused, and the backlog is %d", p.Backlog)
	}
	q.cursors[1].share.due = time.Unix(1, 0)
	if p := q.poll(1, 1<<20); p.Backlog != 0 || len(p.Records) > 0 {
		t.Errorf("of partitions that others wait for %d records were polled, with a backlog of %d", len(p.Records), p.Backlog)
	}
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
