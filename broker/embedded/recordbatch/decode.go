// SPDX-License-Identifier: Apache-2.0

package recordbatch

import (
	"math"
	"unsafe"

	"github.com/millrace-ml/millrace/broker"
)

// Reader yields the records of one batch in order. It can stop after any record
// and go on later. The zero value has no records.
type Reader struct {
	rest  []byte
	next  int64 // offset of the next record
	delta int
	left  int
}

// NewReader reads the records of a batch, of which the first has the offset
// base. The bytes must not change as long as a record that was read is in use.
func NewReader(records []byte, base int64, count int) Reader {
	return Reader{rest: records, next: base, left: count}
}

// Left is the number of records that were not read yet.
func (d *Reader) Left() int { return d.left }

// Offset is the offset of the next record.
func (d *Reader) Offset() int64 { return d.next }

// Headers is memory for the headers of records, shared by many of them.
type Headers struct {
	free []broker.Header
}

// take returns n headers; hint says for how many such records to reserve at once.
func (a *Headers) take(n, hint int) []broker.Header {
	if n > len(a.free) {
		// At least n; else enough for the records to come, within 10 kB, so that
		// one record that is kept for long does not hold on to much.
		a.free = make([]broker.Header, max(n, min(n*hint, 256)))
	}
	h := a.free[:n:n]
	a.free = a.free[n:]
	return h
}

// Next decodes the next record into r: its offset, key, value and headers,
// which point into the batch. There must be one left. Errors match [ErrCorrupt].
func (d *Reader) Next(r *broker.Record, arena *Headers) error {
	body, rest, ok := cut(d.rest)
	if !ok || len(body) < 6 {
		return corrupt("record at offset %d: its length is beyond the batch", d.next)
	}
	b := body[1:] // attributes, unused
	_, b, ok1 := varint(b)
	delta, b, ok2 := varint(b)
	if !ok1 || !ok2 || delta != int64(d.delta) {
		return corrupt("record at offset %d: offset delta %d, want %d", d.next, delta, d.delta)
	}
	key, b, ok1 := cut(b)
	value, b, ok2 := cut(b)
	count, b, ok3 := varint(b)
	if !ok1 || !ok2 || !ok3 || count < 0 || count > int64(len(b)) {
		return corrupt("record at offset %d: key, value or number of headers are beyond the record", d.next)
	}
	r.Offset, r.Key, r.Value, r.Headers = d.next, key, value, nil
	if count > 0 {
		r.Headers = arena.take(int(count), d.left)
		for i := range r.Headers {
			h := &r.Headers[i]
			key, b, ok1 = cut(b)
			h.Value, b, ok2 = cut(b)
			if !ok1 || !ok2 {
				return corrupt("record at offset %d: header %d is beyond the record", d.next, i)
			}
			h.Key = unsafe.String(unsafe.SliceData(key), len(key))
		}
	}
	if len(b) != 0 {
		return corrupt("record at offset %d: %d bytes after its last header", d.next, len(b))
	}
	return d.advance(rest)
}

// Skip passes over n records, at most all that are left.
func (d *Reader) Skip(n int) error {
	for ; n > 0 && d.left > 0; n-- {
		_, rest, ok := cut(d.rest)
		if !ok {
			return corrupt("record at offset %d: its length is beyond the batch", d.next)
		}
		if err := d.advance(rest); err != nil {
			return err
		}
	}
	return nil
}

func (d *Reader) advance(rest []byte) error {
	if d.left == 1 && len(rest) != 0 {
		return corrupt("%d bytes after the last record", len(rest))
	}
	d.rest = rest
	d.next++
	d.delta++
	d.left--
	return nil
}

// cut takes a length and that many bytes off b; nil for the length -1. The
// capacity ends with them, so that an append by the user cannot reach further.
func cut(b []byte) (field, rest []byte, ok bool) {
	var n int64
	if len(b) > 0 && b[0] < 0x80 { // most lengths are one byte
		n, rest = int64(b[0]>>1)^-int64(b[0]&1), b[1:]
	} else if n, rest, ok = varint(b); !ok {
		return nil, b, false
	}
	if n < 0 {
		return nil, rest, n == -1
	}
	if n > int64(len(rest)) {
		return nil, rest, false
	}
	return rest[:n:n], rest[n:], true
}

// varint takes a zigzag varint of at most 32 bits off b, as Kafka has them.
func varint(b []byte) (n int64, rest []byte, ok bool) {
	var u uint64
	for i := 0; i < len(b) && i < 5; i++ {
		u |= uint64(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return int64(u>>1) ^ -int64(u&1), b[i+1:], u <= math.MaxUint32
		}
	}
	return 0, b, false
}
