// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/bits"

	"github.com/cockroachdb/pebble/v2/batchrepr"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker/embedded/recordbatch"
)

// The end of the newest log file, beyond the mark, is cut where a process was
// killed or the power went. Pebble ends there without a word, and so it does at a
// chunk that was written as a whole and damaged later. Here the two are kept
// apart: a chunk is damaged when one changed byte explains that its checksum is
// wrong. What a crash leaves of a chunk is not like that.

// A chunk of a Pebble log: checksum (4 bytes, masked), length (2), kind (1), log
// number (4), how far the log was synced (8), payload; in blocks, which it does not
// cross. See Pebble's package record, format walSync.
const (
	logBlock    = 32 << 10
	chunkHeader = 19
	chunkSummed = 6 // the checksum is of what follows
	chunkFull   = 9 // the kinds: a whole record, or its first, middle and last parts
	chunkFirst  = 10
	chunkLast   = 12
)

// tailFaults looks at the end of the newest log file.
func tailFaults(disk vfs.FS, dir string) ([]Fault, error) {
	if _, err := disk.Stat(disk.PathJoin(dir, unsyncedFile)); err == nil {
		return nil, nil // nothing of its end was promised
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	name, number, err := lastLog(disk, dir)
	if err != nil || name == "" {
		return nil, err
	}
	data, err := readFile(disk, name)
	if err != nil {
		return nil, err
	}
	if at, damaged := damagedChunk(data, uint32(number)); damaged {
		return []Fault{{disk.PathBase(name), fmt.Sprintf("is damaged at byte %d or shortly after it", at)}}, nil
	}
	return nil, nil
}

// damagedChunk finds the first chunk that is not sound, and whether it is one that
// was changed later.
func damagedChunk(log []byte, number uint32) (at int, damaged bool) {
	record := 0 // where the record begins that the chunk is of
	for at < len(log) {
		c, ok := chunkAt(log, at)
		if !ok {
			block := log[at:blockEnd(log, at)]
			if len(block) < chunkHeader {
				at += len(block)
				continue
			}
			fixed := fixes(block)
			if fixed == nil {
				return at, false
			}
			repaired := append(append(bytes.Clone(log[:at]), fixed...), log[at+len(block):]...)
			if kind := fixed[6]; kind == chunkFull || kind == chunkFirst {
				record = at
			}
			return at, plausible(repaired, record, number)
		}
		if c.log != number {
			return at, false // the regular end, or what an older log has left
		}
		if c.kind == chunkFull || c.kind == chunkFirst {
			record = at
		}
		at = c.end
	}
	return at, false
}

// chunk is one that is sound.
type chunk struct {
	kind    byte
	log     uint32
	payload []byte
	end     int // where the next one begins
}

func blockEnd(log []byte, at int) int { return min(len(log), at-at%logBlock+logBlock) }

// chunkAt is the chunk at a place, if it is sound.
func chunkAt(log []byte, at int) (chunk, bool) {
	block := log[at:blockEnd(log, at)]
	if len(block) < chunkHeader {
		return chunk{}, false
	}
	end := chunkHeader + int(binary.LittleEndian.Uint16(block[4:]))
	if end > len(block) || unmask(binary.LittleEndian.Uint32(block)) != crc32.Checksum(block[chunkSummed:end], castagnoli) {
		return chunk{}, false
	}
	return chunk{block[6], binary.LittleEndian.Uint32(block[7:]), block[chunkHeader:end], at + end}, true
}

// unmask undoes what LevelDB does to checksums that it stores.
func unmask(sum uint32) uint32 { return bits.RotateLeft32(sum-0xa282ead8, 15) }

// fixes is the block with another byte in its first chunk, which makes it sound; or
// nil.
func fixes(block []byte) []byte {
	fixed := bytes.Clone(block)
	sound := func() bool {
		_, ok := chunkAt(fixed, 0)
		return ok
	}
	stored, length := binary.LittleEndian.Uint32(block), binary.LittleEndian.Uint16(block[4:])
	// The length: it is not in the checksum, but decides of what it is.
	for _, other := range otherBytes(uint32(length), 2) {
		if binary.LittleEndian.PutUint16(fixed[4:], uint16(other)); sound() {
			return fixed
		}
	}
	copy(fixed, block)
	end := chunkHeader + int(length)
	if end > len(block) {
		return nil
	}
	is := crc32.Checksum(block[chunkSummed:end], castagnoli)
	for _, other := range otherBytes(stored, 4) {
		if unmask(other) == is {
			binary.LittleEndian.PutUint32(fixed, other)
			return fixed
		}
	}
	if !fix(fixed[chunkSummed:end], is^unmask(stored)) {
		return nil
	}
	return fixed
}

// otherBytes are the numbers that differ from n in one of its first bytes.
func otherBytes(n uint32, bytes int) []uint32 {
	var all []uint32
	for i := range bytes {
		for d := uint32(1); d < 256; d++ {
			all = append(all, n^d<<(8*i))
		}
	}
	return all
}

// fix changes the one byte of data that changes its checksum by the difference. A
// checksum is linear: a changed byte changes it by what the byte alone gives,
// moved on over the bytes behind it.
func fix(data []byte, difference uint32) bool {
	var by [256]uint32
	for d := range by {
		by[d] = castagnoli[byte(d)]
	}
	for i := len(data) - 1; i >= 0; i-- {
		for d := 1; d < 256; d++ {
			if by[d] == difference {
				data[i] ^= byte(d)
				return true
			}
			by[d] = castagnoli[byte(by[d])] ^ by[d]>>8
		}
	}
	return false
}

// plausible reports whether the record that begins there is whole and sound inside
// too: in thousands of bytes there is one that gives any checksum about once in a
// few hundred tries.
func plausible(log []byte, at int, number uint32) bool {
	var payload []byte
	for {
		if blockEnd(log, at)-at < chunkHeader && at < len(log) {
			at = blockEnd(log, at)
		}
		c, ok := chunkAt(log, at)
		if !ok || c.log != number || c.kind < chunkFull || c.kind > chunkLast {
			return false
		}
		payload = append(payload, c.payload...)
		at = c.end
		if c.kind == chunkFull || c.kind == chunkLast {
			break
		}
	}
	header, ok := batchrepr.ReadHeader(payload)
	if !ok {
		return false
	}
	r := batchrepr.Read(payload)
	for range header.Count {
		_, key, value, ok, err := r.Next()
		if err != nil || !ok {
			return false
		}
		if len(key) == logKeyLen && key[0] == kindLog {
			if _, err := recordbatch.Parse(value); err != nil {
				return false
			}
		}
	}
	return true
}
