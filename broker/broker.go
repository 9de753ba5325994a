// SPDX-License-Identifier: Apache-2.0

// Package broker is the contract between Millrace and a message broker.
//
// The one idea: everything that runs is the loop Poll, predict, Settle. There
// is no acknowledgement of single records. [Batch.Settle] publishes the results
// of a batch and moves the consumer group past the batch as one unit: both happen
// or neither does, whatever is killed in between. So each input is answered
// exactly once in the output topics.
//
// A [Broker] is opened by a driver's package (embedded, kafka, redis). It is one
// type over a small interface, [Driver]: what holds on every broker stands here,
// once, and package brokertest holds the drivers to the rest. There are no
// capability flags.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// Broker keeps topics, each an append-only log in partitions, and the positions
// of consumer groups in them. All methods may be called by several goroutines
// at once. After Close every method returns [ErrClosed].
type Broker struct {
	d Driver
	o Options
	*life
	keyless sticky
}

// Options of a Broker. The zero value is a good default.
type Options struct {
	MaxRecordBytes int          // the largest [Record.Size]; 0 means [DefaultMaxRecordBytes]
	Logger         *slog.Logger // nil means slog.Default()
}

// New makes a Broker of a driver. It is for packages of drivers and for tests
// that put something between.
func New(d Driver, o Options) *Broker {
	if o.MaxRecordBytes == 0 {
		o.MaxRecordBytes = DefaultMaxRecordBytes
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &Broker{d: d, o: o, life: newLife(nil)}
}

// Driver is what the broker was made of.
func (b *Broker) Driver() Driver { return b.d }

// Options are those that the broker was made with, the defaults filled in.
func (b *Broker) Options() Options { return b.o }

// CreateTopics makes the topics that do not exist yet. An existing topic with
// another number of partitions is [ErrTopicConflict]; another retention is taken
// over. Names must satisfy [ValidName]. When it returns nil every topic can be
// published to and joined.
func (b *Broker) CreateTopics(ctx context.Context, topics ...Topic) error {
	call, err := b.enter(ctx)
	if err != nil {
		return err
	}
	defer call.leave()
	list, err := planTopics(topics)
	if err != nil || len(list) == 0 {
		return err
	}
	if err := b.d.CreateTopics(call, list); err != nil {
		return fmt.Errorf("create topics: %w", call.failed(err))
	}
	return nil
}

// planTopics checks topics and fills in their defaults. A topic may be named
// twice, with the same number of partitions; the last one's retention counts.
func planTopics(topics []Topic) ([]Topic, error) {
	var list []Topic
	for _, t := range topics {
		if err := ValidName(t.Name); err != nil {
			return nil, fmt.Errorf("create topic: %w", err)
		}
		if t.Partitions == 0 {
			t.Partitions = DefaultPartitions
		}
		if t.Partitions < 1 || t.Partitions > MaxPartitions {
			return nil, fmt.Errorf("create topic %s: %d partitions, use 1 to %d", t.Name, t.Partitions, MaxPartitions)
		}
		if t.Retention < 0 || t.RetentionBytes < 0 {
			return nil, fmt.Errorf("create topic %s: retention is negative, use 0 to keep records for ever", t.Name)
		}
		i := slices.IndexFunc(list, func(other Topic) bool { return other.Name == t.Name })
		switch {
		case i < 0:
			list = append(list, t)
		case list[i].Partitions != t.Partitions:
			return nil, fmt.Errorf("create topic %s with %d and with %d partitions: %w", t.Name, list[i].Partitions, t.Partitions, ErrTopicConflict)
		default:
			list[i] = t
		}
	}
	return list, nil
}

// Topics describes every topic, sorted by name.
func (b *Broker) Topics(ctx context.Context) ([]TopicInfo, error) {
	call, err := b.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer call.leave()
	infos, err := b.d.Topics(call)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", call.failed(err))
	}
	slices.SortFunc(infos, func(x, y TopicInfo) int { return strings.Compare(x.Name, y.Name) })
	return infos, nil
}

// Publish appends the records and returns where each went when they are durable.
// Records of equal key keep the order of the call. The broker does not keep or
// change the records after the call. [ErrUnknownTopic], [ErrTooLarge] and
// [ErrFull] mean that nothing was appended, as does pinning to a partition that
// does not exist. On any other error some of the records may have been appended,
// but for each partition only a prefix of those meant for it.
func (b *Broker) Publish(ctx context.Context, records ...Record) ([]Place, error) {
	call, err := b.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer call.leave()
	partitions, err := b.route(call, records)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", call.failed(err))
	}
	if len(records) == 0 {
		return nil, nil
	}
	offsets, err := b.d.Append(call, records, partitions)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", call.failed(err))
	}
	places := make([]Place, len(records))
	for i := range records {
		places[i] = Place{records[i].Topic, partitions[i], offsets[i]}
	}
	return places, nil
}

// Join makes the caller a member of a consumer group that reads the topics. A
// group without a position in a topic begins at start ([Start], [End] or [At];
// unset means Start; positions that exist win), and that position is durable when
// Join returns. All members join the same topics. Partition i of every topic
// belongs to the same member; the topics must have equally many partitions
// ([ErrTopicConflict]). Partitions without a member do not exist for longer than
// a rebalance.
func (b *Broker) Join(ctx context.Context, group string, start Position, topics ...string) (*Consumer, error) {
	call, err := b.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer call.leave()
	if err := ValidName(group); err != nil {
		return nil, fmt.Errorf("join group: %w", err)
	}
	if start.IsForever() {
		return nil, fmt.Errorf("join group %s at %q: a group cannot begin there", group, start)
	}
	if start.IsZero() {
		start = Start()
	}
	topics = slices.Compact(slices.Sorted(slices.Values(topics)))
	if err := b.joinable(call, topics); err != nil {
		return nil, fmt.Errorf("join group %s: %w", group, call.failed(err))
	}
	m, err := b.d.Join(call, group, start, topics)
	if err != nil {
		return nil, fmt.Errorf("join group %s: %w", group, call.failed(err))
	}
	return newConsumer(b, group, topics, m), nil
}

// joinable checks that one group can read all the topics.
func (b *Broker) joinable(ctx context.Context, topics []string) error {
	if len(topics) == 0 {
		return errors.New("no topics are named")
	}
	first := 0
	for i, topic := range topics {
		n, err := b.partitions(ctx, topic)
		if err != nil {
			return err
		}
		if i == 0 {
			first = n
		}
		if n != first {
			return fmt.Errorf("topic %s has %d partitions and %s has %d: %w", topics[0], first, topic, n, ErrTopicConflict)
		}
	}
	return nil
}

// Partitions is how many partitions the topic has, or [ErrUnknownTopic].
func (b *Broker) Partitions(ctx context.Context, topic string) (int, error) {
	call, err := b.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer call.leave()
	n, err := b.partitions(call, topic)
	if err != nil {
		return 0, call.failed(err)
	}
	return n, nil
}

func (b *Broker) partitions(ctx context.Context, topic string) (int, error) {
	n, err := b.d.Partitions(ctx, topic)
	if err != nil {
		return 0, fmt.Errorf("topic %q: %w", topic, err)
	}
	return n, nil
}

// Read reads a topic without a group: for tail, replay and inspection. Partition
// is a partition's number, or [AllPartitions]. The reader returns the records
// from the position from up to, not including, the position to, each partition in
// offset order. An unset from is the start. Both ends are found out when Read is
// called: an unset to is where the topic ends then; only [Forever] waits for more.
func (b *Broker) Read(ctx context.Context, topic string, partition int32, from, to Position) (*Reader, error) {
	call, err := b.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer call.leave()
	n, err := b.partitions(call, topic)
	if err != nil {
		return nil, fmt.Errorf("read: %w", call.failed(err))
	}
	partitions := []int32{partition}
	switch {
	case from.IsForever():
		return nil, fmt.Errorf("read topic %s from %q: a reader cannot begin there", topic, from)
	case partition == AllPartitions:
		partitions = partitions[:0]
		for p := range n {
			partitions = append(partitions, int32(p))
		}
	case partition < 0 || int(partition) >= n:
		return nil, fmt.Errorf("read partition %d of topic %s, which has %d", partition, topic, n)
	}
	if from.IsZero() {
		from = Start()
	}
	if to.IsZero() {
		to = End()
	}
	c, err := b.d.Read(call, topic, partitions, from, to)
	if err != nil {
		return nil, fmt.Errorf("read topic %s from %v to %v: %w", topic, from, to, call.failed(err))
	}
	return newReader(b, topic, c), nil
}

// Seek moves the group's positions in the topic, or sets them for a group that
// has none: to one position in every partition or, given as many as there are
// partitions, to one in each; an unset one leaves its partition alone. All move or
// none. It is refused with [ErrGroupActive] while the group has members.
func (b *Broker) Seek(ctx context.Context, group, topic string, to ...Position) error {
	call, err := b.enter(ctx)
	if err != nil {
		return err
	}
	defer call.leave()
	if err := b.seek(call, group, topic, to); err != nil {
		return fmt.Errorf("seek group %s in topic %s: %w", group, topic, call.failed(err))
	}
	return nil
}

func (b *Broker) seek(ctx context.Context, group, topic string, to []Position) error {
	if err := ValidName(group); err != nil {
		return err
	}
	n, err := b.partitions(ctx, topic)
	if err != nil {
		return err
	}
	targets, err := Targets(n, to)
	if err != nil {
		return err
	}
	return b.d.Seek(ctx, group, topic, targets)
}

// Groups names the consumer groups that have positions or members, sorted.
func (b *Broker) Groups(ctx context.Context) ([]string, error) {
	call, err := b.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer call.leave()
	names, err := b.d.Groups(call)
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", call.failed(err))
	}
	slices.Sort(names)
	return names, nil
}

// Lag tells how far the group is in each partition of each topic it reads, sorted
// by topic and partition. It is 0 exactly when nothing is left to take. A group
// that does not exist has none.
func (b *Broker) Lag(ctx context.Context, group string) ([]Lag, error) {
	call, err := b.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer call.leave()
	lags, err := b.d.Lag(call, group)
	if err != nil {
		return nil, fmt.Errorf("lag of group %s: %w", group, call.failed(err))
	}
	slices.SortFunc(lags, func(x, y Lag) int {
		if c := strings.Compare(x.Topic, y.Topic); c != 0 {
			return c
		}
		return int(x.Partition - y.Partition)
	})
	return lags, nil
}

// Close ends open consumers and readers and releases what the broker holds. A
// second Close does nothing.
func (b *Broker) Close() error {
	if d, ok := b.d.(interface{ Closing() }); ok {
		d.Closing()
	}
	if !b.end() {
		return nil
	}
	return b.d.Close()
}
