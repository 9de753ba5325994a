// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/broker/brokertest"
)

// Report is what the audit found.
type Report struct {
	Kills      []Kill
	Unanswered int // messages whose publish the kills cut off

	Sources   int // records in the source topic
	Revisions int // answers mended after a deadline
	Topics    []TopicReport
	Wrong     Findings // what is wrong besides

	asked, answered []time.Time // when sources and their first answers were appended
}

// TopicReport is the balance of one topic.
type TopicReport struct {
	Topic string
	brokertest.Audit
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
	inFlow, progress := r.InFlow(), 0
	for _, k := range r.Kills {
		if k.Progress > 0 {
			progress++
		}
	}
	fmt.Fprintf(&b, "%d kills, %d of them with messages under way, %d after progress since the one before\n", len(r.Kills), inFlow, progress)
	for _, t := range r.Topics {
		fmt.Fprintf(&b, "  %-11s %v\n", t.Topic, t.Audit)
	}
	return b.String()
}

// InFlow is how many kills hit while messages were under way.
func (r *Report) InFlow() int {
	n := 0
	for _, k := range r.Kills {
		if k.Open > 0 {
			n++
		}
	}
	return n
}

// timeKills finds out from the records' times what each kill interrupted.
func (r *Report) timeKills() {
	slices.SortFunc(r.asked, time.Time.Compare)
	slices.SortFunc(r.answered, time.Time.Compare)
	before := func(list []time.Time, t time.Time) int {
		n, _ := slices.BinarySearchFunc(list, t, time.Time.Compare)
		return n
	}
	last := 0
	for i := range r.Kills {
		k := &r.Kills[i]
		answered := before(r.answered, k.At)
		k.Open = before(r.asked, k.At) - answered
		k.Progress, last = answered-last, answered
	}
}
