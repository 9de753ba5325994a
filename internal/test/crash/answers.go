// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/lineage"
)

// answer is a gathered record as its reader sees it.
type answer struct {
	Key      string                 `json:"key"`
	Status   string                 `json:"status"`
	Revision int                    `json:"revision"`
	Source   json.RawMessage        `json:"source"`
	Parts    map[string]*answerPart `json:"parts"`
}

type answerPart struct {
	Status  string          `json:"status"`
	Value   json.RawMessage `json:"value"`
	Service string          `json:"service"`
}

// there reports whether the part has a value.
func (p *answerPart) there() bool { return p != nil && (p.Status == "ok" || p.Status == "late") }

// history is what was told about a source so far.
type history struct {
	revision int
	complete bool
	parts    [waiting]bool // that have a value
}

// gather checks the joined topic: a first answer to every source record, once
// and in order, then revisions without a gap that only ever add, and in the end
// every part there.
func (in *inspection) gather(ctx context.Context) error {
	ledger, last := in.owed(), map[int32]int64{}
	told := map[broker.Place]history{}
	err := in.records(ctx, joined, func(r *broker.Record) {
		at := r.Place()
		id := r.Header(lineage.JoinOf)
		partition, offset, ok := lineage.SourceIn(id, source)
		of := in.find(partition, offset)
		if !ok || of == nil || partition != r.Partition {
			in.report.Wrong.add("%v answers nothing that was asked: it is of %q", at, id)
			return
		}
		place := broker.Place{Topic: source, Partition: partition, Offset: offset}
		a, now := in.answer(at, r, of)
		if a == nil {
			return
		}
		before := told[place]
		told[place] = now
		if a.Revision == 1 {
			ledger.See(joined, of.key, of.n, at)
			in.times.answered[in.times.life(r.Time)]++
			if before, any := last[partition]; any && offset < before {
				in.report.Wrong.add("%v answers %s after offset %d: the order of the partition is broken", at, id, before)
			}
			last[partition] = offset
			return
		}
		in.report.Revisions++
		in.mended(at, string(id), before, now)
	})
	in.report.Topics = append(in.report.Topics, TopicReport{joined, ledger.Audit(joined)})
	for place, h := range told {
		if !h.complete {
			in.report.Wrong.add("the last answer to %v, revision %d, is not complete", place, h.revision)
		}
	}
	return err
}

// answer checks one gathered record by itself.
func (in *inspection) answer(at broker.Place, r *broker.Record, of *sourced) (*answer, history) {
	var a answer
	if err := json.Unmarshal(r.Value, &a); err != nil {
		in.report.Wrong.add("%v is not an answer: %v: %.100s", at, err, r.Value)
		return nil, history{}
	}
	h := history{revision: a.Revision, complete: a.Status == "complete"}
	all := true
	for i, name := range joins {
		p := a.Parts[name]
		h.parts[i] = p.there()
		all = all && h.parts[i]
		if p == nil || p.Service != name || !h.parts[i] && p.Status != "missing" ||
			h.parts[i] && in.hash(p.Value) != of.value || p.Status == "late" && a.Revision == 1 {
			in.report.Wrong.add("%v has a wrong part %s: %+v", at, name, p)
		}
	}
	if all != h.complete || len(a.Parts) != waiting {
		in.report.Wrong.add("%v is %s, with %d parts: %v", at, a.Status, len(a.Parts), h.parts)
	}
	if a.Key != of.key || string(r.Key) != of.key || in.hash(a.Source) != of.value {
		in.report.Wrong.add("%v does not tell what it answers: key %q, source %.100s", at, a.Key, a.Source)
	}
	if header := string(r.Header(lineage.JoinRevision)); header != strconv.Itoa(a.Revision) {
		in.report.Wrong.add("%v is revision %d and its header says %q", at, a.Revision, header)
	}
	if in.deadline >= time.Minute && !h.complete {
		in.report.Wrong.add("%v is partial although the deadline is %v", at, in.deadline)
	}
	return &a, h
}

// mended checks that a revision follows on what was told before and adds to it.
func (in *inspection) mended(at broker.Place, of string, before, now history) {
	if now.revision != before.revision+1 {
		in.report.Wrong.add("%v is revision %d of the answer to %s, after revision %d", at, now.revision, of, before.revision)
	}
	added := false
	for i, name := range joins {
		if before.parts[i] && !now.parts[i] {
			in.report.Wrong.add("%v, revision %d of the answer to %s, has lost its part %s", at, now.revision, of, name)
		}
		added = added || now.parts[i] && !before.parts[i]
	}
	if !added {
		in.report.Wrong.add("%v, revision %d of the answer to %s, tells nothing new", at, now.revision, of)
	}
}
