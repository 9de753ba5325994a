// SPDX-License-Identifier: Apache-2.0

package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/broker/redis"
	"github.com/millrace-ml/millrace/deadletter"
	servers "github.com/millrace-ml/millrace/internal/test/servers/redis"
	"github.com/millrace-ml/millrace/internal/transfer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func inMemory(t *testing.T) *broker.Broker {
	t.Helper()
	b, err := embedded.Open("data", embedded.Options{FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// onRedis is a broker whose offsets have gaps and begin nowhere near 0.
func onRedis(t *testing.T, s *servers.Server, namespace string) *broker.Broker {
	t.Helper()
	b, err := redis.Open(t.Context(), s.URL()+"?namespace="+namespace, redis.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// flow is a pipeline in the middle of its work: tickets → tags → desk. Of the
// tickets of a partition it has tagged all but two and answered all but four.
type flow struct {
	topics []broker.Topic
	n      int // tickets of each partition
}

const partitions = 3

func newFlow(n int) flow {
	var topics []broker.Topic
	for _, name := range []string{"tickets", "tags", "tagger.dead", "desk"} {
		topics = append(topics, broker.Topic{Name: name, Partitions: partitions, Retention: 24 * time.Hour})
	}
	return flow{topics, n}
}

func header(key, format string, args ...any) broker.Header {
	return broker.Header{Key: key, Value: fmt.Appendf(nil, format, args...)}
}

// publish puts the flow on a broker whose offsets count from 0.
func (f flow) publish(t *testing.T, b *broker.Broker) {
	t.Helper()
	if err := b.CreateTopics(t.Context(), f.topics...); err != nil {
		t.Fatal(err)
	}
	for i := range f.n {
		for p := range int32(partitions) {
			put := func(topic, value string, headers ...broker.Header) {
				t.Helper()
				// The key is that of another partition.
				r := broker.Record{Topic: topic, Partition: p, Pinned: true, Key: fmt.Appendf(nil, "c-%d", i%5), Value: []byte(value), Headers: headers}
				if _, err := b.Publish(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			}
			place := fmt.Sprintf("tickets/%d/%d", p, i)
			put("tickets", fmt.Sprintf(`{"n":%d}`, i), header("twice", "a"), header("empty", ""), header("twice", "b"))
			if i < f.n-2 {
				put("tags", "", header("mr-id", "%s/tagger", place), header("mr-status", "failed"))
				put("tagger.dead", "as it came", header("mr-id", "%s", place), header("mr-dead-record", "%s", place))
			}
			if i < f.n-4 {
				put("desk", `{"id":"x"}`, header("mr-of", "%s", place), header("mr-low", "%d", i+1))
			}
		}
	}
	seek := func(group, topic string, offset int) {
		t.Helper()
		if err := b.Seek(t.Context(), group, topic, broker.Offset(int64(offset))); err != nil {
			t.Fatal(err)
		}
	}
	seek("desk.tagger", "tickets", f.n-2)
	seek("desk.desk", "tickets", f.n-1)
	seek("desk.desk", "tags", f.n-3)
	seek("desk.desk", "tagger.dead", f.n-2)
	seek("other", "desk", 0)
}

func TestDecisionsOnDeadLettersStayTheirs(t *testing.T) {
	s := servers.Start(t, servers.Options{})
	here, there, back := inMemory(t), onRedis(t, s, "a"), inMemory(t)
	newFlow(10).publish(t, here)
	if err := here.CreateTopics(t.Context(), broker.Topic{Name: "tagger.dead.decisions", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	decision := func(what, value string) broker.Record {
		return broker.Record{Topic: "tagger.dead.decisions", Value: []byte(value), Headers: []broker.Header{header("mr-decision", "%s", what)}}
	}
	publish(t, here,
		decision("retried", `{"letters":[{"partition":2,"first":1,"last":3},{"partition":0,"first":4,"last":4}]}`),
		decision("dropped", `{"letters":[{"partition":2,"first":5,"last":6}]}`))
	state := func(b *broker.Broker) string {
		t.Helper()
		store, err := deadletter.New(b, deadletter.Options{})
		if err != nil {
			t.Fatal(err)
		}
		decisions, err := store.Decisions(t.Context(), "tagger")
		if err != nil {
			t.Fatal(err)
		}
		var all strings.Builder
		for r, err := range broker.Records(t.Context(), b, "tagger.dead", 2, broker.Start(), broker.Position{}) {
			if err != nil {
				t.Fatal(err)
			}
			d, _ := decisions.About(r.Partition, r.Offset)
			fmt.Fprintf(&all, "%s ", d.State)
		}
		return all.String()
	}
	run(t, transfer.Config{From: here, To: there})
	const want = " retried retried retried  dropped dropped  "
	if got := state(there); got != want {
		t.Errorf("the letters are %q, want %q", got, want)
	}
	if n, err := s.Client().XTrimMaxLen(t.Context(), "{a}:tagger.dead:2", 5).Result(); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	run(t, transfer.Config{From: there, To: back})
	if got, want := state(back), "retried  dropped dropped  "; got != want {
		t.Errorf("after the first ones were deleted the letters are %q, want %q", got, want)
	}
}

func run(t *testing.T, c transfer.Config) transfer.Plan {
	t.Helper()
	tr, err := transfer.Prepare(t.Context(), c)
	if err == nil {
		err = tr.Run(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return tr.Plan()
}

// dump is all that is on a broker, one line for each record and position. With
// exact, offsets are given; otherwise they are counted in records.
func dump(t *testing.T, b *broker.Broker) []string {
	t.Helper()
	infos, err := b.Topics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	places := map[string]map[int64]int{} // topic/partition → offset → number
	for _, info := range infos {
		lines = append(lines, fmt.Sprint(info.Topic))
		for r, err := range broker.Records(t.Context(), b, info.Name, broker.AllPartitions, broker.Start(), broker.Position{}) {
			if err != nil {
				t.Fatal(err)
			}
			at := fmt.Sprintf("%s/%d", r.Topic, r.Partition)
			if places[at] == nil {
				places[at] = map[int64]int{}
			}
			places[at][r.Offset] = len(places[at])
			lines = append(lines, fmt.Sprintf("%s/%03d: %q %q %s", at, places[at][r.Offset], r.Key, r.Value, headersOf(r)))
		}
	}
	groups, err := b.Groups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		lags, err := b.Lag(t.Context(), g)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lags {
			lines = append(lines, fmt.Sprintf("%s in %s[%d]: lag %d", g, l.Topic, l.Partition, l.Lag))
		}
	}
	slices.Sort(lines)
	return lines
}

func headersOf(r *broker.Record) string {
	var b strings.Builder
	for _, h := range r.Headers {
		fmt.Fprintf(&b, "%s=%s ", h.Key, h.Value)
	}
	return b.String()
}

func wantSame(t *testing.T, what string, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("%s: %d lines, want %d; line %d differs:\n%v\nwant\n%v", what, len(got), len(want), i, got[i:min(i+1, len(got))], want[i:min(i+1, len(want))])
		}
	}
}

func TestThereAndBackEverythingIsAsItWas(t *testing.T) {
	s := servers.Start(t, servers.Options{})
	here, there, back := inMemory(t), onRedis(t, s, "a"), inMemory(t)
	newFlow(300).publish(t, here)
	run(t, transfer.Config{From: here, To: there})
	run(t, transfer.Config{From: there, To: back})
	wantSame(t, "there and back", dump(t, back), dump(t, here))

	// On the way every header named the place on the other broker.
	for r, err := range broker.Records(t.Context(), there, "tags", broker.AllPartitions, broker.Start(), broker.Position{}) {
		if err != nil {
			t.Fatal(err)
		}
		source := sourceOf(t, there, string(r.Header("mr-id")))
		if source == nil || source.Partition != r.Partition {
			t.Fatalf("%s names no ticket", r.Header("mr-id"))
		}
	}
	low := string(lastOf(t, there, "desk").Header("mr-low"))
	last := lastOf(t, there, "desk")
	if want := fmt.Sprint(sourceOf(t, there, string(last.Header("mr-of"))).Offset + 1); low != want {
		t.Errorf("the low-water mark is %s, want %s", low, want)
	}
}

func lastOf(t *testing.T, b *broker.Broker, topic string) *broker.Record {
	t.Helper()
	r, err := broker.Last(t.Context(), b, topic, 1)
	if err != nil || r == nil {
		t.Fatal(r, err)
	}
	return r
}

// sourceOf is the record at the place that an id begins with, or nil.
func sourceOf(t *testing.T, b *broker.Broker, id string) *broker.Record {
	t.Helper()
	steps := strings.Split(id, "/")
	var partition int32
	var offset int64
	if _, err := fmt.Sscan(steps[1]+" "+steps[2], &partition, &offset); err != nil {
		t.Fatalf("id %q: %v", id, err)
	}
	r, err := broker.First(t.Context(), b, steps[0], partition, broker.Offset(offset))
	if err != nil {
		t.Fatal(err)
	}
	if r == nil || r.Offset != offset {
		return nil
	}
	return r
}

// breaking is a broker that fails at its n-th publish, before or after it took place.
type breaking struct {
	broker.Driver
	left  int
	after bool
}

var errBroken = errors.New("broken off")

func (b *breaking) Append(ctx context.Context, records []broker.Record, partitions []int32) ([]int64, error) {
	if b.left--; b.left >= 0 {
		return b.Driver.Append(ctx, records, partitions)
	}
	if b.after {
		// As much as a broker may have appended when it fails.
		half := (len(records) + 1) / 2
		if _, err := b.Driver.Append(ctx, records[:half], partitions[:half]); err != nil {
			return nil, err
		}
	}
	return nil, errBroken
}

func TestAnInterruptedCopyGoesOnAndDoublesNothing(t *testing.T) {
	here := inMemory(t)
	newFlow(60).publish(t, here)
	want := dump(t, here)
	for n, done := 0, false; !done; n++ {
		for _, after := range []bool{false, true} {
			there := inMemory(t)
			tr, err := transfer.Prepare(t.Context(), transfer.Config{From: here, To: broker.New(&breaking{there.Driver(), n, after}, there.Options())})
			if err != nil {
				t.Fatal(err)
			}
			if err = tr.Run(t.Context()); err == nil {
				done = true
			} else if !errors.Is(err, errBroken) {
				t.Fatal(err)
			} else if groups, _ := there.Groups(t.Context()); len(groups) > 0 {
				t.Fatalf("positions were set although it did not end: %v", groups)
			}
			plan := run(t, transfer.Config{From: here, To: there})
			wantSame(t, fmt.Sprintf("broken at publish %d", n), dump(t, there), want)
			if c := plan.Topics[0]; c.Copied+c.There != c.Records {
				t.Errorf("of %d records %d were there and %d copied", c.Records, c.There, c.Copied)
			}
			again := run(t, transfer.Config{From: here, To: there})
			if again.Topics[0].Copied != 0 {
				t.Errorf("copying again copied %d", again.Topics[0].Copied)
			}
			wantSame(t, "copied again", dump(t, there), want)
		}
	}
}

func TestWhatDoesNotFitIsRefused(t *testing.T) {
	ticket := func(p int32, value string) broker.Record {
		return broker.Record{Topic: "tickets", Partition: p, Pinned: true, Value: []byte(value)}
	}
	for name, c := range map[string]struct {
		spoil func(t *testing.T, here, there *broker.Broker)
		want  error
		text  string
		late  bool // it is found in the copying only
	}{
		"another record there": {
			func(t *testing.T, _, there *broker.Broker) { publish(t, there, ticket(1, "foreign")) },
			transfer.ErrOccupied, "tickets[1] begins with another record", false,
		},
		"another record after the first ones": {
			func(t *testing.T, here, there *broker.Broker) {
				run(t, transfer.Config{From: here, To: there})
				publish(t, there, ticket(2, "foreign"))
			},
			transfer.ErrOccupied, "tickets[2] has more records", true,
		},
		"a member here": {
			func(t *testing.T, here, _ *broker.Broker) { join(t, here) },
			transfer.ErrMoving, "group desk.tagger has members", false,
		},
		"a member there": {
			func(t *testing.T, _, there *broker.Broker) { join(t, there) },
			transfer.ErrOccupied, "group desk.tagger has members there", false,
		},
		"another number of partitions": {
			func(t *testing.T, _, there *broker.Broker) {
				if err := there.CreateTopics(t.Context(), broker.Topic{Name: "desk", Partitions: 2}); err != nil {
					t.Fatal(err)
				}
			},
			broker.ErrTopicConflict, "topic desk has 3 partitions, and 2 where it is to be copied to", false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			here, there := inMemory(t), inMemory(t)
			newFlow(10).publish(t, here)
			if c.want != broker.ErrTopicConflict {
				if err := there.CreateTopics(t.Context(), newFlow(0).topics...); err != nil {
					t.Fatal(err)
				}
			}
			c.spoil(t, here, there)
			tr, err := transfer.Prepare(t.Context(), transfer.Config{From: here, To: there})
			if c.late && err == nil {
				err = tr.Run(t.Context())
			}
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %q", err, c.text)
			}
		})
	}
}

func publish(t *testing.T, b *broker.Broker, records ...broker.Record) {
	t.Helper()
	if _, err := b.Publish(t.Context(), records...); err != nil {
		t.Fatal(err)
	}
}

func join(t *testing.T, b *broker.Broker) {
	t.Helper()
	c, err := b.Join(t.Context(), "desk.tagger", broker.Start(), "tickets")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, _ = c.Poll(ctx, broker.Want{}) // takes the partitions, whether there is something or not
}

// ordered is a broker that notes in what order tickets and tags, four to each,
// are published.
type ordered struct {
	broker.Driver
	ahead int // how many tickets were there without tags, at most
	n     map[string]int
}

func (b *ordered) Append(ctx context.Context, records []broker.Record, partitions []int32) ([]int64, error) {
	b.n[records[0].Topic] += len(records)
	b.ahead = max(b.ahead, b.n["tickets"]-b.n["tags"]/4)
	return b.Driver.Append(ctx, records, partitions)
}

// A gather's deadline counts from when a ticket was appended: the copy of a large
// topic must not take so long that its parts come too late.
func TestTopicsAreCopiedSideBySide(t *testing.T) {
	here, plain := inMemory(t), inMemory(t)
	noted := &ordered{plain.Driver(), 0, map[string]int{}}
	there := broker.New(noted, plain.Options())
	for _, b := range []*broker.Broker{here, there} {
		if err := b.CreateTopics(t.Context(), broker.Topic{Name: "tags", Partitions: 1}, broker.Topic{Name: "tickets", Partitions: 1}); err != nil {
			t.Fatal(err)
		}
	}
	const n = 20_000
	var tickets, tags []broker.Record
	for i := range n {
		tickets = append(tickets, broker.Record{Topic: "tickets", Value: []byte("a ticket")})
		for v := range 4 {
			tags = append(tags, broker.Record{Topic: "tags", Headers: []broker.Header{header("mr-id", "tickets/0/%d/tagger:%dof4", i, v+1)}})
		}
		if len(tickets) == 500 {
			publish(t, here, tickets...)
			publish(t, here, tags...)
			tickets, tags = nil, nil
		}
	}
	run(t, transfer.Config{From: here, To: there})
	if noted.ahead > n/3 {
		t.Errorf("%d of %d tickets were copied before their tags", noted.ahead, n)
	}
	wantSame(t, "side by side", dump(t, there), dump(t, here))
}

// publishing is a broker to which somebody publishes as soon as it is copied from.
type publishing struct {
	broker.Driver
	publish func()
}

func (b *publishing) Read(ctx context.Context, topic string, partitions []int32, from, to broker.Position) (broker.Cursor, error) {
	if b.publish != nil && !to.IsZero() {
		b.publish()
		b.publish = nil
	}
	return b.Driver.Read(ctx, topic, partitions, from, to)
}

func TestWhatIsPublishedMeanwhileIsCopiedByTheNextRun(t *testing.T) {
	here, there := inMemory(t), inMemory(t)
	newFlow(10).publish(t, here)
	from := broker.New(&publishing{here.Driver(), func() {
		publish(t, here, broker.Record{Topic: "tickets", Key: []byte("late"), Value: []byte("1")})
	}}, here.Options())
	tr, err := transfer.Prepare(t.Context(), transfer.Config{From: from, To: there})
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Run(t.Context()); !errors.Is(err, transfer.ErrMoving) || !strings.Contains(err.Error(), "records were published to tickets meanwhile") {
		t.Fatal(err)
	}
	if groups, _ := there.Groups(t.Context()); len(groups) > 0 {
		t.Errorf("positions were set: %v", groups)
	}
	run(t, transfer.Config{From: here, To: there})
	wantSame(t, "after the next run", dump(t, there), dump(t, here))
}

// Retention has deleted the first tickets, but not what was made of them. Their
// children must not become those of the tickets that get their offsets.
func TestChildrenOfDeletedRecordsNameNobodyElse(t *testing.T) {
	s := servers.Start(t, servers.Options{})
	here, there, back := inMemory(t), onRedis(t, s, "a"), inMemory(t)
	newFlow(10).publish(t, here)
	run(t, transfer.Config{From: here, To: there})
	if n, err := s.Client().XTrimMaxLen(t.Context(), "{a}:tickets:1", 6).Result(); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	run(t, transfer.Config{From: there, To: back})
	n := 0
	for r, err := range broker.Records(t.Context(), back, "tags", 1, broker.Start(), broker.Position{}) {
		if err != nil {
			t.Fatal(err)
		}
		id := string(r.Header("mr-id"))
		if want := fmt.Sprintf("tickets/1/%d/tagger", n-4); n >= 4 && id != want {
			t.Errorf("tag %d is %s, want %s", n, id, want)
		}
		if n < 4 && !strings.HasPrefix(id, "old:tickets/1/") {
			t.Errorf("tag %d, whose ticket is gone, is %s", n, id)
		}
		n++
	}
	if low := string(lastOf(t, back, "desk").Header("mr-low")); low != "2" {
		t.Errorf("the first ticket that is not answered is number 2 of those that are left, not %s", low)
	}
	lags, err := back.Lag(t.Context(), "desk.tagger")
	if err != nil || len(lags) != partitions || lags[1].Position != 4 || lags[0].Position != 8 {
		t.Errorf("%+v, %v", lags, err)
	}
}

// A gather finds where it was in its last answer. Without one it would answer
// everything again.
func TestAGatherWithoutAnswersIsNotMoved(t *testing.T) {
	s := servers.Start(t, servers.Options{})
	here, there := onRedis(t, s, "a"), inMemory(t)
	first := inMemory(t)
	newFlow(10).publish(t, first)
	run(t, transfer.Config{From: first, To: here})
	if err := s.Client().XTrimMaxLen(t.Context(), "{a}:desk:2", 0).Err(); err != nil {
		t.Fatal(err)
	}
	config := transfer.Config{From: here, To: there, Joins: []transfer.Join{{Of: "tickets", To: "desk"}}}
	note := func(state string) {
		publish(t, here, broker.Record{Topic: "desk.window", Partition: 2, Pinned: true,
			Headers: []broker.Header{header("mr-of", "tickets/2/0"), header("mr-low", "0"), header("mr-window", "%s", state)}})
	}
	if err := here.CreateTopics(t.Context(), broker.Topic{Name: "desk.window", Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
	note("open")
	if _, err := transfer.Prepare(t.Context(), config); err != nil {
		t.Errorf("nothing was answered yet: %v", err)
	}
	note("answered")
	_, err := transfer.Prepare(t.Context(), config)
	if err == nil || !strings.Contains(err.Error(), "retention has deleted every answer of desk[2]") {
		t.Errorf("%v", err)
	}
}

// Records may descend from records of another partition, where topics have
// different numbers of them.
func TestChildrenInAnotherPartitionNameTheirSource(t *testing.T) {
	for _, c := range []struct{ tickets, children int32 }{{4, 1}, {1, 4}} {
		var records []broker.Record
		for i := range int32(200) {
			ticket := broker.Record{Topic: "tickets", Partition: i % c.tickets, Pinned: true}
			child := broker.Record{Topic: "a-children", Partition: i % c.children, Pinned: true}
			child.Headers = []broker.Header{header("mr-id", "tickets/%d/%d/split", ticket.Partition, i/c.tickets)}
			records = append(records, ticket, child)
		}
		thereAndBack(t, map[string]int32{"tickets": c.tickets, "a-children": c.children}, records)
	}
}

// Clocks of a broker's machines differ, so that a child may seem to be older than
// its source. A record that is tried again stands in the topic of its source.
func TestARecordIsCopiedAfterThoseThatItNames(t *testing.T) {
	var records []broker.Record
	for i := range 20 {
		answer := broker.Record{Topic: "desk", Pinned: true, Headers: []broker.Header{header("mr-of", "tickets/0/%d", 3*i), header("mr-low", "%d", 3*i+3)}}
		tag := broker.Record{Topic: "tags", Pinned: true, Headers: []broker.Header{header("mr-id", "tickets/0/%d/tagger", 3*i+1)}}
		again := broker.Record{Topic: "tickets", Pinned: true, Headers: []broker.Header{header("mr-id", "tickets/0/%d/again", 3*i)}}
		records = append(records, answer, tag, ticket0, ticket0, again)
	}
	thereAndBack(t, map[string]int32{"tickets": 1, "tags": 1, "desk": 1}, records)
}

var ticket0 = broker.Record{Topic: "tickets", Pinned: true, Value: []byte("1")}

// thereAndBack copies records to other offsets and back again. What they name
// must be there, and in the end they must name the same as in the beginning.
func thereAndBack(t *testing.T, topics map[string]int32, records []broker.Record) {
	t.Helper()
	s := servers.Start(t, servers.Options{})
	here, there, back := inMemory(t), onRedis(t, s, "a"), inMemory(t)
	for name, n := range topics {
		if err := here.CreateTopics(t.Context(), broker.Topic{Name: name, Partitions: int(n)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range records {
		publish(t, here, r)
	}
	run(t, transfer.Config{From: here, To: there})
	for name := range topics {
		for r, err := range broker.Records(t.Context(), there, name, broker.AllPartitions, broker.Start(), broker.Position{}) {
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range r.Headers {
				if h.Key != "mr-low" && sourceOf(t, there, string(h.Value)) == nil {
					t.Fatalf("%s of %s[%d] names nothing: %s", h.Key, name, r.Partition, h.Value)
				}
			}
		}
	}
	run(t, transfer.Config{From: there, To: back})
	wantSame(t, "there and back", dump(t, back), dump(t, here))
}
