// SPDX-License-Identifier: Apache-2.0

// Package broker is the contract between Millrace and a message broker.
//
// The one idea: everything that runs is the loop Poll, predict, Settle. There
// is no acknowledgement of single records. [Consumer.Settle] publishes the
// results of a batch and moves the consumer group past the batch as one unit:
// both happen or neither does, whatever is killed in between. So each input is
// answered exactly once in the output topics.
//
// A driver (embedded, kafka, redis) implements [Broker] and [Consumer] and
// passes the conformance suite in package brokertest, which has no capability
// flags: what is written here holds on every broker.
package broker

import (
	"context"
	"time"
)

// Broker keeps topics, each an append-only log in partitions, and the positions
// of consumer groups in them. All methods may be called by several goroutines
// at once. After Close every method returns [ErrClosed].
type Broker interface {
	// CreateTopics makes the topics that do not exist yet. An existing topic
	// with another number of partitions is [ErrTopicConflict]; another
	// retention is taken over. Names must satisfy [ValidName]. When it returns
	// nil every topic can be published to and joined.
	CreateTopics(ctx context.Context, topics ...Topic) error

	// Topics describes every topic, sorted by name.
	Topics(ctx context.Context) ([]TopicInfo, error)

	// Publish appends the records and returns when they are durable. Records of
	// equal key keep the order of the call. The broker does not keep or change
	// the records after the call. [ErrUnknownTopic], [ErrTooLarge] and [ErrFull]
	// mean that nothing was appended, as does pinning to a partition that does
	// not exist. On any other error some of the records may have been appended,
	// but for each partition only a prefix of those meant for it.
	Publish(ctx context.Context, records ...Record) error

	// Join makes the caller a member of a consumer group that reads the topics.
	// A group without a position in a topic begins at start ([Start], [End] or
	// [At]; unset means Start; positions that exist win), and that position is
	// durable when Join returns. All members join the same topics. Partition i of every topic belongs to
	// the same member; the topics must have equally many partitions
	// ([ErrTopicConflict]). Partitions without a member do not exist for longer
	// than a rebalance.
	Join(ctx context.Context, group string, start Position, topics ...string) (Consumer, error)

	// Read reads a topic without a group: for tail, replay and inspection.
	// Partition is a partition's number, or [AllPartitions]. The reader returns
	// the records from the position from up to, not including, the position to,
	// each partition in offset order. An unset from is the start. Both ends are
	// found out when Read is called: an unset to is where the topic ends then;
	// only [Forever] waits for more.
	Read(ctx context.Context, topic string, partition int32, from, to Position) (Reader, error)

	// Seek moves the group's positions in the topic, or sets them for a group
	// that has none: to one position in every partition or, given as many as
	// there are partitions, to one in each; an unset one leaves its partition
	// alone. All move or none. It is refused with [ErrGroupActive] while the group
	// has members.
	Seek(ctx context.Context, group, topic string, to ...Position) error

	// Groups names the consumer groups that have positions or members, sorted.
	Groups(ctx context.Context) ([]string, error)

	// Lag tells how far the group is in each partition of each topic it reads,
	// sorted by topic and partition. It is 0 exactly when nothing is left to
	// take. A group that does not exist has none.
	Lag(ctx context.Context, group string) ([]Lag, error)

	// Close ends open consumers and readers and releases what the broker holds.
	Close() error
}

// Consumer is one member of a consumer group. It is used by one goroutine and
// has one batch at a time that is not settled.
type Consumer interface {
	// Poll blocks until there is at least one record for this member, waits up
	// to w.Wait for more, and returns them. Within a partition they come in
	// offset order, beginning at the group's position. Between the topics of a
	// partition the record that was appended first comes first, as far as the
	// broker has them at hand. The records' bytes are not changed by anyone
	// afterwards and may be kept.
	//
	// Poll with a batch that is not settled is a programming error and panics.
	// When ctx ends Poll returns its error and no records, even if there are
	// some; nothing is skipped. Assignment may change only in Poll, and what it
	// returns belongs to the assignment then.
	Poll(ctx context.Context, w Want) ([]Record, error)

	// Settle appends the results and moves the group past the polled batch, as
	// one unit, and returns when both are durable. Without a polled batch it
	// appends the results only (a join answers at its deadline).
	//
	// [ErrFenced] means the group gave a partition of this member to another
	// one, which happens to members that keep a batch too long while others wait
	// for its partitions: nothing was changed, the batch is forgotten, every
	// Settle is fenced until the next Poll, and that begins at the positions of
	// the partitions owned then. [ErrTooLarge],
	// [ErrUnknownTopic] and [ErrFull] mean that nothing was changed and the
	// batch is still open. After any other error the driver has found out
	// whether the settle took place before it returns; if it could not, Settle
	// may be called again with the same results and takes place once.
	Settle(ctx context.Context, results ...Record) error

	// Rewind forgets the polled batch; Poll returns its records again.
	Rewind()

	// Assignment tells which partitions this member owned when Poll last
	// returned.
	Assignment() Assignment

	// Close forgets the polled batch, leaves the group and hands its partitions
	// over at once.
	Close(ctx context.Context) error
}

// Reader reads records in order. It is used by one goroutine.
type Reader interface {
	// Next returns at least one and at most max records (0: as many as are at
	// hand). At the end it returns io.EOF. Their bytes may be kept.
	Next(ctx context.Context, max int) ([]Record, error)
	Close() error
}

// Record is a message in a topic.
type Record struct {
	Topic string

	// Partition and Offset say where the record is. They are set by the broker
	// on records that are read.
	Partition int32
	Offset    int64

	// Pinned makes Publish and Settle append to Partition. Otherwise the
	// partition follows from the key ([PartitionOf]); a record with an empty
	// key goes to any partition. It is false on records that are read.
	Pinned bool

	// Time is when the broker appended the record; within a partition it never
	// goes back. It is set by the broker and ignored in Publish and Settle.
	Time time.Time

	Key     []byte // may be empty
	Value   []byte // may be empty
	Headers []Header
}

// Header is a name with a value that travels with a record. Names may repeat.
type Header struct {
	Key   string
	Value []byte
}

// Header returns the value of the first header of that name, or nil.
func (r *Record) Header(name string) []byte {
	for i := range r.Headers {
		if r.Headers[i].Key == name {
			return r.Headers[i].Value
		}
	}
	return nil
}

// Size is the record's number of bytes that count against limits: key, value
// and headers.
func (r *Record) Size() int {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}

// DefaultMaxRecordBytes is the largest [Record.Size] that a broker takes unless
// it is opened with another limit.
const DefaultMaxRecordBytes = 8 << 20

// Want says how much Poll may return. The zero value is a good default.
type Want struct {
	Records int           // at most this many; 0 means 1024
	Bytes   int           // at most about this many bytes, but at least one record; 0 means 16 MiB
	Wait    time.Duration // how long to wait for more once there is a record; 0 takes what is there

	// Pause names partitions of single topics not to take from this time. A join
	// that has too much of one topic at hand waits for the others with it.
	Pause []TopicPartition
}

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
}

// AllPartitions makes Read read every partition of a topic.
const AllPartitions int32 = -1
