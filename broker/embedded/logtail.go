// SPDX-License-Identifier: Apache-2.0

package embedded

import (
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
// chunk that was written as a whole and damaged later. Here the two are told
// apart: a chunk is damaged when one changed byte explains that its checksum is
// wrong. What a crash leaves of a chunk is not like that.

// A chunk of a Pebble log: checksum (4 bytes, masked), length (2), kind (1), log
// number (4), how far the log was synced (8), payload; in blocks, which it does not
// cross. See Pebble's package record, format walSync.
const (
	logBlock    = 32 << 10
	chunkHeader = 19
	chunkSummed = 6 // the checksum is of what follows
	chunkFull   = 9 // the kind of a chunk that is a whole record
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
	for at < len(log) {
		block := log[at:min(len(log), at-at%logBlock+logBlock)]
		if len(block) < chunkHeader {
			at += len(block)
			continue
		}
		length := int(binary.LittleEndian.Uint16(block[4:]))
		end := chunkHeader + length
		if end > len(block) || unmask(binary.LittleEndian.Uint32(block)) != crc32.Checksum(block[chunkSummed:end], castagnoli) {
			return at, changed(block, number)
		}
		if binary.LittleEndian.Uint32(block[7:]) != number {
			return at, false // the regular end, or what an older log has left
		}
		at += end
	}
	return at, false
}

// unmask undoes what LevelDB does to checksums that it stores.
func unmask(sum uint32) uint32 { return bits.RotateLeft32(sum-0xa282ead8, 15) }

// changed reports whether the chunk at the start of the block would be sound if one
// of its bytes were another.
func changed(block []byte, number uint32) bool {
	stored := binary.LittleEndian.Uint32(block)
	length := int(binary.LittleEndian.Uint16(block[4:]))
	// The length: it is not in the checksum, but decides of what it is.
	for _, other := range otherBytes(uint32(length), 2) {
		if end := chunkHeader + int(other); end <= len(block) && unmask(stored) == crc32.Checksum(block[chunkSummed:end], castagnoli) {
			return binary.LittleEndian.Uint32(block[7:]) == number
		}
	}
	end := chunkHeader + length
	if end > len(block) {
		return false
	}
	is := crc32.Checksum(block[chunkSummed:end], castagnoli)
	for _, other := range otherBytes(stored, 4) {
		if unmask(other) == is {
			return binary.LittleEndian.Uint32(block[7:]) == number
		}
	}
	fixed, ok := fix(block[chunkSummed:end], is^unmask(stored))
	return ok && binary.LittleEndian.Uint32(fixed[1:]) == number && plausible(fixed)
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

// fix finds the one byte of data that changes its checksum by the difference. A
// checksum is linear: a changed byte changes it by what the byte alone gives,
// moved on over the bytes behind it.
func fix(data []byte, difference uint32) ([]byte, bool) {
	var by [256]uint32
	for d := range by {
		by[d] = castagnoli[byte(d)]
	}
	for i := len(data) - 1; i >= 0; i-- {
		for d := 1; d < 256; d++ {
			if by[d] == difference {
				fixed := append([]byte(nil), data...)
				fixed[i] ^= byte(d)
				return fixed, true
			}
			by[d] = castagnoli[byte(by[d])] ^ by[d]>>8
		}
	}
	return nil, false
}

// plausible reports whether what was fixed is sound inside too: in thousands of
// bytes one finds a byte that gives any checksum about once in a few hundred tries.
func plausible(chunk []byte) bool {
	payload := chunk[chunkHeader-chunkSummed:]
	if chunk[0] != chunkFull {
		return chunk[0] > chunkFull && chunk[0] < chunkFull+4
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
