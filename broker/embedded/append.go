// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded/recordbatch"
)

const (
	// An entry is ended at this size, so that a reader of a few records need not
	// load much. A larger record is an entry of its own.
	maxEntryBytes = 1 << 20

	// A Publish beyond this size is split into several appends.
	maxPublishBytes = 32 << 20

	// Buffers of a commit are used again up to this size.
	keptBytes = 4 << 20

	// stickyRun is how many keyless records of a call go to one partition before
	// the next one has its turn. Many in one entry are cheaper to store and read.
	stickyRun = 128
)

// Publish implements [broker.Broker]. Up to 32 MiB of records are appended all
// or none; more are appended in parts, in order.
func (b *Broker) Publish(ctx context.Context, records ...broker.Record) error {
	if err := b.enter(); err != nil {
		return err
	}
	defer b.life.RUnlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := b.checkRecords(records); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	for len(records) > 0 {
		n, size := 0, 0
		for n < len(records) && (n == 0 || size+records[n].Size() <= maxPublishBytes) {
			size += records[n].Size()
			n++
		}
		if err := b.commit(records[:n], nil, justReveal); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		records = records[n:]
	}
	return nil
}

// checkRecords finds what is wrong with records before any is appended.
func (b *Broker) checkRecords(records []broker.Record) error {
	var t *topic
	for i := range records {
		r := &records[i]
		if size := r.Size(); size > b.options.MaxRecordBytes {
			return &broker.TooLargeError{Index: i, Size: size, Limit: b.options.MaxRecordBytes}
		}
		if t == nil || t.name != r.Topic {
			var err error
			if t, err = b.topic(r.Topic); err != nil {
				return fmt.Errorf("record %d: %w", i, err)
			}
		}
		if r.Pinned && (r.Partition < 0 || int(r.Partition) >= len(t.partitions)) {
			return fmt.Errorf("record %d is pinned to partition %d of topic %s, which has %d", i, r.Partition, t.name, len(t.partitions))
		}
	}
	return nil
}

// position is where a group stands in a partition.
type position struct {
	group  string
	p      *partition
	offset int64
}

// commit appends records that were checked and stores positions, as one unit.
// When both are durable it calls settled, which makes the records visible by
// calling reveal. Error: ErrFull, with nothing changed, or the broker's failure.
func (b *Broker) commit(records []broker.Record, positions []position, settled func(reveal func())) error {
	if len(records) == 0 && len(positions) == 0 {
		settled(func() {})
		return nil
	}
	a, _ := b.appenders.Get().(*appender)
	if a == nil {
		a = &appender{}
	}
	defer func() {
		a.reset()
		b.appenders.Put(a)
	}()
	if err := a.route(b, records); err != nil {
		return err
	}
	a.encode(records)
	a.pack()
	if err := b.space.check(a.bytes + int64(64*len(positions))); err != nil {
		return err
	}
	batch := b.db.NewBatchWithSize(a.batchLen(positions), pebble.WithMaxRetainedSizeBytes(keptBytes))
	if err := a.apply(b, batch, positions); err != nil {
		return err
	}
	if err := b.awaitSync(batch); err != nil {
		return err
	}
	settled(a.reveal)
	return batch.Close()
}

// justReveal is what a commit without positions does when it is durable.
func justReveal(reveal func()) { reveal() }

func (a *appender) reveal() {
	for i := range a.slots {
		a.slots[i].p.reveal(a.slots[i].end)
	}
}

// appender is the memory of one commit, used again by later ones.
type appender struct {
	topics  []route
	slots   []slot
	slotOf  []int32   // of each record
	order   []int32   // records, by slot
	entries []pending // by slot
	packed  []byte    // the compressed records of entries
	locks   []int32   // slots in the order of locking
	key     []byte
	bytes   int64 // of the entries as they are stored
}

// pending is an entry of the commit. Its base and time are not known before apply.
type pending struct {
	entry
	codec  recordbatch.Codec
	stored []byte // its records as they are stored
}

func (e *pending) storedLen() int { return recordbatch.HeaderLen + len(e.stored) }

// route is a topic of the commit.
type route struct {
	topic  *topic
	slots  []int32 // by partition, -1: not in the commit
	sticky int32   // partition of keyless records
	run    int     // how many more of them
}

// slot is a partition of the commit.
type slot struct {
	p       *partition
	records int
	entries int
	end     int64
}

func (a *appender) reset() {
	clear(a.topics)
	clear(a.slots)
	clear(a.entries) // their records are kept by others, not by this
	a.topics, a.slots, a.entries = a.topics[:0], a.slots[:0], a.entries[:0]
	if a.packed = a.packed[:0]; cap(a.packed) > keptBytes {
		a.packed = nil
	}
	a.bytes = 0
}

// route finds the partition of each record and sorts the records by it.
func (a *appender) route(b *Broker, records []broker.Record) error {
	a.slotOf = slices.Grow(a.slotOf[:0], len(records))[:len(records)]
	a.order = slices.Grow(a.order[:0], len(records))[:len(records)]
	var to *route
	for i := range records {
		r := &records[i]
		if to == nil || to.topic.name != r.Topic {
			var err error
			if to, err = a.routeTo(b, r.Topic); err != nil {
				return err
			}
		}
		p := to.partition(r)
		s := to.slots[p]
		if s < 0 {
			s = int32(len(a.slots))
			to.slots[p] = s
			a.slots = append(a.slots, slot{p: to.topic.partitions[p]})
		}
		a.slots[s].records++
		a.slotOf[i] = s
	}
	next := make([]int32, 0, 64) // on the stack for most commits
	at := int32(0)
	for i := range a.slots {
		next = append(next, at)
		at += int32(a.slots[i].records)
	}
	for i, s := range a.slotOf {
		a.order[next[s]] = int32(i)
		next[s]++
	}
	return nil
}

func (a *appender) routeTo(b *Broker, name string) (*route, error) {
	for i := range a.topics {
		if a.topics[i].topic.name == name {
			return &a.topics[i], nil
		}
	}
	t, err := b.topic(name)
	if err != nil {
		return nil, err
	}
	a.topics = append(a.topics, route{topic: t, slots: make([]int32, len(t.partitions))})
	to := &a.topics[len(a.topics)-1]
	for i := range to.slots {
		to.slots[i] = -1
	}
	return to, nil
}

func (to *route) partition(r *broker.Record) int32 {
	n := len(to.topic.partitions)
	switch {
	case r.Pinned:
		return r.Partition
	case len(r.Key) > 0:
		return broker.PartitionOf(r.Key, n)
	}
	if to.run == 0 {
		to.run = stickyRun
		to.sticky = int32(to.topic.keyless.Add(1) % uint32(n))
	}
	to.run--
	return to.sticky
}

// encode makes the entries' records.
func (a *appender) encode(records []broker.Record) {
	order := a.order
	for i := range a.slots {
		s := &a.slots[i]
		for mine := order[:s.records]; len(mine) > 0; {
			n, size := 0, 0
			for ; n < len(mine); n++ {
				l := recordbatch.RecordLen(n, &records[mine[n]])
				if n > 0 && size+l > maxEntryBytes {
					break
				}
				size += l
			}
			encoded := make([]byte, 0, size)
			for delta, r := range mine[:n] {
				encoded = recordbatch.AppendRecord(encoded, delta, &records[r])
			}
			a.entries = append(a.entries, pending{entry: entry{count: int32(n), records: encoded}})
			s.entries++
			mine = mine[n:]
		}
		order = order[s.records:]
	}
}

// pack makes of each entry's records what is stored.
func (a *appender) pack() {
	entries := a.entries
	for i := range a.slots {
		s := &a.slots[i]
		for j := range entries[:s.entries] {
			e := &entries[j]
			e.codec, e.stored, a.packed = s.p.topic.packing.pack(a.packed, e.records)
			a.bytes += int64(e.storedLen())
		}
		entries = entries[s.entries:]
	}
}

// batchLen is about how many bytes the Pebble batch takes.
func (a *appender) batchLen(positions []position) int {
	const perSet = 1 + 2*binary.MaxVarintLen32
	n := 64 + len(a.entries)*(logKeyLen+perSet) + int(a.bytes)
	for _, at := range positions {
		n += len(at.group) + 24 + perSet
	}
	return n
}

// apply assigns offsets and gives everything to Pebble, under the locks of the
// partitions, so that offsets are in the order of the write-ahead log.
func (a *appender) apply(b *Broker, batch *pebble.Batch, positions []position) error {
	a.lock()
	defer a.unlock()
	if err := a.build(b.clock.next(), batch, positions); err != nil {
		return err
	}
	if err := b.submit(batch); err != nil {
		return err
	}
	entries := a.entries
	for i := range a.slots {
		s := &a.slots[i]
		for j := range entries[:s.entries] {
			e := &entries[j]
			s.p.next = e.end()
			s.p.size += int64(e.storedLen())
			b.tail.add(s.p, e.entry)
		}
		s.end = s.p.next
		entries = entries[s.entries:]
	}
	return nil
}

// build completes the entries and adds them and the positions to the batch.
func (a *appender) build(now int64, batch *pebble.Batch, positions []position) error {
	entries := a.entries
	for i := range a.slots {
		s := &a.slots[i]
		next, size := s.p.next, s.p.size
		for j := range entries[:s.entries] {
			e := &entries[j]
			e.base, e.time = next, now
			op := batch.SetDeferred(logKeyLen, e.storedLen())
			logKey{next, now, size}.append(append(op.Key[:0], s.p.prefix...))
			copy(op.Value[recordbatch.HeaderLen:], e.stored)
			recordbatch.Finish(op.Value, e.codec, e.base, int(e.count), now/1e6)
			if err := op.Finish(); err != nil {
				return err
			}
			next += int64(e.count)
			size += int64(len(op.Value))
		}
		entries = entries[s.entries:]
	}
	for _, at := range positions {
		a.key = appendPositionKey(a.key[:0], at.group, at.p.topic.id, at.p.index)
		var value [8]byte
		binary.BigEndian.PutUint64(value[:], uint64(at.offset))
		if err := batch.Set(a.key, value[:], nil); err != nil {
			return err
		}
	}
	return nil
}

func (a *appender) lock() {
	a.locks = a.locks[:0]
	for i := range a.slots {
		a.locks = append(a.locks, int32(i))
	}
	slices.SortFunc(a.locks, func(i, j int32) int {
		x, y := a.slots[i].p, a.slots[j].p
		return cmp.Or(cmp.Compare(x.topic.id, y.topic.id), cmp.Compare(x.index, y.index))
	})
	for _, i := range a.locks {
		a.slots[i].p.appending.Lock()
	}
}

func (a *appender) unlock() {
	for _, i := range a.locks {
		a.slots[i].p.appending.Unlock()
	}
}
