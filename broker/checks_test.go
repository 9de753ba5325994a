// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// checked is a call of a broker, and what the driver should see of it. Every
// property of the conformance suite that no driver can break any more is here.
type checked struct {
	name string
	call func(ctx context.Context, b *Broker) error
	saw  string // by the driver; empty for nothing
	err  error  // nil: none, if the driver saw it; else some error
}

func (c checked) run(t *testing.T) {
	t.Run(c.name, func(t *testing.T) {
		b, m := newFake(t, 3)
		m.d.partitions["four"] = 4
		err := c.call(t.Context(), b)
		switch saw := strings.Join(m.d.saw(), ", "); {
		case saw != c.saw:
			t.Errorf("the driver saw %q, want %q (%v)", saw, c.saw, err)
		case c.saw != "" && err != nil:
			t.Error(err)
		case c.saw == "" && (err == nil || c.err != nil && !errors.Is(err, c.err)):
			t.Errorf("returned %v, want an error that is %v", err, c.err)
		}
	})
}

func TestCreateTopicsIsChecked(t *testing.T) {
	create := func(topics ...Topic) func(ctx context.Context, b *Broker) error {
		return func(ctx context.Context, b *Broker) error { return b.CreateTopics(ctx, topics...) }
	}
	for _, c := range []checked{
		{name: "a topic", call: create(Topic{Name: "a", Partitions: 2, Retention: time.Hour}), saw: "CreateTopics [{a 2 1h0m0s 0}]"},
		{name: "the default of partitions", call: create(Topic{Name: "a"}), saw: "CreateTopics [{a 8 0s 0}]"},
		{name: "as many partitions as there may be", call: create(Topic{Name: "a", Partitions: MaxPartitions}), saw: "CreateTopics [{a 4096 0s 0}]"},
		{name: "more than that", call: create(Topic{Name: "a", Partitions: MaxPartitions + 1})},
		{name: "fewer than none", call: create(Topic{Name: "a", Partitions: -1})},
		{name: "a bad name", call: create(Topic{Name: "a b"})},
		{name: "a good and a bad name", call: create(Topic{Name: "a"}, Topic{Name: ""})},
		{name: "a negative retention", call: create(Topic{Name: "a", Retention: -1})},
		{name: "a negative number of bytes", call: create(Topic{Name: "a", RetentionBytes: -1})},
		{name: "one topic twice", call: create(Topic{Name: "a", Retention: 1}, Topic{Name: "b"}, Topic{Name: "a", Retention: 2}), saw: "CreateTopics [{a 8 2ns 0} {b 8 0s 0}]"},
		{name: "one topic with two numbers", call: create(Topic{Name: "a"}, Topic{Name: "a", Partitions: 2}), err: ErrTopicConflict},
	} {
		c.run(t)
	}
}

func TestJoinIsChecked(t *testing.T) {
	join := func(group string, start Position, topics ...string) func(ctx context.Context, b *Broker) error {
		return func(ctx context.Context, b *Broker) error { _, err := b.Join(ctx, group, start, topics...); return err }
	}
	for _, c := range []checked{
		{name: "a group", call: join("g", End(), "in"), saw: "Join g end [in]"},
		{name: "the default of the start", call: join("g", Position{}, "in"), saw: "Join g start [in]"},
		{name: "topics in any order and twice", call: join("g", Start(), "out", "in", "out"), saw: "Join g start [in out]"},
		{name: "a bad name", call: join("a group", Start(), "in")},
		{name: "for ever", call: join("g", Forever(), "in")},
		{name: "no topics", call: join("g", Start())},
		{name: "an unknown topic", call: join("g", Start(), "in", "nowhere"), err: ErrUnknownTopic},
		{name: "topics of 3 and 4 partitions", call: join("g", Start(), "in", "four"), err: ErrTopicConflict},
	} {
		c.run(t)
	}
}

func TestReadIsChecked(t *testing.T) {
	read := func(topic string, partition int32, from, to Position) func(ctx context.Context, b *Broker) error {
		return func(ctx context.Context, b *Broker) error {
			_, err := b.Read(ctx, topic, partition, from, to)
			return err
		}
	}
	for _, c := range []checked{
		{name: "a partition", call: read("in", 2, Offset(3), Forever()), saw: "Read in [2] 3 forever"},
		{name: "all partitions", call: read("in", AllPartitions, Start(), End()), saw: "Read in [0 1 2] start end"},
		{name: "the defaults of the ends", call: read("in", 0, Position{}, Position{}), saw: "Read in [0] start end"},
		{name: "an unknown topic", call: read("nowhere", 0, Start(), End()), err: ErrUnknownTopic},
		{name: "a partition too many", call: read("in", 3, Start(), End())},
		{name: "a negative partition", call: read("in", -2, Start(), End())},
		{name: "from for ever", call: read("in", 0, Forever(), End())},
	} {
		c.run(t)
	}
}

func TestSeekIsChecked(t *testing.T) {
	seek := func(group, topic string, to ...Position) func(ctx context.Context, b *Broker) error {
		return func(ctx context.Context, b *Broker) error { return b.Seek(ctx, group, topic, to...) }
	}
	for _, c := range []checked{
		{name: "to one position", call: seek("g", "in", Offset(1)), saw: "Seek g in [1 1 1]"},
		{name: "to one in each partition", call: seek("g", "in", Offset(1), Position{}, End()), saw: "Seek g in [1  end]"},
		{name: "to none", call: seek("g", "in")},
		{name: "to too few", call: seek("g", "in", Start(), End())},
		{name: "to unset ones", call: seek("g", "in", Position{}, Position{}, Position{})},
		{name: "for ever", call: seek("g", "in", Forever())},
		{name: "in an unknown topic", call: seek("g", "nowhere", Start()), err: ErrUnknownTopic},
		{name: "of a bad name", call: seek("a group", "in", Start())},
	} {
		c.run(t)
	}
}

func TestPublishIsChecked(t *testing.T) {
	publish := func(records ...Record) func(ctx context.Context, b *Broker) error {
		return func(ctx context.Context, b *Broker) error { _, err := b.Publish(ctx, records...); return err }
	}
	small := Record{Topic: "in", Value: []byte("v")}
	limit := Record{Topic: "in", Key: []byte("k"), Headers: []Header{{Key: "h", Value: []byte("v")}}}
	limit.Value = bytes.Repeat([]byte{'x'}, DefaultMaxRecordBytes-limit.Size())
	over := limit
	over.Value = append(bytes.Clone(limit.Value), 'x')
	headers := Record{Topic: "in", Headers: make([]Header, MaxHeaders)}
	more := Record{Topic: "in", Headers: make([]Header, MaxHeaders+1)}
	for _, c := range []checked{
		{name: "as many headers as may be", call: publish(small, headers), saw: "Append"},
		{name: "a header too many", call: publish(small, more), err: ErrTooLarge},
		{name: "a record at the limit", call: publish(small, limit), saw: "Append"},
		{name: "a record over the limit", call: publish(small, over), err: ErrTooLarge},
		{name: "to an unknown topic", call: publish(small, Record{Topic: "nowhere"}), err: ErrUnknownTopic},
		{name: "pinned to the last partition", call: publish(Record{Topic: "in", Partition: 2, Pinned: true}), saw: "Append"},
		{name: "pinned to a partition too many", call: publish(small, Record{Topic: "in", Partition: 3, Pinned: true})},
		{name: "pinned to a negative partition", call: publish(small, Record{Topic: "in", Partition: -1, Pinned: true})},
	} {
		c.run(t)
	}
	b, m := newFake(t, 3)
	if places, err := b.Publish(t.Context()); places != nil || err != nil || m.d.saw() != nil {
		t.Errorf("publishing nothing returned %v and %v", places, err)
	}
}

func TestRecordsGoWhereTheirKeySaysOrWhereTheyArePinned(t *testing.T) {
	b, m := newFake(t, 3)
	m.d.partitions["four"] = 4
	records := []Record{
		{Topic: "in", Key: []byte("21")},
		{Topic: "in", Key: []byte("21"), Partition: 1, Pinned: true},
		{Topic: "four", Key: []byte("21")},
		{Topic: "in", Key: []byte("abc"), Partition: 7},
		{Topic: "in", Partition: 2, Pinned: true},
	}
	places, err := b.Publish(t.Context(), records...)
	if err != nil {
		t.Fatal(err)
	}
	want := []int32{PartitionOf([]byte("21"), 3), 1, PartitionOf([]byte("21"), 4), PartitionOf([]byte("abc"), 3), 2}
	if !slices.Equal(m.d.appended, want) {
		t.Errorf("the records go to the partitions %v, want %v", m.d.appended, want)
	}
	for i, place := range places {
		if place.Topic != records[i].Topic || place.Partition != want[i] {
			t.Errorf("record %d is said to be at %v", i, place)
		}
	}
}

// Without a key records go anywhere, but many in a row to one partition, and not
// all to one.
func TestRecordsWithoutAKeyAreSpreadInRuns(t *testing.T) {
	b, m := newFake(t, 3)
	if _, err := b.Publish(t.Context(), slices.Repeat([]Record{{Topic: "in"}}, 10*stickyRun)...); err != nil {
		t.Fatal(err)
	}
	count := map[int32]int{}
	runs := 1
	for i, p := range m.d.appended {
		count[p]++
		if i > 0 && p != m.d.appended[i-1] {
			runs++
		}
	}
	if len(count) != 3 || runs != 10 {
		t.Errorf("%d records went to partitions %v in %d runs", 10*stickyRun, count, runs)
	}
	for range 30 {
		if _, err := b.Publish(t.Context(), Record{Topic: "in"}); err != nil {
			t.Fatal(err)
		}
		delete(count, m.d.appended[0])
	}
	if len(count) > 0 {
		t.Errorf("30 records one by one never went to partitions %v", count)
	}
}

// Topics have different numbers of partitions.
func TestRecordsWithoutAKeyFitTheirTopics(t *testing.T) {
	b, m := newFake(t, 1)
	m.d.partitions["four"] = 4
	for range 4 {
		if _, err := b.Publish(t.Context(), Record{Topic: "four"}, Record{Topic: "in"}); err != nil {
			t.Fatal(err)
		}
		if m.d.appended[1] != 0 {
			t.Fatalf("a record for a topic of one partition goes to partition %d", m.d.appended[1])
		}
	}
}

func TestNextIsBounded(t *testing.T) {
	b, m := newFake(t, 1)
	r, err := b.Read(t.Context(), "in", 0, Start(), End())
	if err != nil {
		t.Fatal(err)
	}
	m.d.saw()
	for _, most := range []int{0, -1, 1, 1024, 1025} {
		if _, err := r.Next(t.Context(), most); err == nil {
			t.Fatal("Next returned nothing, and no error")
		}
	}
	wantList(t, "the driver saw", m.d.saw(), "Next 1024", "Next 1024", "Next 1", "Next 1024", "Next 1024")
}

func TestWhatIsListedIsSorted(t *testing.T) {
	b, m := newFake(t, 1)
	m.d.names = []string{"b", "a"}
	m.d.infos = []TopicInfo{{Topic: Topic{Name: "b"}}, {Topic: Topic{Name: "a"}}}
	m.d.lags = []Lag{{Topic: "b"}, {Topic: "a", Partition: 10}, {Topic: "a", Partition: 9}}
	if groups, err := b.Groups(t.Context()); err != nil || !slices.IsSorted(groups) {
		t.Errorf("groups %v, %v", groups, err)
	}
	infos, err := b.Topics(t.Context())
	if err != nil || infos[0].Name != "a" {
		t.Errorf("topics %v, %v", infos, err)
	}
	lags, err := b.Lag(t.Context(), "g")
	if err != nil || fmt.Sprintf("%d %d %s", lags[0].Partition, lags[1].Partition, lags[2].Topic) != "9 10 b" {
		t.Errorf("lags %v, %v", lags, err)
	}
}

// every calls all methods that reach the driver.
func every(ctx context.Context, b *Broker) map[string]error {
	errs := map[string]error{"CreateTopics": b.CreateTopics(ctx, Topic{Name: "a"}), "Seek": b.Seek(ctx, "g", "in", Start())}
	_, errs["Topics"] = b.Topics(ctx)
	_, errs["Publish"] = b.Publish(ctx, Record{Topic: "in"})
	_, errs["Join"] = b.Join(ctx, "g", Start(), "in")
	_, errs["Read"] = b.Read(ctx, "in", 0, Start(), End())
	_, errs["Groups"] = b.Groups(ctx)
	_, errs["Lag"] = b.Lag(ctx, "g")
	return errs
}

func TestErrorsSayWhatWasDoneToWhat(t *testing.T) {
	b, m := newFake(t, 1)
	m.d.err = errors.New("connection lost")
	for what, err := range every(t.Context(), b) {
		if !errors.Is(err, m.d.err) || err.Error() == m.d.err.Error() {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAfterCloseEverythingIsClosed(t *testing.T) {
	b, m := newFake(t, 1)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
	wantList(t, "the driver saw", m.d.saw(), "Close")
	for what, err := range every(t.Context(), b) {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", what, err)
		}
	}
	wantList(t, "the closed driver saw", m.d.saw())
}

func TestAnEndedContextReachesNoDriver(t *testing.T) {
	b, m := newFake(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for what, err := range every(ctx, b) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want the context's error", what, err)
		}
	}
	wantList(t, "the driver saw", m.d.saw())
}
