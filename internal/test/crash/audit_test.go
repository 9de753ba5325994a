// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/internal/test/ledger"
	"github.com/millrace-ml/millrace/lineage"
)

// topics is what a pipeline has written, in one partition.
type topics map[string][]broker.Record

const asked = 6 // messages in a log that is made by hand

// perfect is a log without a fault. Message 3 was answered in three steps.
func perfect(ledger *ledger.Ledger) topics {
	all := topics{}
	for offset := range asked {
		key := fmt.Sprintf("customer-%d", offset%2)
		m := message{Key: key, N: ledger.Issue(key), Text: "hello"}
		ledger.Acknowledge(m.Key, m.N)
		id := fmt.Sprintf("%s/0/%d", source, offset)
		all.write(source, m, m.line())
		for _, s := range services {
			all.write(s.to, m, m.line(), broker.Header{Key: lineage.ID, Value: []byte(id + "/" + s.path)})
		}
		if offset != 3 {
			all.answer(m, id, 1, "ok", "ok", "ok", "ok")
			continue
		}
		all.answer(m, id, 1, "ok", "missing", "ok", "missing")
		all.answer(m, id, 2, "ok", "missing", "ok", "late")
		all.answer(m, id, 3, "ok", "late", "ok", "late")
	}
	return all
}

func (all topics) write(topic string, m message, value []byte, headers ...broker.Header) {
	all[topic] = append(all[topic], broker.Record{Topic: topic, Pinned: true, Key: []byte(m.Key), Value: value, Headers: headers})
}

func (all topics) answer(m message, id string, revision int, parts ...string) {
	a := answer{Key: m.Key, Status: "complete", Revision: revision, Source: m.line(), Parts: map[string]*answerPart{}}
	for i, status := range parts {
		p := &answerPart{Status: status, Service: joins[i]}
		if status == "missing" {
			a.Status = "partial"
		} else {
			p.Value = m.line()
		}
		a.Parts[joins[i]] = p
	}
	value, err := json.Marshal(a)
	if err != nil {
		panic(err)
	}
	all.write(joined, m, value, broker.Header{Key: lineage.JoinOf, Value: []byte(id)},
		broker.Header{Key: lineage.JoinRevision, Value: []byte(strconv.Itoa(revision))})
}

// replace changes a record's value.
func (all topics) replace(topic string, i int, old, new string) {
	r := &all[topic][i]
	value := strings.Replace(string(r.Value), old, new, 1)
	if value == string(r.Value) {
		panic(fmt.Sprintf("%s has no %s", value, old))
	}
	r.Value = []byte(value)
}

func (all topics) drop(topic string, i int)  { all[topic] = slices.Delete(all[topic], i, i+1) }
func (all topics) twice(topic string, i int) { all[topic] = append(all[topic], all[topic][i]) }
func (all topics) swap(topic string, i, j int) {
	list := all[topic]
	list[i], list[j] = list[j], list[i]
}

// audit writes the topics to a broker and audits them.
func audit(t *testing.T, all topics, ledger *ledger.Ledger) *Report {
	t.Helper()
	b, err := embedded.Open("data", embedded.Options{FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	names := []string{source, joined}
	for _, s := range services {
		names = append(names, s.to, lineage.DeadTopic(s.name))
	}
	for _, name := range names {
		if err := b.CreateTopics(t.Context(), broker.Topic{Name: name, Partitions: 1}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Publish(t.Context(), all[name]...); err != nil {
			t.Fatal(err)
		}
	}
	report, err := inspect(t.Context(), b, ledger, nil, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestALogWithoutFaultPasses(t *testing.T) {
	var ledger ledger.Ledger
	report := audit(t, perfect(&ledger), &ledger)
	if err := report.Err(); err != nil || report.Sources != asked || report.Revisions != 2 || len(report.Topics) != 8 {
		t.Errorf("%v\n%v", report, err)
	}
}

// A message whose publisher was not told may be there, and is then owed an answer.
func TestAMessageThatWasNotAcknowledgedIsAnsweredIfItIsThere(t *testing.T) {
	for _, there := range []bool{true, false} {
		var ledger ledger.Ledger
		all := perfect(&ledger)
		m := message{Key: "customer-0", N: ledger.Issue("customer-0")}
		if there {
			all.write(source, m, m.line())
		}
		report := audit(t, all, &ledger)
		lost := 0
		for _, topic := range report.Topics {
			lost += topic.Lost
		}
		if want := map[bool]int{true: len(services) + 1, false: 0}[there]; lost != want {
			t.Errorf("there: %v, lost %d, want %d\n%v", there, lost, want, report)
		}
	}
}

func TestEveryFaultIsFound(t *testing.T) {
	const result = "classes"
	header := func(r *broker.Record, name, value string) {
		i := slices.IndexFunc(r.Headers, func(h broker.Header) bool { return h.Key == name })
		r.Headers[i].Value = []byte(value)
	}
	for name, c := range map[string]struct {
		damage func(all topics)
		found  string
	}{
		"a source is lost":                      {func(all topics) { all[source] = all[source][:asked-1] }, "tickets: 5 records seen: 1 lost"},
		"a source is there twice":               {func(all topics) { all.twice(source, 2) }, "duplicated: key \"customer-0\" number 2"},
		"sources of a key are swapped":          {func(all topics) { all.swap(source, 0, 2) }, "1 reordered"},
		"a source was changed":                  {func(all topics) { all.replace(source, 0, `"n":1`, `"n":100`) }, "unknown"},
		"a result is lost":                      {func(all topics) { all.drop(result, 1) }, "classes: 5 records seen: 1 lost"},
		"a result is there twice":               {func(all topics) { all.twice(result, asked-1) }, "classes: 7 records seen: 0 lost, 1 duplicated"},
		"results of a key are swapped":          {func(all topics) { all.swap(result, 1, 3) }, "1 reordered"},
		"results of different keys are swapped": {func(all topics) { all.swap(result, 1, 2) }, "the order of the partition is broken"},
		"a result has another value":            {func(all topics) { all.replace(result, 1, "hello", "hullo") }, "is not the right answer"},
		"a result has another key":              {func(all topics) { all[result][1].Key = []byte("customer-0") }, "is not the right answer"},
		"a result came another way":             {func(all topics) { header(&all[result][1], lineage.ID, "tickets/0/1/classifier") }, "answers nothing that was asked"},
		"a result has no source":                {func(all topics) { header(&all[result][1], lineage.ID, "tickets/0/99/tagger/classifier") }, "answers nothing that was asked"},
		"an item failed": {func(all topics) {
			r := &all[result][1]
			r.Headers = append(r.Headers, broker.Header{Key: lineage.Status, Value: []byte(lineage.StatusFailed)})
		}, "is not the right answer"},
		"there is a dead letter":       {func(all topics) { all.write(lineage.DeadTopic("tagger"), message{}, nil) }, "is a dead letter"},
		"an answer is lost":            {func(all topics) { all.drop(joined, 1) }, "desk: 5 records seen: 1 lost"},
		"an answer is there twice":     {func(all topics) { all.twice(joined, 7) }, "1 duplicated"},
		"answers are swapped":          {func(all topics) { all.swap(joined, 6, 7) }, "the order of the partition is broken"},
		"an answer has another source": {func(all topics) { all.replace(joined, 1, "hello", "hullo") }, "does not tell what it answers"},
		"a part has another value": {func(all topics) {
			s := string(all[joined][1].Value)
			i := strings.LastIndex(s, "hello")
			all[joined][1].Value = []byte(s[:i] + "hullo" + s[i+5:])
		}, "has a wrong part"},
		"a part failed":                          {func(all topics) { all.replace(joined, 1, `"status":"ok"`, `"status":"failed"`) }, "has a wrong part"},
		"a part is late in a first answer":       {func(all topics) { all.replace(joined, 1, `"status":"ok"`, `"status":"late"`) }, "has a wrong part"},
		"a partial answer calls itself complete": {func(all topics) { all.replace(joined, 3, `"status":"partial"`, `"status":"complete"`) }, "is complete, with 4 parts"},
		"the last revision is missing":           {func(all topics) { all.drop(joined, 5) }, "is not complete"},
		"a revision is skipped":                  {func(all topics) { all.drop(joined, 4) }, "after revision 1"},
		"a revision is there twice":              {func(all topics) { all.twice(joined, 5) }, "after revision 3"},
		"a revision tells nothing new": {func(all topics) {
			all[joined][4].Value = []byte(strings.Replace(string(all[joined][3].Value), `"revision":1`, `"revision":2`, 1))
		}, "tells nothing new"},
		"a revision loses a part": {func(all topics) {
			m := message{Key: "customer-1", N: 2, Text: "hello"}
			made := topics{}
			made.answer(m, "tickets/0/3", 2, "missing", "late", "ok", "late")
			all[joined][4] = made[joined][0]
		}, "has lost its part"},
		"a header has another revision": {func(all topics) { header(&all[joined][1], lineage.JoinRevision, "2") }, "its header says"},
	} {
		t.Run(name, func(t *testing.T) {
			var ledger ledger.Ledger
			all := perfect(&ledger)
			c.damage(all)
			err := audit(t, all, &ledger).Err()
			if err == nil || !strings.Contains(err.Error(), c.found) {
				t.Errorf("found %v, want %q", err, c.found)
			}
		})
	}
}

func TestTheRecordsTellWhatAKillInterrupted(t *testing.T) {
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	times := newTally([]Kill{{At: at(10)}, {At: at(20)}, {At: at(30)}})
	for _, ms := range []int{1, 2, 3, 12} {
		times.asked[times.life(at(ms))]++
		times.wrote[times.life(at(ms))]++
	}
	for _, ms := range []int{5, 13, 14, 15, 35} {
		times.answered[times.life(at(ms))]++
		times.wrote[times.life(at(ms))]++
	}
	r := Report{Kills: times.result()}
	for i, want := range []Kill{{Open: 2, Wrote: 4}, {Open: 0, Wrote: 4}, {Open: 0, Wrote: 0}} {
		if got := r.Kills[i]; got.Open != want.Open || got.Wrote != want.Wrote {
			t.Errorf("kill %d: %+v, want %+v", i+1, got, want)
		}
	}
	if n := r.InFlow(); n != 1 {
		t.Errorf("%d kills hit the flow, want 1", n)
	}
}
