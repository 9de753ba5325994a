// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"sort"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/lineage"
)

// maxOpenBytes bounds what the open sources of a partition hold, beside their number.
const maxOpenBytes = 64 << 20

// window is what is open in one partition.
type window struct {
	g         *Gather
	partition int32

	low  int64 // every source before it was answered
	next int64 // the source after the last one read

	answered bool // a source was answered, ever
	noted    note // what the topic of notes says about that

	open  queue // the sources in [low, next), in order
	bytes int   // what they hold

	// ahead are records about sources that were not read yet, by source offset.
	ahead      map[int64][]*broker.Record
	aheadCount map[string]int // by topic
	aheadBytes map[string]int

	late   []lateRecord         // about sources that are answered already
	closed answered             // which parts the answers lately given hold
	recent recent               // the newest answers that may still be amended
	index  lateIndex            // where the answers stand that may still be amended
	read   map[string]time.Time // by topic: all that was appended before was taken in
	future map[string]bool      // by topic: its last record is from the future
	empty  time.Time            // by this clock: when all sources were taken in; zero for not known
}

// join is a source that waits for parts.
type join struct {
	source  broker.Record
	parts   []part
	waiting int // parts that are neither there nor ruled out
	bytes   int
	seen    time.Time // by this clock
	skewed  bool      // the broker's clock was not this one's
}

// part is a service's answer so far.
type part struct {
	status   status
	values   [][]byte
	count    int // values it will have
	err      []byte
	model    []byte
	attempts []byte
	time     time.Time
}

type status uint8

const (
	missing status = iota // waiting, until the source is answered
	ok
	failed
	skipped
	late
)

func (s status) String() string {
	return [...]string{"missing", "ok", "failed", "skipped", "late"}[s]
}

func newWindow(g *Gather, partition int32) *window {
	return &window{
		g: g, partition: partition,
		ahead: map[int64][]*broker.Record{}, aheadCount: map[string]int{}, aheadBytes: map[string]int{},
		closed: answered{}, index: lateIndex{}, read: map[string]time.Time{}, future: map[string]bool{},
	}
}

// add takes in a source that is seen now.
func (w *window) add(r *broker.Record, now time.Time) {
	if r.Offset > w.next {
		w.letGo(r.Offset)
	}
	w.next = r.Offset + 1
	j := &join{source: *r, parts: make([]part, len(w.g.c.Parts)), waiting: len(w.g.c.Parts), bytes: r.Size()}
	j.seen, j.skewed = now, w.skewOf(r, now) != 0
	w.bytes += j.bytes
	w.open.push(j)
	for _, early := range w.come(r.Offset) {
		w.apply(j, early, w.g.feeds[early.Topic])
	}
}

// come returns the records ahead about a source whose turn it is.
func (w *window) come(offset int64) []*broker.Record {
	list := w.ahead[offset]
	for _, early := range list {
		w.aheadCount[early.Topic]--
		w.aheadBytes[early.Topic] -= early.Size()
	}
	delete(w.ahead, offset)
	return list
}

// letGo forgets the records ahead about sources before an offset, which were
// deleted before they were read.
func (w *window) letGo(before int64) {
	for offset := range w.ahead {
		if offset < before {
			w.come(offset)
		}
	}
}

// take takes in a record about the source at offset.
func (w *window) take(r *broker.Record, f feed, offset int64) {
	if offset >= w.next {
		w.ahead[offset] = append(w.ahead[offset], r)
		w.aheadCount[r.Topic]++
		w.aheadBytes[r.Topic] += r.Size()
		return
	}
	if j := w.open.find(offset); j != nil {
		w.apply(j, r, f)
		return
	}
	// A letter about a source that is answered tells nothing new, nor does a
	// marker about a part that the answer holds or calls failed.
	if f.part < 0 || r.Header(lineage.Status) != nil && w.closed.has(offset, f.part) {
		return
	}
	w.late = append(w.late, lateRecord{offset, f.part, r})
}

// apply notes what a record tells about an open source.
func (w *window) apply(j *join, r *broker.Record, f feed) {
	for _, i := range f.fails {
		if p := &j.parts[i]; p.status == missing {
			p.status, p.values = failed, nil
			p.err = append(append(append([]byte(nil), r.Header(lineage.DeadService)...), ": "...), r.Header(lineage.Error)...)
			p.time = r.Time
			j.waiting--
		}
	}
	if f.part < 0 {
		return
	}
	before := len(r.Value)
	p := &j.parts[f.part]
	if p.status == failed && r.Header(lineage.Status) == nil {
		*p = part{} // the dead letter was tried again
		j.waiting++
	}
	if p.take(r) {
		j.waiting--
	}
	j.bytes += before
	w.bytes += before
}

// take notes a record of the part and reports whether that settles it.
func (p *part) take(r *broker.Record) bool {
	if p.status != missing {
		return false // an answer that was given twice, such as by a retried dead letter
	}
	p.time = r.Time
	p.model, p.attempts = r.Header(lineage.Model), r.Header(lineage.Attempts)
	switch string(r.Header(lineage.Status)) {
	case lineage.StatusFailed:
		p.status, p.err = failed, r.Header(lineage.Error)
		return true
	case lineage.StatusSkipped:
		p.status = skipped
		return true
	}
	if p.count == 0 {
		p.count = valuesOf(r)
	}
	p.values = append(p.values, r.Value)
	if len(p.values) < p.count {
		return false
	}
	p.status = ok
	return true
}

// valuesOf tells how many values the record's service answered the item with.
func valuesOf(r *broker.Record) int {
	id := r.Header(lineage.ID)
	for i := len(id) - 1; i >= 0 && id[i] != '/'; i-- {
		if id[i] == ':' {
			if path, err := lineage.Parse(string(id)); err == nil {
				_, _, count := path.Service()
				return count
			}
		}
	}
	return 1
}

// due reports whether a source is to be answered with what there is: all that
// was appended to its missing parts' topics before the deadline was read, or is
// about later sources, as far as there is room for it. Blocked means that the
// source's time has come but the log is not read that far.
func (w *window) due(j *join, now time.Time, limit time.Duration) (due, blocked bool) {
	if limit == 0 {
		return false, false
	}
	here, deadline := j.deadline(limit)
	if now.Before(here) {
		return false, false
	}
	for i := range j.parts {
		topic := w.g.c.Parts[i].Topic
		if j.parts[i].status != missing || w.full(topic) || !w.read[topic].Before(deadline) {
			continue
		}
		// How far a topic was read is not known while its records are from the future.
		if !w.future[topic] || now.Before(j.seen.Add(limit)) {
			return false, true
		}
	}
	return true, false
}

// full reports whether a topic is not to be read further ahead of the sources.
func (w *window) full(topic string) bool {
	return w.aheadCount[topic] >= w.g.c.MaxOpen || w.aheadBytes[topic] >= maxOpenBytes
}

// sourcesPaused reports whether so many sources are open that no more are to be
// taken in.
func (w *window) sourcesPaused() bool {
	return w.open.len() >= w.g.c.MaxOpen || w.bytes >= maxOpenBytes && w.open.len() > 0
}

// pause adds the topics of this partition that are not to be polled: the sources
// while too many are open, and parts that are too far ahead of them. What an
// open source waits for is not among them, as services answer in order, unless
// its service left it out.
func (w *window) pause(to []broker.TopicPartition) []broker.TopicPartition {
	if w.sourcesPaused() {
		to = append(to, broker.TopicPartition{Topic: w.g.c.Of, Partition: w.partition})
	}
	for topic := range w.aheadCount {
		if w.full(topic) {
			to = append(to, broker.TopicPartition{Topic: topic, Partition: w.partition})
		}
	}
	return to
}

// queue is the open sources in the order of their offsets.
type queue struct {
	joins []*join
	head  int
}

func (q *queue) len() int     { return len(q.joins) - q.head }
func (q *queue) front() *join { return q.joins[q.head] }
func (q *queue) push(j *join) { q.joins = append(q.joins, j) }

func (q *queue) pop() {
	q.joins[q.head] = nil
	q.head++
	if q.head > 64 && q.head > len(q.joins)/2 {
		n := copy(q.joins, q.joins[q.head:])
		clear(q.joins[n:])
		q.joins, q.head = q.joins[:n], 0
	}
}

// find returns the source at the offset, or nil. Offsets are dense on most
// brokers, so the place is computed before it is searched for.
func (q *queue) find(offset int64) *join {
	open := q.joins[q.head:]
	if len(open) == 0 || offset < open[0].source.Offset {
		return nil
	}
	if i := offset - open[0].source.Offset; i < int64(len(open)) && open[i].source.Offset == offset {
		return open[i]
	}
	i := sort.Search(len(open), func(i int) bool { return open[i].source.Offset >= offset })
	if i < len(open) && open[i].source.Offset == offset {
		return open[i]
	}
	return nil
}
