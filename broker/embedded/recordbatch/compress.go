// SPDX-License-Identifier: Apache-2.0

package recordbatch

import (
	"encoding/binary"
	"slices"

	"github.com/klauspost/compress/s2"
)

// Codec is a compression, by its number in the attributes of a batch.
type Codec uint8

// The codecs that are read and written.
const (
	None   Codec = 0
	Snappy Codec = 2
)

// AppendCompressed appends the records of a batch in Snappy's form to dst.
func AppendCompressed(dst, records []byte) []byte {
	dst = slices.Grow(dst, s2.MaxEncodedLen(len(records)))
	packed := s2.EncodeSnappy(dst[len(dst):cap(dst)], records)
	return dst[:len(dst)+len(packed)]
}

// AppendRecords appends the records of a batch that was parsed to dst, plain.
// Errors match [ErrCorrupt].
func AppendRecords(dst, batch []byte, h Header) ([]byte, error) {
	body := batch[HeaderLen:]
	n, err := plainLen(body, h.Codec)
	if err != nil {
		return dst, err
	}
	// The smallest record has seven bytes. A count that cannot be is found here,
	// so that nobody reserves memory for it.
	if int64(h.Count)*7 > int64(n) {
		return dst, corrupt("%d records do not fit in %d bytes", h.Count, n)
	}
	dst = slices.Grow(dst, n)
	if h.Codec == None {
		return append(dst, body...), nil
	}
	if _, err := s2.Decode(dst[len(dst):len(dst)+n], body); err != nil {
		return dst, corrupt("decompress %d bytes: %v", len(body), err)
	}
	return dst[:len(dst)+n], nil
}

// maxExpansion bounds what a compressed byte can stand for: Snappy's densest
// element copies 64 bytes and has three
// (https://github.com/google/snappy/blob/main/format_description.txt). So no
// header makes the reader reserve much more memory than the batch has itself.
const maxExpansion = 22

// plainLen is the number of bytes of the records when they are not compressed.
func plainLen(body []byte, codec Codec) (int, error) {
	if codec == None {
		return len(body), nil
	}
	n, used := binary.Uvarint(body)
	if used <= 0 || n > uint64(len(body)-used)*maxExpansion || n > maxBatchLen {
		return 0, corrupt("%d compressed bytes cannot stand for %d", len(body), n)
	}
	return int(n), nil
}
