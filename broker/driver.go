// SPDX-License-Identifier: Apache-2.0

package broker

import "context"

// Driver is what a message broker must do to serve a [Broker]. Users do not call
// it: they hold a Broker, which checks every argument before a driver sees it,
// knows partitions and limits, keeps batches in order, and ends calls when it is
// closed. So a driver does not check again, does not retry what the caller can
// retry, and has no life cycle of its own: every call gets a context that ends
// with the caller's or with the Broker, whichever is first, and Close comes after
// the last call has returned.
//
// All methods may be called by several goroutines at once. Errors are those of
// this package where they fit ([ErrUnknownTopic], [ErrTopicConflict],
// [ErrGroupActive], [ErrFenced], [ErrFull]); the Broker adds what was done to
// what. Slices and records that a driver is given are the caller's again when the
// call returns; what it returns may be kept.
type Driver interface {
	// CreateTopics makes the topics that do not exist and takes over another
	// retention; another number of partitions is [ErrTopicConflict]. Names are
	// valid and come once, partitions are 1 or more, retentions 0 or more. When
	// it returns nil every topic can be appended to and joined.
	CreateTopics(ctx context.Context, topics []Topic) error

	// Topics describes all topics, in any order.
	Topics(ctx context.Context) ([]TopicInfo, error)

	// Partitions is how many partitions the topic has, or [ErrUnknownTopic]. It
	// is asked for with every call and should answer from memory.
	Partitions(ctx context.Context, topic string) (int, error)

	// Append appends each record to the partition beside it, those of a partition
	// in order, and returns their offsets when all are durable. Record.Partition
	// and Pinned say nothing here. ErrFull and ErrUnknownTopic mean that nothing
	// was appended.
	Append(ctx context.Context, records []Record, partitions []int32) (offsets []int64, err error)

	// Join makes a member of the group. The topics are sorted, come once and have
	// equally many partitions. Where the group has no position it begins at
	// start, durably when Join returns.
	Join(ctx context.Context, group string, start Position, topics []string) (Member, error)

	// Read reads the partitions between two positions, which are resolved now;
	// to may be [Forever], from may not.
	Read(ctx context.Context, topic string, partitions []int32, from, to Position) (Cursor, error)

	// Seek moves the group's positions in the topic, one for each partition; an
	// unset one stays. All move or none; [ErrGroupActive] while it has members.
	Seek(ctx context.Context, group, topic string, to []Position) error

	// Groups names the groups that have positions or members, in any order.
	Groups(ctx context.Context) ([]string, error)

	// Lag is as [Broker.Lag], in any order.
	Lag(ctx context.Context, group string) ([]Lag, error)

	// Close ends members and cursors and releases what the driver holds. A driver
	// whose calls may wait for something that no context ends, such as room on a
	// disk, has a method Closing() too: it is called when the Broker is closed,
	// before its calls are waited for, and perhaps more than once.
	Close() error
}

// Member is a driver's part of a [Consumer]. Poll, Rewind and Assignment are
// called by one goroutine at a time, and so is Settle, by another one perhaps: a
// Poll may run beside a Settle, but Rewind does not. Close comes after all of them.
//
// For each partition of each topic that it owns a member knows two offsets: the
// group's position, which Settle moves, and the next one to poll, which Poll
// moves and Rewind sets back to the position. What lies between them is open. A
// partition that another member waits for is not polled any more and is handed
// over as soon as nothing of it is open, by Poll; one that stays open for longer
// than the driver's hand-over time is taken away, but not during a Settle.
type Member interface {
	// Poll blocks until there is at least one record to poll, waits up to
	// w.Wait for more, and returns them as [Consumer.Poll] describes. w.Records
	// and w.Bytes are set. When ctx ends it returns ctx's error, and what it had
	// at hand is polled again.
	Poll(ctx context.Context, w Want) (Polled, error)

	// Settle appends the records and moves the group, as one unit; see
	// [Settlement].
	Settle(ctx context.Context, s *Settlement) error

	// Rewind makes Poll return again what is open in these partitions. Those that
	// the member does not own are ignored. A settle whose outcome was not known is
	// not given again afterwards: what became of it the member finds out before
	// the next Poll returns a record, or the next Settle takes place.
	Rewind(partitions []int32)

	// Assignment is what the member owned when Poll returned last.
	Assignment() Assignment

	// Close leaves the group and hands all partitions over at once.
	Close(ctx context.Context) error
}

// Polled is what a Poll brought.
type Polled struct {
	Records []Record // at least one
	Moves   []Move   // past the records, one for each partition of a topic they are of
	Backlog int64    // further records that could have been polled, as well as the driver knows
}

// Move is the way of a group past records of a partition. From is where it
// stands, To where it goes. They are offsets that the driver chose; between the
// records' own there may be gaps.
type Move struct {
	TopicPartition
	From, To int64
}

// Settlement is what a Settle does. [ErrFenced] means that the member has lost a
// partition of the moves since they were polled, or stands elsewhere in it than at
// From; ErrUnknownTopic and ErrFull, like ErrFenced, that nothing was changed.
// After any other error the same settlement, by its pointer, may be given again, and
// takes place once.
type Settlement struct {
	Moves []Move

	// All also fences when the member has lost any of its partitions since Poll
	// returned last, whether the moves are in it or not.
	All bool

	Records    []Record
	Partitions []int32 // of each record, as in Append
}

// Cursor is a driver's part of a [Reader], used by one goroutine. Next is as
// [Reader.Next]; at most is 1 or more.
type Cursor interface {
	Next(ctx context.Context, atMost int) ([]Record, error)
	Close() error
}
