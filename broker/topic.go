// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"slices"
	"time"
)

// TopicPartition is one partition of one topic.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// Topic describes a topic to create.
type Topic struct {
	Name       string
	Partitions int // 0 means 8

	// Records older than Retention and records beyond RetentionBytes in a
	// partition may be deleted, oldest first. 0 keeps them for ever.
	Retention      time.Duration
	RetentionBytes int64
}

// MaxPartitions is how many partitions a topic may have.
const MaxPartitions = 4096

// DefaultPartitions is the number of partitions of a topic that names none.
const DefaultPartitions = 8

// TopicInfo describes an existing topic.
type TopicInfo struct {
	Topic
	Ends []PartitionEnds // one for each partition
}

// PartitionEnds are the ends of a partition's log. Offsets grow but may have
// gaps: how many records are kept does not follow from the ends.
type PartitionEnds struct {
	Start   int64 // offset of the first record that is kept, or that the next one will get
	End     int64 // greater than any record's offset; the next record gets this or a greater one
	Records int64 // that are kept, as well as the broker knows
}

// Lag is a group's state in one partition of one topic.
type Lag struct {
	Topic     string
	Partition int32
	Position  int64  // offset of the next record the group takes, or less
	End       int64  // as in PartitionEnds; equal to Position when there is no lag
	Lag       int64  // records between Position and End that still exist
	Member    string // the member that owns the partition; empty for none
}

// Assignment tells what partitions a consumer owns, in every topic it joined.
type Assignment struct {
	Partitions []int32 // sorted; not to be changed
	Epoch      int64   // changes whenever a partition was gained or lost (even if regained)
	Since      []int64 // the epoch in which each of the partitions was gained; not to be changed
}

// since is the epoch in which the partition was gained, if it is owned.
func (a *Assignment) since(partition int32) (epoch int64, owned bool) {
	i, owned := slices.BinarySearch(a.Partitions, partition)
	if !owned {
		return 0, false
	}
	return a.Since[i], true
}

// AllPartitions makes Read read every partition of a topic.
const AllPartitions int32 = -1
