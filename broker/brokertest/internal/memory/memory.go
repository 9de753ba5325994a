// SPDX-License-Identifier: Apache-2.0

// Package memory is the conformance suite's own broker: the contract of package
// broker in the fewest words, and the ways to break it.
//
// The one idea: every method holds one mutex, so that it is correct by reading
// it. A [Fault] then breaks one promise on purpose, and the suite must notice.
// It is slow and keeps everything; programs use a real driver.
package memory

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// Options say how a broker behaves.
type Options struct {
	MaxRecordBytes  int
	HandoverTimeout time.Duration
	Fault           Fault // the promise to break; empty for none
}

// Broker is a broker.Broker in memory.
type Broker struct {
	opts Options

	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever a waiter should look again
	topics  map[string]*topic
	groups  map[string]*group
	seq     int64 // counts appends: which record was first
	members int   // counts joins: names members
	full    bool
	closed  bool
}

type topic struct {
	broker.Topic
	logs   [][]entry
	marked bool // a settle appended to it (for a fault)
}

type entry struct {
	broker.Record
	seq int64
}

var _ broker.Broker = (*Broker)(nil)

// New returns an empty broker.
func New(opts Options) *Broker {
	return &Broker{
		opts:    opts,
		changed: make(chan struct{}),
		topics:  make(map[string]*topic),
		groups:  make(map[string]*group),
	}
}

// Crash ends the broker and returns what stands up again after a power cut:
// everything that was acknowledged, and no members.
func (b *Broker) Crash() *Broker {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.close()
	next := New(b.opts)
	next.topics, next.seq, next.members = b.topics, b.seq, b.members
	if b.broken(ForgetsPublishInCrash) {
		for _, t := range next.topics {
			for p, log := range t.logs {
				t.logs[p] = log[:max(0, len(log)-1)]
			}
		}
	}
	for name, g := range b.groups {
		positions := g.positions
		if b.broken(ForgetsSettleInCrash) {
			positions = g.before
		}
		for topic, offsets := range positions {
			for p, offset := range offsets {
				offsets[p] = min(offset, int64(len(b.topics[topic].logs[p])))
			}
		}
		next.groups[name] = &group{positions: positions, before: clonePositions(positions)}
	}
	return next
}

// SetFull fills the disk or makes room again.
func (b *Broker) SetFull(full bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !full && b.broken(NeverHeals) {
		return
	}
	b.full = full
}

func (b *Broker) broken(f Fault) bool { return b.opts.Fault == f }

// wake makes every waiter look again.
func (b *Broker) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// wait gives the mutex up until something changed, ctx ended, or it is until
// (the zero time: never).
func (b *Broker) wait(ctx context.Context, until time.Time) {
	changed := b.changed
	b.mu.Unlock()
	defer b.mu.Lock()
	var timeout <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-changed:
	case <-ctx.Done():
	case <-timeout:
	}
}

// CreateTopics implements broker.Broker.
func (b *Broker) CreateTopics(_ context.Context, topics ...broker.Topic) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return broker.ErrClosed
	}
	for _, t := range topics {
		if err := broker.ValidName(t.Name); err != nil && !b.broken(TakesAnyName) {
			return err
		}
		if t.Partitions == 0 {
			t.Partitions = broker.DefaultPartitions
		}
		old := b.topics[t.Name]
		if old == nil {
			b.topics[t.Name] = &topic{Topic: t, logs: make([][]entry, t.Partitions)}
			continue
		}
		if b.broken(CreateEmptiesTopic) {
			old.logs = make([][]entry, t.Partitions)
		}
		if old.Partitions != t.Partitions && !b.broken(IgnoresTopicConflict) {
			return fmt.Errorf("create %s with %d partitions: it has %d: %w", t.Name, t.Partitions, old.Partitions, broker.ErrTopicConflict)
		}
		if !b.broken(KeepsOldRetention) {
			old.Retention, old.RetentionBytes = t.Retention, t.RetentionBytes
		}
	}
	return nil
}

// Topics implements broker.Broker.
func (b *Broker) Topics(context.Context) ([]broker.TopicInfo, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, broker.ErrClosed
	}
	var infos []broker.TopicInfo
	for _, name := range sortedKeys(b.topics) {
		t := b.topics[name]
		info := broker.TopicInfo{Topic: t.Topic}
		for _, log := range t.logs {
			end := int64(len(log))
			if b.broken(EndOffByOne) && end > 0 {
				end--
			}
			info.Ends = append(info.Ends, broker.PartitionEnds{End: end, Records: end})
		}
		infos = append(infos, info)
	}
	if b.broken(UnsortedTopics) {
		slices.Reverse(infos)
	}
	return infos, nil
}

// Publish implements broker.Broker.
func (b *Broker) Publish(_ context.Context, records ...broker.Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed && !b.broken(WorksAfterClose) {
		return broker.ErrClosed
	}
	if b.broken(PublishReorders) {
		records = slices.Clone(records)
		slices.Reverse(records)
	}
	return b.append(records)
}

// append checks all the records, then appends them all.
func (b *Broker) append(records []broker.Record) error {
	if b.full {
		if b.broken(SilentlyFull) {
			return nil
		}
		return fmt.Errorf("append: %w", broker.ErrFull)
	}
	for i := range records {
		if err := b.check(i, &records[i]); err != nil {
			if b.broken(HalfWritten) {
				b.store(records[:i])
			}
			return err
		}
	}
	b.store(records)
	return nil
}

func (b *Broker) check(i int, r *broker.Record) error {
	t := b.topics[r.Topic]
	if t == nil {
		if b.broken(CreatesUnknownTopic) {
			b.topics[r.Topic] = &topic{Topic: broker.Topic{Name: r.Topic, Partitions: 1}, logs: make([][]entry, 1)}
			return nil
		}
		return fmt.Errorf("append to %s: %w", r.Topic, broker.ErrUnknownTopic)
	}
	limit := b.opts.MaxRecordBytes
	if b.broken(LimitTooLow) {
		limit--
	}
	if b.broken(LimitTooHigh) {
		limit++
	}
	if size := r.Size(); size > limit {
		return &broker.TooLargeError{Index: i, Size: size, Limit: limit}
	}
	if r.Pinned && (r.Partition < 0 || int(r.Partition) >= t.Partitions) {
		return fmt.Errorf("append to %s[%d]: the topic has %d partitions", r.Topic, r.Partition, t.Partitions)
	}
	return nil
}

func (b *Broker) store(records []broker.Record) {
	now := time.Now().Round(0)
	if b.broken(TimeGoesBack) {
		now = now.Add(-time.Duration(b.seq) * time.Second)
	}
	for i := range records {
		t := b.topics[records[i].Topic]
		r := b.copy(&records[i])
		r.Partition = b.partition(&r, t)
		r.Pinned = false
		log := t.logs[r.Partition]
		r.Offset, r.Time = int64(len(log)), now
		if n := len(log); n > 0 && r.Time.Before(log[n-1].Time) && !b.broken(TimeGoesBack) {
			r.Time = log[n-1].Time
		}
		b.seq++
		if b.broken(LosesRecords) && b.seq%100 == 0 {
			continue
		}
		t.logs[r.Partition] = append(log, entry{r, b.seq})
	}
	if !b.broken(ReadersNotWoken) {
		b.wake()
	}
}

func (b *Broker) partition(r *broker.Record, t *topic) int32 {
	switch {
	case r.Pinned && !b.broken(IgnoresPin):
		return r.Partition
	case len(r.Key) == 0:
		return int32(b.seq % int64(t.Partitions))
	case b.broken(WrongPartitioner):
		return int32(int(r.Key[0]) % t.Partitions)
	}
	return broker.PartitionOf(r.Key, t.Partitions)
}

func (b *Broker) copy(r *broker.Record) broker.Record {
	c := *r
	if b.broken(KeepsCallersBytes) {
		return c
	}
	c.Key, c.Value = slices.Clone(r.Key), slices.Clone(r.Value)
	c.Headers = nil
	for _, h := range r.Headers {
		if b.broken(DropsRepeatedHeaders) && c.Header(h.Key) != nil {
			continue
		}
		c.Headers = append(c.Headers, broker.Header{Key: h.Key, Value: slices.Clone(h.Value)})
	}
	return c
}

// resolve is the offset of a position in a partition.
func (b *Broker) resolve(t *topic, pos broker.Position, p int) int64 {
	log := t.logs[p]
	if n, ok := pos.Offset(); ok {
		return min(max(n, 0), int64(len(log)))
	}
	if at, ok := pos.Time(); ok {
		for i := range log {
			if !log[i].Time.Before(at) && (log[i].Time.After(at) || !b.broken(TimeExcluded)) {
				return int64(i)
			}
		}
	}
	if pos.IsStart() {
		return 0
	}
	return int64(len(log))
}

// Close implements broker.Broker.
func (b *Broker) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.close()
	return nil
}

func (b *Broker) close() {
	if b.closed {
		return
	}
	b.closed = true
	if !b.broken(CloseLeavesBlocked) {
		b.wake()
	}
}

// Unblock ends calls that a fault left blocked, so that a test can end.
func (b *Broker) Unblock() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.opts.Fault = ""
	b.closed = true
	b.wake()
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
