// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded/recordbatch"
)

const (
	// An entry is ended at this size, so that a reader of a few records need not
	// load much. A larger record is an entry of its own.
	maxEntryBytes = 1 << 20

	// An Append beyond this size is split into several commits.
	maxCommitBytes = 32 << 20

	// Buffers of a commit are used again up to this size.
	keptBytes = 4 << 20
)

// Append implements [broker.Driver]. Up to 32 MiB of records are appended all or
// none; more are appended in parts, in order, and not all of them may be when it
// fails.
//
// When the context ends while the log waits for room, it is not known whether the
// records are appended.
func (d *driver) Append(ctx context.Context, records []broker.Record, partitions []int32) ([]int64, error) {
	offsets := make([]int64, len(records))
	for done := 0; done < len(records); {
		n, size := done, 0
		for n < len(records) && (n == done || size+records[n].Size() <= maxCommitBytes) {
			size += records[n].Size()
			n++
		}
		c := commit{records: records[done:n], partitions: partitions[done:n], offsets: offsets[done:n], settled: justReveal}
		if err := d.append(ctx, &c); err != nil {
			if done > 0 && errors.Is(err, broker.ErrFull) {
				// Who matches ErrFull takes it that nothing was appended.
				err = fmt.Errorf("only the first %d of %d records were appended: %v", done, len(records), err) //nolint:errorlint // see above
			}
			return nil, err
		}
		done = n
	}
	return offsets, nil
}

// position is where a group stands in a partition.
type position struct {
	group  string
	p      *partition
	offset int64
}

// commit is what becomes durable as one unit.
type commit struct {
	records    []broker.Record
	partitions []int32 // of each record
	offsets    []int64 // set for each record, unless it is nil
	positions  []position
	settled    func(reveal func()) // called when all is durable; reveal makes the records visible
}

// appendPatience is how long an append takes at least that its context ends.
const appendPatience = 100 * time.Millisecond

// append carries out a commit of records until its context ends; then it goes on
// behind the caller's back.
func (d *driver) append(ctx context.Context, c *commit) error {
	a, err := d.prepare(c)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	d.background.Go(func() { done <- d.carryOut(a, c) })
	// Waiting for a context costs more than the rest, and is seldom needed.
	patience := time.NewTimer(appendPatience)
	defer patience.Stop()
	select {
	case err := <-done:
		return err
	case <-d.failure.failed:
	case <-patience.C:
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
		case <-d.failure.failed:
		}
	}
	select {
	case err := <-done:
		return err
	default:
	}
	if err := d.failure.get(); err != nil {
		return err
	}
	err = fmt.Errorf("the records may be appended or not: %w", context.Cause(ctx))
	if why := d.fs.room.check(); why != nil {
		err = fmt.Errorf("%w: %v", err, why) //nolint:errorlint // who matches ErrFull takes it that nothing was appended
	}
	return err
}

// commit carries out a commit. Error: ErrFull, with nothing changed, or the
// driver's failure.
func (d *driver) commit(c *commit) error {
	if len(c.records) == 0 && len(c.positions) == 0 {
		c.settled(func() {})
		return nil
	}
	a, err := d.prepare(c)
	if err != nil {
		return err
	}
	return d.carryOut(a, c)
}

// prepare makes the entries of a commit. It reads the records, which are the
// caller's again when it returns, and waits for nothing.
func (d *driver) prepare(c *commit) (_ *appender, err error) {
	if d.options.ReadOnly {
		return nil, errReadOnly
	}
	a, _ := d.appenders.Get().(*appender)
	if a == nil {
		a = &appender{}
	}
	defer func() {
		if err != nil {
			d.give(a)
		}
	}()
	if err := a.route(d, c.records, c.partitions); err != nil {
		return nil, err
	}
	a.encode(c.records)
	a.pack()
	if err := d.space.check(a.bytes + int64(64*len(c.positions))); err != nil {
		return nil, err
	}
	return a, nil
}

// give gives the memory of a commit to later ones.
func (d *driver) give(a *appender) {
	a.reset()
	d.appenders.Put(a)
}

// carryOut makes a prepared commit durable.
func (d *driver) carryOut(a *appender, c *commit) error {
	defer d.give(a)
	batch := d.db.NewBatchWithSize(a.batchLen(c.positions), pebble.WithMaxRetainedSizeBytes(keptBytes))
	if err := a.apply(d, batch, c.positions); err != nil {
		return err
	}
	if err := d.awaitSync(batch); err != nil {
		return err
	}
	a.place(c.offsets)
	c.settled(a.reveal)
	return batch.Close()
}

// justReveal is what a commit without positions does when it is durable.
func justReveal(reveal func()) { reveal() }

// place tells the offset of each record.
func (a *appender) place(offsets []int64) {
	if offsets == nil {
		return
	}
	order := a.order
	for i := range a.slots {
		s := &a.slots[i]
		first := s.end - int64(s.records)
		for k, r := range order[:s.records] {
			offsets[r] = first + int64(k)
		}
		order = order[s.records:]
	}
}

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
	topic *topic
	slots []int32 // by partition, -1: not in the commit
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

// route sorts the records by their partitions.
func (a *appender) route(d *driver, records []broker.Record, partitions []int32) error {
	a.slotOf = slices.Grow(a.slotOf[:0], len(records))[:len(records)]
	a.order = slices.Grow(a.order[:0], len(records))[:len(records)]
	var to *route
	for i := range records {
		r := &records[i]
		if to == nil || to.topic.name != r.Topic {
			var err error
			if to, err = a.routeTo(d, r.Topic); err != nil {
				return err
			}
		}
		p := partitions[i]
		s := to.slots[p]
		if s < 0 {
			if err := to.topic.partitions[p].damaged; err != nil {
				return err
			}
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

func (a *appender) routeTo(d *driver, name string) (*route, error) {
	for i := range a.topics {
		if a.topics[i].topic.name == name {
			return &a.topics[i], nil
		}
	}
	t, err := d.topic(name)
	if err != nil {
		return nil, fmt.Errorf("topic %q: %w", name, err)
	}
	a.topics = append(a.topics, route{topic: t, slots: make([]int32, len(t.partitions))})
	to := &a.topics[len(a.topics)-1]
	for i := range to.slots {
		to.slots[i] = -1
	}
	return to, nil
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
func (a *appender) apply(d *driver, batch *pebble.Batch, positions []position) error {
	a.lock()
	defer a.unlock()
	if err := a.build(d.clock.next(), batch, positions); err != nil {
		return err
	}
	if err := d.submit(batch); err != nil {
		return err
	}
	entries := a.entries
	for i := range a.slots {
		s := &a.slots[i]
		for j := range entries[:s.entries] {
			e := &entries[j]
			s.p.next = e.end()
			s.p.size += int64(e.storedLen())
			d.tail.add(s.p, e.entry)
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
