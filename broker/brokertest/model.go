// SPDX-License-Identifier: Apache-2.0

package brokertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrace-ml/millrace/broker"
)

func modelProperties() []property {
	return []property{
		{name: "Model/any order of calls does what the model says", check: followsModel},
	}
}

// rapidTB is a test that reports to rapid, so that it finds the shortest order
// of calls that fails.
type rapidTB struct {
	testing.TB // what rapid does not have
	t          *rapid.T
}

func (r *rapidTB) Cleanup(f func())             { r.t.Cleanup(f) }
func (r *rapidTB) Error(args ...any)            { r.t.Error(args...) }
func (r *rapidTB) Errorf(f string, args ...any) { r.t.Errorf(f, args...) }
func (r *rapidTB) Fail()                        { r.t.Fail() }
func (r *rapidTB) FailNow()                     { r.t.FailNow() }
func (r *rapidTB) Failed() bool                 { return r.t.Failed() }
func (r *rapidTB) Fatal(args ...any)            { r.t.Fatal(args...) }
func (r *rapidTB) Fatalf(f string, args ...any) { r.t.Fatalf(f, args...) }
func (r *rapidTB) Log(args ...any)              { r.t.Log(args...) }
func (r *rapidTB) Logf(f string, args ...any)   { r.t.Logf(f, args...) }

const modelPartitions = 2

// model is what the broker should hold: two topics, and two groups that answer
// the first in the second, each with a member or none. A member has any number of
// batches open, and settles them in any order in which none has to wait.
type model struct {
	s       *suite
	in, out string
	logs    map[string]*[modelPartitions][]string // values by topic and partition
	groups  [2]*modelGroup
	issued  int // makes values different
}

type modelGroup struct {
	name      string
	known     bool // has positions
	positions [modelPartitions]int
	next      [modelPartitions]int // to be polled
	m         *member
	open      []*broker.Batch
	forgotten []*broker.Batch // by Rewind; of this member
}

// followsModel makes random calls of the broker and the same ones of the model,
// and compares them after each.
func followsModel(s *suite) {
	round := 0
	rapid.Check(s.TB, func(t *rapid.T) {
		round++
		own := &suite{TB: &rapidTB{s.TB, t}, h: s.h, client: s.client, suffix: fmt.Sprintf("%s-%d", s.suffix, round)}
		md := newModel(own)
		t.Repeat(map[string]func(*rapid.T){
			"":                md.compare,
			"publish":         md.publish,
			"join":            md.join,
			"poll":            md.poll,
			"cancelledPoll":   md.cancelledPoll,
			"settle":          md.settle,
			"settleAll":       md.settleAll,
			"settleForgotten": md.settleForgotten,
			"refusedSettle":   md.refusedSettle,
			"rewind":          md.rewind,
			"close":           md.close,
			"seek":            md.seek,
		})
	})
}

func newModel(s *suite) *model {
	md := &model{s: s, in: s.create("in", modelPartitions), out: s.create("out", modelPartitions)}
	md.logs = map[string]*[modelPartitions][]string{md.in: {}, md.out: {}}
	for i := range md.groups {
		md.groups[i] = &modelGroup{name: s.name(fmt.Sprint("g", i))}
	}
	return md
}

func (md *model) append(r broker.Record) {
	log := &md.logs[r.Topic][r.Partition]
	*log = append(*log, string(r.Value))
}

func (md *model) publish(t *rapid.T) {
	var records []broker.Record
	for _, p := range rapid.SliceOfN(rapid.Int32Range(0, modelPartitions-1), 1, 5).Draw(t, "partitions") {
		md.issued++
		records = append(records, pinned(md.in, p, fmt.Sprintf("v%d", md.issued)))
	}
	md.s.publish(records...)
	for _, r := range records {
		md.append(r)
	}
}

// group draws one of the groups for which the action makes sense now.
func (md *model) group(t *rapid.T, fits func(g *modelGroup) bool) *modelGroup {
	var fitting []*modelGroup
	for _, g := range md.groups {
		if fits(g) {
			fitting = append(fitting, g)
		}
	}
	if len(fitting) == 0 {
		t.Skip("no group fits")
	}
	return fitting[rapid.IntRange(0, len(fitting)-1).Draw(t, "group")]
}

func (g *modelGroup) empty() bool   { return g.m == nil }
func (g *modelGroup) joined() bool  { return g.m != nil }
func (g *modelGroup) opened() bool  { return len(g.open) > 0 }
func (g *modelGroup) rewound() bool { return len(g.forgotten) > 0 }
func (g *modelGroup) any() bool     { return true }

// pending is how many records there are behind these offsets.
func (md *model) pending(from [modelPartitions]int) int {
	n := 0
	for p, at := range from {
		n += len(md.logs[md.in][p]) - at
	}
	return n
}

// more reports whether there is something to poll.
func (md *model) more(g *modelGroup) bool { return g.m != nil && md.pending(g.next) > 0 }

// position draws a place in the topic and tells what it is in each partition.
func (md *model) position(t *rapid.T) (broker.Position, [modelPartitions]int) {
	var ends [modelPartitions]int
	for p := range ends {
		ends[p] = len(md.logs[md.in][p])
	}
	switch rapid.IntRange(0, 2).Draw(t, "position") {
	case 0:
		return broker.Start(), [modelPartitions]int{}
	case 1:
		return broker.End(), ends
	}
	// Offsets may have gaps and begin anywhere, so one of a record that exists
	// is taken; in the other partitions it means what the records there say.
	all := md.s.readAll(md.in)
	if len(all) == 0 {
		return broker.Start(), [modelPartitions]int{}
	}
	offset := rapid.SampledFrom(all).Draw(t, "record").Offset
	var at [modelPartitions]int
	for _, r := range all {
		if r.Offset < offset {
			at[r.Partition]++
		}
	}
	return broker.Offset(offset), at
}

func (md *model) join(t *rapid.T) {
	g := md.group(t, (*modelGroup).empty)
	start, at := md.position(t)
	g.m = md.s.join(g.name, start, md.in)
	if !g.known {
		g.known, g.positions = true, at
	}
	g.next = g.positions
}

func (md *model) poll(t *rapid.T) {
	g := md.group(t, md.more)
	most := rapid.IntRange(1, 6).Draw(t, "most")
	batch := g.m.batch(broker.Want{Records: most})
	if len(batch.Records) > most {
		t.Fatalf("polled %d records, want at most %d", len(batch.Records), most)
	}
	for i := range batch.Records {
		r := &batch.Records[i]
		log, next := md.logs[md.in][r.Partition], &g.next[r.Partition]
		if *next >= len(log) || string(r.Value) != log[*next] {
			t.Fatalf("polled %q from partition %d at position %d of %q", r.Value, r.Partition, *next, log)
		}
		*next++
	}
	if left := int64(md.pending(g.next)); batch.Backlog > left {
		t.Fatalf("%d records are left to poll, and the backlog is %d", left, batch.Backlog)
	}
	g.open = append(g.open, batch)
}

// cancelledPoll gives up while it waits, or before.
func (md *model) cancelledPoll(t *rapid.T) {
	g := md.group(t, (*modelGroup).joined)
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if rapid.Bool().Draw(t, "before") {
		cancel()
	}
	if batch, err := g.m.Poll(ctx, broker.Want{Wait: time.Hour}); err == nil || batch != nil || ctx.Err() == nil {
		t.Fatalf("Poll whose context ended returned %v and %v", batch, err)
	}
}

// settled notes what a settle should have done.
func (md *model) settled(g *modelGroup, results []broker.Record, batches ...*broker.Batch) {
	for _, r := range results {
		md.append(r)
	}
	for _, b := range batches {
		for i := range b.Records {
			g.positions[b.Records[i].Partition]++
		}
	}
}

// results are an answer to each record, and now and then another one.
func (md *model) results(t *rapid.T, batches ...*broker.Batch) []broker.Record {
	var results []broker.Record
	for _, b := range batches {
		results = append(results, answers(md.out, b.Records)...)
	}
	if rapid.Bool().Draw(t, "another result") {
		md.issued++
		results = append(results, pinned(md.out, 0, fmt.Sprintf("x%d", md.issued)))
	}
	return results
}

// settle settles one of the batches that do not wait for another.
func (md *model) settle(t *rapid.T) {
	g := md.group(t, (*modelGroup).opened)
	var free []int
	var before [modelPartitions]bool // an earlier batch has records of the partition
	for i, b := range g.open {
		waits := false
		for _, r := range b.Records {
			waits = waits || before[r.Partition]
		}
		for _, r := range b.Records {
			before[r.Partition] = true
		}
		if !waits {
			free = append(free, i)
		}
	}
	i := rapid.SampledFrom(free).Draw(t, "batch")
	b := g.open[i]
	results := md.results(t, b)
	md.s.wantSettled("a batch", g.m.settling(b, results...))
	md.settled(g, results, b)
	g.open = slices.Delete(g.open, i, i+1)
}

func (md *model) settleAll(t *rapid.T) {
	g := md.group(t, (*modelGroup).joined)
	results := md.results(t, g.open...)
	g.m.settle(results...)
	md.settled(g, results, g.open...)
	g.open = nil
}

func (md *model) settleForgotten(t *rapid.T) {
	g := md.group(t, (*modelGroup).rewound)
	b := rapid.SampledFrom(g.forgotten).Draw(t, "batch")
	if err := <-g.m.settling(b, answers(md.out, b.Records)...); !errors.Is(err, broker.ErrFenced) {
		t.Fatalf("settle a batch that Rewind has forgotten: %v, want an error that is %q", err, broker.ErrFenced)
	}
}

func (md *model) refusedSettle(t *rapid.T) {
	g := md.group(t, (*modelGroup).opened)
	bad := record(md.s.name("nowhere"), "k", "v")
	b := rapid.SampledFrom(g.open).Draw(t, "batch")
	if err := <-g.m.settling(b, append(answers(md.out, b.Records), bad)...); !errors.Is(err, broker.ErrUnknownTopic) {
		t.Fatalf("settle with a result for an unknown topic: %v", err)
	}
}

func (md *model) rewind(t *rapid.T) {
	g := md.group(t, (*modelGroup).opened)
	g.m.Rewind()
	g.forgotten = append(g.forgotten, g.open...)
	g.open, g.next = nil, g.positions
}

func (md *model) close(t *rapid.T) {
	g := md.group(t, (*modelGroup).joined)
	g.m.leave()
	g.m, g.open, g.forgotten = nil, nil, nil
}

func (md *model) seek(t *rapid.T) {
	g := md.group(t, (*modelGroup).any)
	to, at := md.position(t)
	if g.m != nil {
		md.s.mustFail("seek an active group", broker.ErrGroupActive, func(ctx context.Context) error {
			return md.s.client.Seek(ctx, g.name, md.in, to)
		})
		return
	}
	md.s.seek(g.name, md.in, to)
	g.known, g.positions = true, at
}

// compare checks everything that can be seen.
func (md *model) compare(t *rapid.T) {
	for topic, logs := range md.logs {
		var want []string
		for _, log := range logs {
			want = append(want, log...)
		}
		if got := values(md.s.readAll(topic)); !slices.Equal(got, want) {
			t.Fatalf("topic %s has %q, want %q", strings.TrimSuffix(topic, "."+md.s.suffix), got, want)
		}
	}
	for _, g := range md.groups {
		if lag := md.s.totalLag(g.name, md.in); g.known && lag != int64(md.pending(g.positions)) {
			t.Fatalf("the lag of group %s is %d, want %d", strings.TrimSuffix(g.name, "."+md.s.suffix), lag, md.pending(g.positions))
		}
	}
}
