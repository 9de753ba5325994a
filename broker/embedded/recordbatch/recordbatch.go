// SPDX-License-Identifier: Apache-2.0

// Package recordbatch reads and writes Kafka's RecordBatch, version 2.
//
// The one idea: the records that are appended to a partition together are one
// checksummed value, in a layout that every tool of the field knows. Decoding
// copies nothing: keys, values and headers point into the batch's bytes, which
// must therefore never change.
//
// Layout (https://kafka.apache.org/documentation/#recordbatch; numbers are
// big-endian, v is a zigzag varint):
//
//	baseOffset 8 | batchLength 4 | partitionLeaderEpoch 4 | magic 1 | crc 4 |
//	attributes 2 | lastOffsetDelta 4 | baseTimestamp 8 | maxTimestamp 8 |
//	producerId 8 | producerEpoch 2 | baseSequence 4 | count 4 | records…
//
//	record: length v | attributes 1 | timestampDelta v | offsetDelta v |
//	        keyLength v | key | valueLength v | value | headers v |
//	        (keyLength v | key | valueLength v | value)…
//
// The checksum is CRC-32C over everything that follows it, so the base offset
// can be set last. Millrace writes one time per batch, marked as the log's append
// time. The records are plain or compressed with Snappy in its raw form, which
// the clients of Kafka read; batches with another compression are refused.
package recordbatch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// HeaderLen is the number of bytes before the first record.
const HeaderLen = 61

// Where the fields of the header begin.
const (
	posLength     = 8
	posEpoch      = 12
	posMagic      = 16
	posCRC        = 17
	posAttributes = 21
	posLastDelta  = 23
	posBaseTime   = 27
	posMaxTime    = 35
	posProducer   = 43
	posCount      = 57
)

const (
	magic = 2

	attrCompression = 0x07
	attrAppendTime  = 0x08
	attrControl     = 0x20

	// maxBatchLen keeps the length field, an int32, and offsets in memory sane.
	maxBatchLen = math.MaxInt32 - posEpoch
)

// ErrCorrupt is matched by every error about bytes that are not a sound batch.
var ErrCorrupt = errors.New("corrupt record batch")

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...)
}

// castagnoli is computed in hardware on amd64 and arm64. It is never written to.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Header is what is said of a batch as a whole.
type Header struct {
	BaseOffset int64 // offset of the first record
	Codec      Codec // how its records are compressed
	Count      int32 // number of records, at least one
	MaxTime    int64 // milliseconds since 1970, UTC
}

// Parse checks the framing and the checksum of a batch and returns its header.
// The batch must fill b. Its records come from [AppendRecords]. Errors match
// [ErrCorrupt].
func Parse(b []byte) (Header, error) {
	h, err := parseHeader(b)
	if err != nil {
		return Header{}, err
	}
	if want, got := binary.BigEndian.Uint32(b[posCRC:]), crc32.Checksum(b[posAttributes:], castagnoli); want != got {
		return Header{}, corrupt("checksum is %08x, the header says %08x", got, want)
	}
	return h, nil
}

func parseHeader(b []byte) (Header, error) {
	if len(b) < HeaderLen {
		return Header{}, corrupt("%d bytes are shorter than a header of %d", len(b), HeaderLen)
	}
	if n := int64(int32(binary.BigEndian.Uint32(b[posLength:]))); n != int64(len(b)-posEpoch) {
		return Header{}, corrupt("%d bytes after the length, which says %d", len(b)-posEpoch, n)
	}
	if b[posMagic] != magic {
		return Header{}, corrupt("version %d, want %d", b[posMagic], magic)
	}
	attributes := binary.BigEndian.Uint16(b[posAttributes:])
	codec := Codec(attributes & attrCompression)
	if codec != None && codec != Snappy || attributes&attrControl != 0 {
		return Header{}, corrupt("attributes %#x: control batches and compression other than Snappy are not supported", attributes)
	}
	h := Header{
		BaseOffset: int64(binary.BigEndian.Uint64(b)),
		Codec:      codec,
		Count:      int32(binary.BigEndian.Uint32(b[posCount:])),
		MaxTime:    int64(binary.BigEndian.Uint64(b[posMaxTime:])),
	}
	if last := int32(binary.BigEndian.Uint32(b[posLastDelta:])); h.Count < 1 || last != h.Count-1 {
		return Header{}, corrupt("%d records, the last has delta %d", h.Count, last)
	}
	if h.BaseOffset < 0 || h.BaseOffset > math.MaxInt64-int64(h.Count) {
		return Header{}, corrupt("base offset %d", h.BaseOffset)
	}
	return h, nil
}
