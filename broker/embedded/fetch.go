// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded/recordbatch"
)

// What a cursor reads ahead, so that memory stays bounded.
const (
	aheadEntries = 64
	aheadBytes   = 256 << 10
)

// cursor reads one partition in order.
type cursor struct {
	p      *partition
	next   int64 // offset of the next record
	limit  int64 // where to end
	paused bool

	// Of members: the group's position, under its mutex; where the last Poll
	// ended; and whether this one has taken records. Without it next may be
	// further too, past records that were deleted.
	position *int64
	polled   int64
	taken    bool

	ahead   []entry // entries to come, those before at are done
	at      int
	time    int64              // of the entry that reader reads
	records recordbatch.Reader // of the current entry
	end     int64              // the visible end, within a fetch
}

// seek moves the cursor. What was read ahead is kept when it is of use.
func (c *cursor) seek(offset int64) {
	c.next = offset
	c.records = recordbatch.Reader{}
	for i := range c.ahead {
		if c.ahead[i].base <= offset && offset < c.ahead[i].end() {
			c.at = i
			return
		}
	}
	c.drop()
}

// goTo moves a member's cursor to where a Poll can begin.
func (c *cursor) goTo(offset int64) {
	if c.next != offset {
		c.seek(offset)
	}
	c.polled, c.taken = offset, false
}

// rewind moves a member's cursor to the group's position. The caller holds the
// group's mutex.
func (c *cursor) rewind() { c.goTo(*c.position) }

func (c *cursor) drop() {
	clear(c.ahead)
	c.ahead, c.at = c.ahead[:0], 0
}

// ready makes the next record's entry the current one, if there is a record.
func (c *cursor) ready(d *driver) (bool, error) {
	if c.next >= c.end {
		return false, nil
	}
	if c.records.Left() > 0 {
		return true, nil
	}
	if c.at == len(c.ahead) {
		if err := c.load(d); err != nil || c.at == len(c.ahead) {
			return false, err
		}
	}
	e := &c.ahead[c.at]
	c.at++
	c.records = recordbatch.NewReader(e.records, e.base, int(e.count))
	c.time = e.time
	c.next = max(c.next, e.base) // there may be a gap where records were deleted
	if err := c.records.Skip(int(c.next - e.base)); err != nil {
		return false, err
	}
	return c.next < c.end, nil
}

// load reads ahead, from memory or else from the disk.
func (c *cursor) load(d *driver) (err error) {
	c.drop()
	c.next = max(c.next, c.p.start.Load())
	var ok bool
	if c.ahead, ok = c.p.recentFrom(c.ahead, c.next, c.end, aheadEntries, aheadBytes); !ok {
		c.ahead, err = d.readStored(c.ahead, c.p, c.next, c.end, aheadEntries, aheadBytes)
	}
	return err
}

// fetcher merges partitions by the time of their records.
type fetcher struct {
	d       *driver
	cursors []*cursor
	heap    []*cursor // those that have a record, the oldest first
	headers recordbatch.Headers
}

// available is the number of records that a fetch could return.
func (f *fetcher) available() int64 {
	n := int64(0)
	for _, c := range f.cursors {
		if !c.paused {
			n += max(0, min(c.p.visible.Load(), c.limit)-max(c.next, c.p.start.Load()))
		}
	}
	return n
}

// fetch appends to out what is there, the oldest first, until it has max records
// or about maxBytes bytes. It returns the bytes that may still be added.
func (f *fetcher) fetch(out []broker.Record, max, maxBytes int) ([]broker.Record, int, error) {
	f.heap = f.heap[:0]
	for _, c := range f.cursors {
		c.end = min(c.p.visible.Load(), c.limit)
		if c.paused {
			continue
		}
		ok, err := c.ready(f.d)
		if err != nil {
			return out, maxBytes, err
		}
		if ok {
			f.heap = append(f.heap, c)
		}
	}
	for i := len(f.heap)/2 - 1; i >= 0; i-- {
		f.sink(i)
	}
	for len(f.heap) > 0 && len(out) < max && (maxBytes > 0 || len(out) == 0) {
		c := f.heap[0]
		var err error
		if out, maxBytes, err = f.take(c, out, max, maxBytes); err != nil {
			return out, maxBytes, err
		}
		ok, err := c.ready(f.d)
		if err != nil {
			return out, maxBytes, err
		}
		if !ok {
			last := len(f.heap) - 1
			f.heap[0] = f.heap[last]
			f.heap = f.heap[:last]
		}
		f.sink(0)
	}
	return out, maxBytes, nil
}

// take decodes records of the cursor's current entry.
func (f *fetcher) take(c *cursor, out []broker.Record, max, maxBytes int) ([]broker.Record, int, error) {
	at := time.Unix(0, c.time)
	for c.records.Left() > 0 && c.next < c.end && len(out) < max {
		var r broker.Record
		before := c.records
		if err := c.records.Next(&r, &f.headers); err != nil {
			return out, maxBytes, err
		}
		size := r.Size()
		if size > maxBytes && len(out) > 0 {
			c.records = before
			return out, 0, nil
		}
		r.Topic, r.Partition, r.Time = c.p.topic.name, c.p.index, at
		out = append(out, r)
		maxBytes -= size
		c.next++
		c.taken = true
	}
	return out, maxBytes, nil
}

// sink restores the heap's order below i.
func (f *fetcher) sink(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(f.heap); child++ {
			if f.heap[child].time < f.heap[least].time {
				least = child
			}
		}
		if least == i {
			return
		}
		f.heap[i], f.heap[least] = f.heap[least], f.heap[i]
		i = least
	}
}
