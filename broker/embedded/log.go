// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"fmt"
	"sort"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded/recordbatch"
)

// readEntry reads the entry that the iterator is at, verifies it, and returns it
// with the number of bytes in the log up to its end.
func (d *driver) readEntry(it *pebble.Iterator) (entry, int64, error) {
	key, err := parseLogKey(it.Key())
	if err != nil {
		return entry{}, 0, err
	}
	value, err := d.value(it)
	if err != nil {
		return entry{}, 0, fmt.Errorf("the entry at offset %d: %w", key.base, err)
	}
	h, err := recordbatch.Parse(value)
	if err != nil {
		return entry{}, 0, fmt.Errorf("the entry at offset %d: %w", key.base, err)
	}
	if h.BaseOffset != key.base {
		return entry{}, 0, fmt.Errorf("the entry at offset %d says %d: %w", key.base, h.BaseOffset, recordbatch.ErrCorrupt)
	}
	records, err := recordbatch.AppendRecords(nil, value, h)
	if err != nil {
		return entry{}, 0, fmt.Errorf("the entry at offset %d: %w", key.base, err)
	}
	return entry{base: key.base, time: key.time, count: h.Count, records: records}, key.size + int64(len(value)), nil
}

// readStored appends to dst entries from Pebble, from the one that has the
// offset or else the next, up to the visible end, max entries or about maxBytes.
func (d *driver) readStored(dst []entry, p *partition, offset, end int64, max, maxBytes int) ([]entry, error) {
	it, err := d.db.NewIter(&pebble.IterOptions{LowerBound: p.prefix, UpperBound: p.upper})
	if err != nil {
		return dst, fmt.Errorf("read %s: %w", p, d.described(err))
	}
	defer it.Close()
	var buf [logKeyLen]byte
	ok := it.SeekLT(appendOffsetKey(append(buf[:0], p.prefix...), offset+1))
	if !ok {
		ok = it.First()
	}
	for size := 0; ok && len(dst) < max && size < maxBytes; ok = it.Next() {
		key, err := parseLogKey(it.Key())
		if err != nil {
			return dst, fmt.Errorf("read %s: %w", p, err)
		}
		if key.base >= end {
			break
		}
		e, _, err := d.readEntry(it)
		if err != nil {
			return dst, fmt.Errorf("read %s: %w", p, err)
		}
		if e.end() <= offset {
			continue
		}
		dst = append(dst, e)
		size += len(e.records)
	}
	if err := it.Error(); err != nil {
		return dst, fmt.Errorf("read %s: %w", p, d.described(err))
	}
	return dst, nil
}

// offsetAt is the offset of the first record that was appended at t or later,
// or the visible end.
func (d *driver) offsetAt(p *partition, t time.Time) (int64, error) {
	nanos := t.UnixNano()
	offset, err := d.firstEntry(p, func(k logKey) bool { return k.time >= nanos })
	if err != nil {
		return 0, fmt.Errorf("find time %s in %s: %w", t.Format(time.RFC3339Nano), p, err)
	}
	return offset, nil
}

// firstEntry is the offset of the first visible entry whose key satisfies is,
// which must be false up to some entry and true from there on; or the visible
// end. It is found by binary search over offsets, in keys alone.
func (d *driver) firstEntry(p *partition, is func(logKey) bool) (int64, error) {
	it, err := d.db.NewIter(&pebble.IterOptions{LowerBound: p.prefix, UpperBound: p.upper})
	if err != nil {
		return 0, d.described(err)
	}
	defer it.Close()
	ends := p.ends()
	var buf [logKeyLen]byte
	var failed error
	// entryFrom is the first entry that begins at the offset or later.
	entryFrom := func(offset int64) (logKey, bool) {
		if !it.SeekGE(appendOffsetKey(append(buf[:0], p.prefix...), offset)) {
			return logKey{}, false
		}
		k, err := parseLogKey(it.Key())
		if err != nil {
			failed = err
		}
		return k, err == nil && k.base < ends.End
	}
	n := sort.Search(int(ends.End-ends.Start), func(i int) bool {
		k, ok := entryFrom(ends.Start + int64(i))
		return !ok || is(k)
	})
	offset := ends.End
	if k, ok := entryFrom(ends.Start + int64(n)); ok {
		offset = k.base
	}
	if failed != nil {
		return 0, failed
	}
	return offset, d.described(it.Error())
}

// resolve turns a position into an offset in the partition. Forever is not one.
func (d *driver) resolve(p *partition, at broker.Position) (int64, error) {
	ends := p.ends()
	if n, ok := at.Offset(); ok {
		return min(max(n, ends.Start), ends.End), nil
	}
	if t, ok := at.Time(); ok {
		return d.offsetAt(p, t)
	}
	if at.IsEnd() {
		return ends.End, nil
	}
	return ends.Start, nil
}
