// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/internal/test/ledger"
)

// Report is what the audit found.
type Report struct {
	Kills      []Kill
	Unanswered int // messages whose publish the kills cut off

	Sources   int // records in the source topic
	Revisions int // answers mended after a deadline
	Topics    []TopicReport
	Wrong     Findings // what is wrong besides
}

// TopicReport is the balance of one topic.
type TopicReport struct {
	Topic string
	ledger.Audit
}

// Findings are things that are wrong, the first few in words.
type Findings struct {
	Count int
	First []string
}

const maxFindings = 20

func (f *Findings) add(format string, args ...any) {
	f.Count++
	if len(f.First) < maxFindings {
		f.First = append(f.First, fmt.Sprintf(format, args...))
	}
}

// Err is nil when nothing is lost, doubled, out of order or otherwise wrong.
func (r *Report) Err() error {
	var all []error
	for _, t := range r.Topics {
		if err := t.Audit.Err(); err != nil {
			all = append(all, fmt.Errorf("%s: %w", t.Topic, err))
		}
	}
	if r.Wrong.Count > 0 {
		all = append(all, fmt.Errorf("%d other faults:\n\t%s", r.Wrong.Count, strings.Join(r.Wrong.First, "\n\t")))
	}
	return errors.Join(all...)
}

// String is a table for people.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d sources, %d cut off while publishing, %d revisions\n", r.Sources, r.Unanswered, r.Revisions)
	fmt.Fprintf(&b, "%d kills, %d of them in the flow\n", len(r.Kills), r.InFlow())
	for _, t := range r.Topics {
		fmt.Fprintf(&b, "  %-11s %v\n", t.Topic, t.Audit)
	}
	return b.String()
}

// InFlow is how many kills hit a pipeline at work: it had written something
// since the kill before and was not done, and a worker that was killed had
// settled something in its life.
func (r *Report) InFlow() int {
	n := 0
	for _, k := range r.Kills {
		if k.Open > 0 && k.Wrote > 0 && !k.Idle {
			n++
		}
	}
	return n
}

// tally notes when records were written.
type tally struct {
	kills                  []Kill
	asked, answered, wrote []int // in each life: before the first kill, …, after the last
}

func newTally(kills []Kill) *tally {
	n := len(kills) + 1
	return &tally{kills, make([]int, n), make([]int, n), make([]int, n)}
}

// life is the number of kills before a moment.
func (t *tally) life(at time.Time) int {
	n, _ := slices.BinarySearchFunc(t.kills, at, func(k Kill, at time.Time) int { return k.At.Compare(at) })
	return n
}

// result tells of each kill what it interrupted.
func (t *tally) result() []Kill {
	open := 0
	for i := range t.kills {
		open += t.asked[i] - t.answered[i]
		t.kills[i].Open, t.kills[i].Wrote = open, t.wrote[i]
	}
	return t.kills
}
