// SPDX-License-Identifier: Apache-2.0

package broker

// PartitionOf returns the partition of a non-empty key among n, by the default
// partitioner of Kafka's Java client: murmur2 of the key, its sign bit cleared,
// modulo n. Every broker uses it, so a pipeline can be moved between brokers
// and share topics with other Kafka clients.
func PartitionOf(key []byte, n int) int32 {
	return int32((murmur2(key) & 0x7fffffff) % uint32(n))
}

// murmur2 is Austin Appleby's MurmurHash2 for 32 bits with the seed that Kafka
// uses (org.apache.kafka.common.utils.Utils.murmur2).
func murmur2(b []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := seed ^ uint32(len(b))
	for len(b) >= 4 {
		k := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
		k *= m
		k ^= k >> r
		k *= m
		h = h*m ^ k
		b = b[4:]
	}
	switch len(b) {
	case 3:
		h ^= uint32(b[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(b[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(b[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return h
}
