// SPDX-License-Identifier: Apache-2.0

package parity

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/millrace-ml/millrace"
	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/brokers"
	"github.com/millrace-ml/millrace/internal/transfer"
	"github.com/millrace-ml/millrace/lineage"
	"github.com/millrace-ml/millrace/model/kinds"
	"github.com/millrace-ml/millrace/pipeline"
)

// A pipeline is stopped in the middle of its work, moved with the command that a
// user types, and goes on elsewhere; three times, until it is where it began.
// Messages wait in every topic at each move.
func TestAPipelineThatIsMovedInMidFlowGoesOn(t *testing.T) {
	for name, way := range map[string][]int{
		"by way of redis and kafka": {0, 1, 2, 0},
		"by way of kafka and redis": {0, 2, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			m := move{newDesk(t), nil}
			for i, b := range way {
				url := onBrokers[b].open(t)
				m.files = append(m.files, m.pipeline(fmt.Sprint(i), url))
			}
			file, _ := m.messages()
			messages := m.values(file)
			n := len(messages)
			more := func(place, n int) {
				m.publish(place, messages[:n])
				messages = messages[n:]
			}
			more(0, n*7/10)
			services := []string{"sentiment", "tagger", "embedder", "classifier", "keywords", "checklist"}
			all := append(services, "desk")
			m.work(0, all, "desk", n/5)
			more(0, n/10) // while it is stopped
			m.move(0)
			// Nobody gathers, so that parts wait to be gathered.
			m.work(1, services, "classes", n/2)
			more(1, n/10)
			if lag := m.move(1); lag == 0 {
				m.Error("no part waited for the gather")
			}
			m.work(2, all, "desk", n*3/5)
			more(2, len(messages))
			m.move(2)
			m.work(3, all, "desk", n)
			m.audit(3, n)
		})
	}
}

// move is a pipeline that is moved from place to place.
type move struct {
	*desk
	files []string // the pipeline's, by place
}

// data is the data directory of a place.
func (m move) data(place int) string { return filepath.Join(m.dir, fmt.Sprintf("data-%d", place)) }

// end is a place as the command line has it.
func (m move) end(place int, p *pipeline.Pipeline) string {
	if brokers.Embedded(p.Broker) {
		return m.data(place)
	}
	return m.files[place]
}

func (m move) load(place int) *pipeline.Pipeline {
	m.Helper()
	p, problems, err := pipeline.CheckFile(filepath.Join(m.dir, m.files[place]), pipeline.WithKinds(kinds.All(nil)...))
	if err != nil || problems.Errors() > 0 {
		m.Fatal(err, problems)
	}
	for name, s := range p.Services {
		s.Batch.Auto, s.Batch.Max = false, 8 // so that there is a middle
		p.Services[name] = s
	}
	return p
}

func (m move) open(place int) *broker.Broker {
	m.Helper()
	b, err := brokers.Open(m.Context(), m.load(place).BrokerURL(), brokers.Options{DataDir: m.data(place), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		m.Fatal(err)
	}
	return b
}

// close is for a broker that is then opened by another.
func (m move) close(b *broker.Broker) {
	m.Helper()
	if err := b.Close(); err != nil {
		m.Fatal(err)
	}
}

// publish publishes messages at a place.
func (m move) publish(place int, messages [][]byte) {
	m.Helper()
	b := m.open(place)
	defer m.close(b)
	if err := b.CreateTopics(m.Context(), m.load(place).AllTopics()...); err != nil {
		m.Fatal(err)
	}
	records := make([]broker.Record, len(messages))
	for i, v := range messages {
		records[i] = broker.Record{Topic: "tickets", Key: fmt.Appendf(nil, "customer-%d", i%97), Value: v}
	}
	if _, err := b.Publish(m.Context(), records...); err != nil {
		m.Fatal(err)
	}
}

// work runs services until a topic holds answers to so many tickets, then stops
// them, wherever they are.
func (m move) work(place int, only []string, topic string, until int) {
	m.Helper()
	b := m.open(place)
	defer m.close(b)
	a, err := millrace.New(m.Context(), b, m.load(place), millrace.Options{Only: only})
	if err != nil {
		m.Fatal(err)
	}
	ctx, stop := context.WithCancel(m.Context())
	drained := make(chan error, 1)
	go func() { drained <- a.Run(ctx) }()
	answered := 0
	for r, err := range broker.Records(m.Context(), b, topic, broker.AllPartitions, broker.Start(), broker.Forever()) {
		if err != nil {
			m.Error(err)
			break
		}
		// Until its last part has come, a ticket may be answered more than once.
		if joined := r.Header(lineage.JoinStatus); joined == nil || string(joined) == "complete" {
			answered++
		}
		if answered >= until {
			break
		}
	}
	stop()
	if err := <-drained; err != nil {
		m.Fatal(err)
	}
}

// move copies everything to the next place, in the middle of the work. It returns
// how many records the gather has not read.
func (m move) move(from int) (lag int64) {
	m.Helper()
	out := m.must("copy", "--from", m.end(from, m.load(from)), "--to", m.end(from+1, m.load(from+1)), "--yes", "--output", "json")
	var plan transfer.Plan
	if err := json.Unmarshal([]byte(out), &plan); err != nil {
		m.Fatal(err)
	}
	copied := map[string]int64{}
	for _, t := range plan.Topics {
		copied[t.Topic] = t.Copied
	}
	for _, g := range plan.Groups {
		if g.Group == "support-desk.desk" {
			lag = g.Lag
		}
	}
	m.Logf("%s → %s: of %d tickets %d classified and %d answered, the gather has %d parts to read",
		m.load(from).Broker, m.load(from+1).Broker, copied["tickets"], copied["classes"], copied["desk"], lag)
	// On a busy machine an answer may have many revisions; a class has none.
	if copied["desk"] == 0 || copied["classes"] >= copied["tickets"] {
		m.Error("the pipeline was not in the middle of its work")
	}
	return lag
}

// audit checks that every ticket is answered once in every topic, by a record
// that names it, and in the end completely.
func (m move) audit(place, n int) {
	m.Helper()
	b := m.open(place)
	defer m.close(b)
	read := func(topic string) (all []broker.Record) {
		m.Helper()
		for r, err := range broker.Records(m.Context(), b, topic, broker.AllPartitions, broker.Start(), broker.Position{}) {
			if err != nil {
				m.Fatal(err)
			}
			all = append(all, *r)
		}
		return all
	}
	tickets := map[string]broker.Record{}
	for _, r := range read("tickets") {
		tickets[string(lineage.AppendID(nil, &r))] = r
	}
	if len(tickets) != n {
		m.Errorf("%d of %d tickets are there", len(tickets), n)
	}
	for _, topic := range []string{"sentiments", "tags", "embeddings", "classes", "keywords", "checklists"} {
		answers := read(topic)
		named := map[string]bool{}
		for _, r := range answers {
			path, err := lineage.Of(&r)
			if err != nil {
				m.Fatal(err)
			}
			id := path.Source.String()
			if ticket, is := tickets[id]; !is || string(ticket.Key) != string(r.Key) || ticket.Partition != r.Partition {
				m.Fatalf("%s[%d] has an answer to %s, which is no ticket of that key", topic, r.Partition, id)
			}
			named[id] = true
		}
		if len(answers) != n || len(named) != n {
			m.Errorf("%s has %d answers to %d tickets, want one to each of %d", topic, len(answers), len(named), n)
		}
	}
	m.auditDesk(read("desk"), tickets)
}

func (m move) auditDesk(records []broker.Record, tickets map[string]broker.Record) {
	m.Helper()
	last := map[string]answer{}
	revisions := 0
	for _, r := range records {
		a := parse(m.T, r.Value)
		of := string(r.Header(lineage.JoinOf))
		if string(a.Source) != string(tickets[of].Value) {
			m.Fatalf("the answer to %s is about %s, want %s", of, a.Source, tickets[of].Value)
		}
		if a.Revision != last[of].Revision+1 || strconv.Itoa(a.Revision) != string(r.Header(lineage.JoinRevision)) {
			m.Fatalf("%s is answered by revision %d after revision %d", of, a.Revision, last[of].Revision)
		}
		if a.Revision > 1 {
			revisions++
		}
		last[of] = a
	}
	var answers []answer
	for _, a := range last {
		answers = append(answers, a)
	}
	m.Logf("%d tickets: %s, after %d revisions", len(tickets), statuses(answers), revisions)
	if len(last) != len(tickets) {
		m.Errorf("%d of %d tickets are answered", len(last), len(tickets))
	}
	for of, a := range last {
		if a.Status != "complete" {
			m.Errorf("%s is %s in the end", of, a.Status)
		}
	}
}
