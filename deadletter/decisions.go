// SPDX-License-Identifier: Apache-2.0

package deadletter

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/lineage"
)

// run is some letters of a partition that stand in a row.
type run struct {
	Partition int32 `json:"partition"`
	First     int64 `json:"first"` // offsets
	Last      int64 `json:"last"`
}

// decision is the value of a decision's record.
type decision struct {
	Letters []run `json:"letters"`
}

// Decision is what was decided about a letter.
type Decision struct {
	State State
	Time  time.Time

	// Topic and Offset are where it stands; the partition is 0.
	Topic  string
	Offset int64
}

// decided is a run of letters that something was decided about.
type decided struct {
	run
	Decision
}

// Decisions are those about a service's letters, by partition and offset. They
// take some 60 bytes for each run of letters that were decided on together.
type Decisions map[int32][]decided

// About tells what was decided on the letter at an offset of a partition.
func (d Decisions) About(partition int32, offset int64) (Decision, bool) {
	runs := d[partition]
	i, exact := slices.BinarySearchFunc(runs, offset, func(r decided, at int64) int { return cmp.Compare(r.First, at) })
	if !exact {
		i--
	}
	if i < 0 || offset > runs[i].Last {
		return Decision{}, false
	}
	return runs[i].Decision, true
}

// add takes in a record of the topic and reports whether it is a decision. Runs
// never overlap, as only open letters are decided on.
func (d Decisions) add(r *broker.Record) bool {
	what := State(r.Header(lineage.Decision))
	value, is := readDecision(r)
	if !is {
		return false
	}
	for _, l := range value.Letters {
		d[l.Partition] = append(d[l.Partition], decided{l, Decision{what, r.Time.UTC(), r.Topic, r.Offset}})
	}
	return true
}

// readDecision takes a record for a decision, and reports whether it is one:
// clients of the broker can write into the topic, too.
func readDecision(r *broker.Record) (value decision, is bool) {
	what := State(r.Header(lineage.Decision))
	err := json.Unmarshal(r.Value, &value)
	return value, err == nil && (what == Retried || what == Dropped)
}

func (d Decisions) sort() {
	for _, runs := range d {
		slices.SortFunc(runs, func(a, b decided) int { return cmp.Compare(a.First, b.First) })
	}
}

// Decisions reads what was decided on a service's letters so far.
func (st *Store) Decisions(ctx context.Context, service string) (Decisions, error) {
	d := Decisions{}
	foreign := 0
	for r, err := range broker.Records(ctx, st.b, lineage.DecisionsTopic(service), 0, broker.Start(), broker.Position{}) {
		if errors.Is(err, broker.ErrUnknownTopic) {
			return d, nil // nothing was ever decided
		}
		if err != nil {
			return nil, err
		}
		if !d.add(r) {
			foreign++
		}
	}
	if foreign > 0 {
		st.o.Logger.Warn("records left out that are no decisions on dead letters: let no one else write to this topic",
			"topic", lineage.DecisionsTopic(service), "records", foreign)
	}
	d.sort()
	return d, nil
}

// Relocate returns a record of a topic of decisions as it is to be where the
// letters have other offsets. After tells, of a partition of the letters, which
// offset comes there after all letters before an offset here. One that is no
// decision stays as it is.
func Relocate(r *broker.Record, after func(partition int32, offset int64) (int64, error)) (broker.Record, error) {
	made := *r
	value, is := readDecision(r)
	if !is {
		return made, nil
	}
	there := decision{Letters: []run{}}
	for _, l := range value.Letters {
		first, err := after(l.Partition, l.First)
		if err != nil {
			return made, err
		}
		end, err := after(l.Partition, l.Last+1)
		if err != nil {
			return made, err
		}
		if first < end { // otherwise these letters were deleted
			there.Letters = append(there.Letters, run{l.Partition, first, end - 1})
		}
	}
	var err error
	made.Value, err = json.Marshal(there)
	return made, err
}
