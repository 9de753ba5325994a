// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded/recordbatch"
)

// topic is fixed once it exists, but for its retention.
type topic struct {
	id         uint32
	name       string
	partitions []*partition
	retention  atomic.Pointer[retention]
	packing    packing
}

type retention struct {
	age   time.Duration
	bytes int64
}

// partition is a log. Offsets below start are deleted, those below visible are
// durable and may be read, those below next are assigned.
type partition struct {
	topic  *topic
	index  int32
	prefix []byte // of its keys
	upper  []byte // bound of its keys

	damaged error // where it ends is not known: it can be neither read nor appended to

	start   atomic.Int64
	visible atomic.Int64

	appending sync.Mutex // held from assigning offsets until Pebble has the entry
	next      int64
	size      int64 // bytes of all entries since the log began

	mu     sync.Mutex
	recent []entry // the tail of the log that is in memory, without a gap up to next

	reclaim atomic.Bool // something was deleted whose space is not given back

	watchMu  sync.Mutex
	watchers atomic.Pointer[[]*watcher]
}

func newTopic(id uint32, name string, partitions int, r retention) *topic {
	t := &topic{id: id, name: name, partitions: make([]*partition, partitions)}
	t.retention.Store(&r)
	for i := range t.partitions {
		prefix := logPrefix(id, int32(i))
		t.partitions[i] = &partition{topic: t, index: int32(i), prefix: prefix, upper: prefixEnd(prefix)}
	}
	return t
}

func (p *partition) String() string { return fmt.Sprintf("%s[%d]", p.topic.name, p.index) }

// ends is what of the partition may be read.
func (p *partition) ends() broker.PartitionEnds {
	// Start is read first: it never passes visible, which only grows.
	start := p.start.Load()
	end := p.visible.Load()
	return broker.PartitionEnds{Start: start, End: end, Records: end - start}
}

// reveal makes the records before end visible and wakes who waits for them.
func (p *partition) reveal(end int64) {
	for {
		old := p.visible.Load()
		if end <= old {
			return // a later append was faster; it has woken the watchers
		}
		if p.visible.CompareAndSwap(old, end) {
			break
		}
	}
	if list := p.watchers.Load(); list != nil {
		for _, w := range *list {
			w.wake()
		}
	}
}

// watcher is woken when a partition it watches has grown. One token is kept, so
// it does not matter whether it sleeps yet.
type watcher struct{ ch chan struct{} }

func newWatcher() *watcher { return &watcher{make(chan struct{}, 1)} }

func (w *watcher) wake() {
	select {
	case w.ch <- struct{}{}:
	default:
	}
}

func (p *partition) watch(w *watcher) {
	p.watchMu.Lock()
	defer p.watchMu.Unlock()
	var list []*watcher
	if old := p.watchers.Load(); old != nil {
		list = slices.Clone(*old)
	}
	list = append(list, w)
	p.watchers.Store(&list)
}

func (p *partition) unwatch(w *watcher) {
	p.watchMu.Lock()
	defer p.watchMu.Unlock()
	old := p.watchers.Load()
	if old == nil {
		return
	}
	list := slices.DeleteFunc(slices.Clone(*old), func(x *watcher) bool { return x == w })
	p.watchers.Store(&list)
}

// storedTopic is a topic as it is stored.
type storedTopic struct {
	ID             uint32        `json:"id"`
	Partitions     int           `json:"partitions"`
	Retention      time.Duration `json:"retention,omitempty"` // nanoseconds
	RetentionBytes int64         `json:"retention_bytes,omitempty"`
}

// CreateTopics implements [broker.Driver].
func (d *driver) CreateTopics(_ context.Context, topics []broker.Topic) error {
	if err := d.failure.get(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	batch := d.db.NewBatch()
	defer batch.Close()
	changed := map[*topic]retention{}
	nextID := d.nextTopicID
	for _, want := range topics {
		t := d.topics[want.Name]
		if t == nil {
			t = newTopic(nextID, want.Name, want.Partitions, retention{})
			nextID++
		}
		if len(t.partitions) != want.Partitions {
			return fmt.Errorf("topic %s has %d partitions and cannot have %d: %w", t.name, len(t.partitions), want.Partitions, broker.ErrTopicConflict)
		}
		value, err := json.Marshal(storedTopic{t.id, want.Partitions, want.Retention, want.RetentionBytes})
		if err != nil {
			return fmt.Errorf("topic %s: %w", t.name, err)
		}
		if err := batch.Set(topicKey(t.name), value, nil); err != nil {
			return fmt.Errorf("topic %s: %w", t.name, err)
		}
		changed[t] = retention{want.Retention, want.RetentionBytes}
	}
	if err := d.apply(batch, true); err != nil {
		return err
	}
	for t, r := range changed {
		t.retention.Store(&r)
		d.topics[t.name] = t
	}
	d.nextTopicID = nextID
	return nil
}

// Topics implements [broker.Driver].
func (d *driver) Topics(context.Context) ([]broker.TopicInfo, error) {
	if err := d.failure.get(); err != nil {
		return nil, err
	}
	var infos []broker.TopicInfo
	for _, t := range d.allTopics() {
		r := t.retention.Load()
		info := broker.TopicInfo{Topic: broker.Topic{
			Name: t.name, Partitions: len(t.partitions), Retention: r.age, RetentionBytes: r.bytes,
		}}
		for _, p := range t.partitions {
			info.Ends = append(info.Ends, p.ends())
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// Partitions implements [broker.Driver].
func (d *driver) Partitions(_ context.Context, name string) (int, error) {
	t, err := d.topic(name)
	if err != nil {
		return 0, err
	}
	return len(t.partitions), nil
}

func (d *driver) allTopics() []*topic {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return slices.Collect(maps.Values(d.topics))
}

// topic is the topic of that name or ErrUnknownTopic; the caller says which.
func (d *driver) topic(name string) (*topic, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if t := d.topics[name]; t != nil {
		return t, nil
	}
	return nil, broker.ErrUnknownTopic
}

func parseTopic(key, value []byte) (*topic, error) {
	name := string(key[1:])
	var s storedTopic
	if err := json.Unmarshal(value, &s); err != nil || s.Partitions < 1 || s.Partitions > broker.MaxPartitions {
		return nil, fmt.Errorf("topic %s has a damaged description: %q", name, value)
	}
	return newTopic(s.ID, name, s.Partitions, retention{s.Retention, s.RetentionBytes}), nil
}

// recoverTopics loads the topics and finds the ends of their partitions.
func (d *driver) recoverTopics() error {
	err := d.scan([]byte{kindTopic}, func(key, value []byte) error {
		t, err := parseTopic(key, value)
		if err != nil {
			return err
		}
		d.topics[t.name] = t
		d.nextTopicID = max(d.nextTopicID, t.id+1)
		return nil
	})
	if err != nil {
		return err
	}
	for _, t := range d.topics {
		for _, p := range t.partitions {
			err := d.recoverPartition(p)
			if errors.Is(err, ErrDamaged) || errors.Is(err, recordbatch.ErrCorrupt) {
				// The others are whole.
				p.damaged = fmt.Errorf("%s: where it ends cannot be read: %w", p, err)
				d.options.Logger.Error("a partition is damaged and cannot be used", "partition", p.String(), "error", err)
			} else if err != nil {
				return fmt.Errorf("recover %s: %w", p, err)
			}
		}
	}
	return nil
}

func (d *driver) recoverPartition(p *partition) error {
	it, err := d.db.NewIter(&pebble.IterOptions{LowerBound: p.prefix, UpperBound: p.upper})
	if err != nil {
		return d.described(err)
	}
	defer it.Close()
	if !it.Last() {
		return d.described(it.Error()) // an empty log
	}
	e, size, err := d.readEntry(it)
	if err != nil {
		return err
	}
	d.clock.observe(e.time)
	p.next, p.size = e.end(), size
	p.visible.Store(p.next)
	if !it.First() {
		return d.described(it.Error())
	}
	first, err := parseLogKey(it.Key())
	if err != nil {
		return err
	}
	p.start.Store(first.base)
	p.reclaim.Store(first.base > 0) // what was deleted may not be given back yet
	return d.described(it.Error())
}
