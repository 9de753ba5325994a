// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// The first byte of a key says what it is of; see the package's documentation.
const (
	kindFormat   = 'f'
	kindLog      = 'l'
	kindPosition = 'p'
	kindTopic    = 't'
)

const (
	logPrefixLen = 1 + 4 + 4
	logKeyLen    = logPrefixLen + 8 + 8 + 8
)

// logKey is the key of an entry in a partition's log.
type logKey struct {
	base int64 // offset of the first record
	time int64 // of the append, nanoseconds since 1970, UTC
	size int64 // bytes of the entries before this one since the log began
}

func logPrefix(topic uint32, partition int32) []byte {
	b := make([]byte, 0, logPrefixLen)
	b = append(b, kindLog)
	b = binary.BigEndian.AppendUint32(b, topic)
	return binary.BigEndian.AppendUint32(b, uint32(partition))
}

func (k logKey) append(prefix []byte) []byte {
	prefix = binary.BigEndian.AppendUint64(prefix, uint64(k.base))
	prefix = binary.BigEndian.AppendUint64(prefix, uint64(k.time))
	return binary.BigEndian.AppendUint64(prefix, uint64(k.size))
}

func parseLogKey(key []byte) (logKey, error) {
	if len(key) != logKeyLen || key[0] != kindLog {
		return logKey{}, fmt.Errorf("unexpected key %x among the logs", key)
	}
	n := key[logPrefixLen:]
	return logKey{
		base: int64(binary.BigEndian.Uint64(n)),
		time: int64(binary.BigEndian.Uint64(n[8:])),
		size: int64(binary.BigEndian.Uint64(n[16:])),
	}, nil
}

// appendOffsetKey appends the least key of entries that begin at offset.
func appendOffsetKey(prefix []byte, offset int64) []byte {
	return binary.BigEndian.AppendUint64(prefix, uint64(offset))
}

// prefixEnd is the least key that is greater than all keys with the prefix,
// none of which is only 0xff bytes.
func prefixEnd(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		end[i]++
		if end[i] != 0 {
			return end[:i+1]
		}
	}
	return end
}

func topicKey(name string) []byte { return append([]byte{kindTopic}, name...) }

func appendPositionKey(b []byte, group string, topic uint32, partition int32) []byte {
	b = append(b, kindPosition)
	b = append(b, group...)
	b = append(b, 0)
	b = binary.BigEndian.AppendUint32(b, topic)
	return binary.BigEndian.AppendUint32(b, uint32(partition))
}

func parsePositionKey(key []byte) (group string, topic uint32, partition int32, err error) {
	sep := bytes.IndexByte(key, 0)
	if sep < 1 || len(key) != sep+9 {
		return "", 0, 0, fmt.Errorf("unexpected key %x among the positions", key)
	}
	n := key[sep+1:]
	return string(key[1:sep]), binary.BigEndian.Uint32(n), int32(binary.BigEndian.Uint32(n[4:])), nil
}
