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
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// Options say how a broker behaves.
type Options struct {
	HandoverTimeout time.Duration
	Fault           Fault // the promise to break; empty for none
}

// Broker is a broker.Driver in memory.
type Broker struct {
	opts Options

	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever a waiter should look again
	topics  map[string]*topic
	groups  map[string]*group
	seq     int64 // counts appends: which record was first
	members int   // counts joins: names members
	full    bool
	gone    bool // what this was is another Broker now

	late sync.WaitGroup // settles that nobody waits for (for a fault)
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

var _ broker.Driver = (*Broker)(nil)

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
	b.gone = true
	b.wake()
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

// errGone is what the clients of a broker that has crashed get.
var errGone = errors.New("the broker has crashed")

// enter begins a call; the caller unlocks b.mu.
func (b *Broker) enter() error {
	b.mu.Lock()
	if b.gone {
		b.mu.Unlock()
		return errGone
	}
	return nil
}

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
	ended := ctx.Done()
	if b.broken(CloseLeavesBlocked) {
		ended = nil
	}
	var timeout <-chan time.Time
	if ended == nil {
		until = time.Now().Add(time.Hour) // so that a test can end
	}
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-changed:
	case <-ended:
	case <-timeout:
	}
}

// CreateTopics implements broker.Driver.
func (b *Broker) CreateTopics(_ context.Context, topics []broker.Topic) error {
	if err := b.enter(); err != nil {
		return err
	}
	defer b.mu.Unlock()
	for _, t := range topics {
		if len(t.Name) > 100 && b.broken(RefusesLongNames) {
			return fmt.Errorf("topic %s: the name is too long", t.Name)
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
			return fmt.Errorf("%s with %d partitions: it has %d: %w", t.Name, t.Partitions, old.Partitions, broker.ErrTopicConflict)
		}
		if !b.broken(KeepsOldRetention) {
			old.Retention, old.RetentionBytes = t.Retention, t.RetentionBytes
		}
	}
	return nil
}

// Partitions implements broker.Driver.
func (b *Broker) Partitions(_ context.Context, name string) (int, error) {
	if err := b.enter(); err != nil {
		return 0, err
	}
	defer b.mu.Unlock()
	t := b.topics[name]
	if t == nil && b.broken(CreatesUnknownTopic) {
		t = &topic{Topic: broker.Topic{Name: name, Partitions: 1}, logs: make([][]entry, 1)}
		b.topics[name] = t
	}
	if t == nil {
		return 0, broker.ErrUnknownTopic
	}
	return t.Partitions, nil
}

// Topics implements broker.Driver.
func (b *Broker) Topics(context.Context) ([]broker.TopicInfo, error) {
	if err := b.enter(); err != nil {
		return nil, err
	}
	defer b.mu.Unlock()
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
	return infos, nil
}

// Append implements broker.Driver.
func (b *Broker) Append(_ context.Context, records []broker.Record, partitions []int32) ([]int64, error) {
	if err := b.enter(); err != nil {
		return nil, err
	}
	defer b.mu.Unlock()
	if b.broken(PublishReorders) {
		records, partitions = slices.Clone(records), slices.Clone(partitions)
		slices.Reverse(records)
		slices.Reverse(partitions)
	}
	return b.append(records, partitions)
}

// append appends all the records, or none.
func (b *Broker) append(records []broker.Record, partitions []int32) ([]int64, error) {
	if b.full {
		if b.broken(SilentlyFull) {
			return make([]int64, len(records)), nil
		}
		return nil, broker.ErrFull
	}
	now := time.Now().Round(0)
	if b.broken(TimeGoesBack) {
		now = now.Add(-time.Duration(b.seq) * time.Second)
	}
	var offsets []int64
	for i := range records {
		offsets = append(offsets, b.store(&records[i], partitions[i], now))
	}
	if len(records) > 0 && !b.broken(ReadersNotWoken) {
		b.wake()
	}
	return offsets, nil
}

// store appends a record and returns its offset.
func (b *Broker) store(record *broker.Record, partition int32, now time.Time) int64 {
	t := b.topics[record.Topic]
	r := b.copy(record)
	if b.broken(OtherPartition) {
		partition = (partition + 1) % int32(t.Partitions)
	}
	r.Partition, r.Pinned = partition, false
	log := t.logs[partition]
	r.Offset, r.Time = int64(len(log)), now
	if n := len(log); n > 0 && r.Time.Before(log[n-1].Time) && !b.broken(TimeGoesBack) {
		r.Time = log[n-1].Time
	}
	b.seq++
	if b.broken(LosesRecords) && b.seq%100 == 0 {
		return r.Offset
	}
	t.logs[partition] = append(log, entry{r, b.seq})
	if b.broken(OffsetOffByOne) {
		return r.Offset + 1
	}
	return r.Offset
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

// Close implements broker.Driver.
func (b *Broker) Close() error { return nil }

// Unblock ends calls that a fault left blocked, so that a test can end.
func (b *Broker) Unblock() {
	defer b.late.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.opts.Fault = ""
	b.gone = true
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
