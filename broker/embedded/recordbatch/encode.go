// SPDX-License-Identifier: Apache-2.0

package recordbatch

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"

	"github.com/millrace-ml/millrace/broker"
)

// A batch is made in steps, so that nothing is allocated but its bytes: add up
// [RecordLen] and reserve the sum, [AppendRecord] each record, perhaps compress
// them with [AppendCompressed], put them behind HeaderLen bytes, and [Finish].

// RecordLen is the number of bytes that AppendRecord adds for the record.
// Delta is its place in the batch, from 0.
func RecordLen(delta int, r *broker.Record) int {
	n := bodyLen(delta, r)
	return varintLen(n) + n
}

// Fits reports whether a batch of that many bytes can be written.
func Fits(bytes int) bool { return bytes <= maxBatchLen }

// AppendRecord appends the record to dst. Its nil key and nil value are null in
// Kafka's sense, other empty ones are empty.
func AppendRecord(dst []byte, delta int, r *broker.Record) []byte {
	dst = appendVarint(dst, bodyLen(delta, r))
	dst = append(dst, 0, 0) // attributes, timestamp delta
	dst = appendVarint(dst, delta)
	dst = appendBytes(dst, r.Key)
	dst = appendBytes(dst, r.Value)
	dst = appendVarint(dst, len(r.Headers))
	for i := range r.Headers {
		h := &r.Headers[i]
		dst = appendVarint(dst, len(h.Key))
		dst = append(dst, h.Key...)
		dst = appendBytes(dst, h.Value)
	}
	return dst
}

// Finish fills in the header of a batch of count records, whose first HeaderLen
// bytes were left for it, and the checksum. Codec is how the bytes behind it are
// compressed; millis is the batch's time.
func Finish(batch []byte, codec Codec, base int64, count int, millis int64) {
	be := binary.BigEndian
	be.PutUint64(batch, uint64(base))
	be.PutUint32(batch[posLength:], uint32(len(batch)-posEpoch))
	be.PutUint32(batch[posEpoch:], 0)
	batch[posMagic] = magic
	be.PutUint16(batch[posAttributes:], attrAppendTime|uint16(codec))
	be.PutUint32(batch[posLastDelta:], uint32(count-1))
	be.PutUint64(batch[posBaseTime:], uint64(millis))
	be.PutUint64(batch[posMaxTime:], uint64(millis))
	for i := posProducer; i < posCount; i++ {
		batch[i] = 0xff // producer id, epoch and sequence: -1, none
	}
	be.PutUint32(batch[posCount:], uint32(count))
	be.PutUint32(batch[posCRC:], crc32.Checksum(batch[posAttributes:], castagnoli))
}

func bodyLen(delta int, r *broker.Record) int {
	n := 2 + varintLen(delta) + bytesLen(r.Key) + bytesLen(r.Value) + varintLen(len(r.Headers))
	for i := range r.Headers {
		h := &r.Headers[i]
		n += varintLen(len(h.Key)) + len(h.Key) + bytesLen(h.Value)
	}
	return n
}

func bytesLen(b []byte) int {
	if b == nil {
		return 1
	}
	return varintLen(len(b)) + len(b)
}

// varintLen is the length of a number that is not negative.
func varintLen(n int) int {
	return (bits.Len64(uint64(n)<<1|1) + 6) / 7
}

func appendVarint(dst []byte, n int) []byte {
	u := uint64(n) << 1
	for u >= 0x80 {
		dst = append(dst, byte(u)|0x80)
		u >>= 7
	}
	return append(dst, byte(u))
}

func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return append(dst, 1) // zigzag of -1
	}
	return append(appendVarint(dst, len(b)), b...)
}
