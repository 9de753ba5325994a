// SPDX-License-Identifier: Apache-2.0

package gather_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/gather"
	"github.com/millrace-ml/millrace/lineage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk is a gather of tickets with the parts mood (from moods) and class (from
// classes, by way of tags).
type desk struct {
	*testing.T
	b *broker.Broker
	c gather.Config
}

func newDesk(t *testing.T, deadline time.Duration) *desk {
	t.Helper()
	b, err := embedded.Open("data", embedded.Options{FS: vfs.NewMem(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	for _, name := range []string{"tickets", "moods", "classes", "tagger.dead", "desk"} {
		if err := b.CreateTopics(t.Context(), broker.Topic{Name: name, Partitions: 1}); err != nil {
			t.Fatal(err)
		}
	}
	return &desk{t, b, gather.Config{
		Name: "desk", Group: "g.desk", Of: "tickets", To: "desk", Deadline: deadline,
		Parts: []gather.Part{
			{Name: "mood", Topic: "moods"},
			{Name: "class", Topic: "classes", Upstream: []string{"tagger.dead"}},
		},
	}}
}

// serve runs the gather until the returned function is called.
func (d *desk) serve() (stop func()) {
	d.Helper()
	g, err := gather.New(d.b, d.c)
	if err != nil {
		d.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			d.Errorf("run: %v", err)
		}
	})
	d.Cleanup(stop)
	return stop
}

func (d *desk) publish(records ...broker.Record) {
	d.Helper()
	if _, err := d.b.Publish(d.Context(), records...); err != nil {
		d.Fatal(err)
	}
}

func ticket(value string) broker.Record {
	return broker.Record{Topic: "tickets", Key: []byte("k"), Value: []byte(value)}
}

// part is what a service answers to the ticket at the offset.
func part(topic, service string, offset int, value string, headers ...broker.Header) broker.Record {
	id := fmt.Sprintf("tickets/0/%d/%s", offset, service)
	return broker.Record{
		Topic: topic, Key: []byte("k"), Value: []byte(value),
		Headers: append([]broker.Header{{Key: lineage.ID, Value: []byte(id)}, {Key: lineage.Model, Value: []byte("m@1")}}, headers...),
	}
}

func mood(offset int, value string) broker.Record { return part("moods", "mood", offset, value) }
func class(offset int, value string) broker.Record {
	return part("classes", "tagger/class", offset, value)
}

func marker(r broker.Record, status, why string) broker.Record {
	r.Value = nil
	r.Headers = append(r.Headers, broker.Header{Key: lineage.Status, Value: []byte(status)}, broker.Header{Key: lineage.Error, Value: []byte(why)})
	return r
}

// answers waits for n records of the desk and gives each as a line: id, status,
// revision, and its parts.
func (d *desk) answers(n int) []string {
	d.Helper()
	ctx, cancel := context.WithTimeout(d.Context(), 20*time.Second)
	defer cancel()
	r, err := d.b.Read(ctx, "desk", 0, broker.Start(), broker.Forever())
	if err != nil {
		d.Fatal(err)
	}
	defer r.Close()
	var all []string
	for len(all) < n {
		records, err := r.Next(ctx, 0)
		if err != nil {
			d.Fatalf("the desk has %d answers (%q), want %d: %v", len(all), all, n, err)
		}
		for i := range records {
			all = append(all, d.line(records[i].Value))
		}
	}
	return all
}

func (d *desk) line(value []byte) string {
	d.Helper()
	var a struct {
		ID       string
		Status   string
		Revision int
		Parts    map[string]struct {
			Status string
			Value  json.RawMessage
			Error  string
		}
	}
	if err := json.Unmarshal(value, &a); err != nil {
		d.Fatalf("%s: %v", value, err)
	}
	line := fmt.Sprintf("%s %s %d", a.ID, a.Status, a.Revision)
	for _, name := range []string{"mood", "class"} {
		p := a.Parts[name]
		line += fmt.Sprintf(" %s=%s", name, p.Status)
		switch {
		case p.Value != nil:
			line += ":" + string(p.Value)
		case p.Error != "":
			line += ":" + p.Error
		}
	}
	return line
}

func (d *desk) want(lines ...string) {
	d.Helper()
	got := d.answers(len(lines))
	for i := range max(len(got), len(lines)) {
		if i >= len(lines) {
			d.Errorf("one answer too many: %s", got[i])
		} else if got[i] != lines[i] {
			d.Errorf("answer %d is\n%s, want\n%s", i, got[i], lines[i])
		}
	}
}

// settled waits until the gather has taken in and settled everything.
func (d *desk) settled() {
	d.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		lags, err := d.b.Lag(d.Context(), "g.desk")
		if err != nil {
			d.Fatal(err)
		}
		var lag int64
		for _, l := range lags {
			lag += l.Lag
		}
		if len(lags) > 0 && lag == 0 {
			return
		}
		if time.Now().After(deadline) {
			d.Fatalf("the gather does not take in everything: %+v", lags)
		}
		time.Sleep(time.Millisecond)
	}
}

const long = time.Hour // a deadline that does not come

func TestATicketIsAnsweredWhenAllPartsAreThere(t *testing.T) {
	d := newDesk(t, long)
	d.serve()
	d.publish(ticket(`{"id":"A"}`), ticket(`{"id":"A"}`), ticket(`no json`))
	d.publish(class(0, `1`), mood(0, `{"x": 2}`), mood(1, `3`), mood(2, `5`), class(1, `4`), class(2, "6"))
	d.want(
		`A complete 1 mood=ok:{"x": 2} class=ok:1`,
		`A complete 1 mood=ok:3 class=ok:4`,
		`tickets/0/2 complete 1 mood=ok:5 class=ok:6`)
}

func TestTheAnswerHoldsSourceKeyAndWhoMadeEachPart(t *testing.T) {
	d := newDesk(t, long)
	d.serve()
	d.publish(ticket("{\n\"id\": 7}"))
	d.publish(part("moods", "mood", 0, `"<ok>"`, broker.Header{Key: lineage.Attempts, Value: []byte("2")}), class(0, "\xff\n"))
	d.answers(1)
	r, err := d.b.Read(t.Context(), "desk", 0, broker.Start(), broker.Position{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	records, err := r.Next(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	var latencies int
	got := string(records[0].Value)
	for _, word := range strings.FieldsFunc(got, func(r rune) bool { return r == ',' || r == '}' }) {
		if strings.HasPrefix(word, `"latency_ms":`) {
			got = strings.Replace(got, ","+word, "", 1)
			latencies++
		}
	}
	want := `{"id":"7","key":"k","status":"complete","revision":1,"source":{"id":7},"parts":{` +
		`"mood":{"status":"ok","value":"<ok>","service":"mood","model":"m@1","attempts":2},` +
		`"class":{"status":"ok","value":{"base64":"/wo="},"service":"class","model":"m@1","attempts":1}}}`
	if got != want || latencies != 2 {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
	if string(records[0].Header(lineage.JoinOf)) != "tickets/0/0" {
		t.Errorf("headers %v", records[0].Headers)
	}
}

func TestWhatCannotComeIsNotWaitedFor(t *testing.T) {
	d := newDesk(t, long)
	d.serve()
	for i := range 4 {
		d.publish(ticket(fmt.Sprintf(`{"id":"%d"}`, i)))
	}
	d.publish(mood(0, `1`), marker(class(0, ""), lineage.StatusFailed, "class: is ill"))
	d.publish(mood(1, `1`), marker(class(1, ""), lineage.StatusSkipped, ""))
	// The tagger failed: its dead letter is there long before class passes it on.
	d.publish(mood(2, `1`), broker.Record{Topic: "tagger.dead", Key: []byte("k"), Headers: []broker.Header{
		{Key: lineage.ID, Value: []byte("tickets/0/2")}, {Key: lineage.DeadService, Value: []byte("tagger")}, {Key: lineage.Error, Value: []byte("is ill")}}})
	d.publish(mood(3, `1`), class(3, `2`))
	d.want(
		`0 partial 1 mood=ok:1 class=failed:class: is ill`,
		`1 complete 1 mood=ok:1 class=skipped`,
		`2 partial 1 mood=ok:1 class=failed:tagger: is ill`,
		`3 complete 1 mood=ok:1 class=ok:2`)
	d.publish(marker(class(2, ""), lineage.StatusFailed, "tagger: is ill"))
	d.settled()
	if n := len(d.answers(4)); n != 4 {
		t.Errorf("the marker passed on made answer %d", n)
	}
	d.publish(class(0, `9`)) // a dead letter that was tried again
	d.settled()
	if got := d.answers(5)[4]; got != `0 complete 2 mood=ok:1 class=late:9` {
		t.Errorf("tried again: %s", got)
	}
}

func TestSeveralValuesAreAList(t *testing.T) {
	d := newDesk(t, long)
	d.serve()
	d.publish(ticket(`{}`))
	d.publish(mood(0, `0`), part("classes", "tagger/class:1of2", 0, `1`))
	d.publish(part("classes", "tagger/class:2of2", 0, `2`))
	d.want(`tickets/0/0 complete 1 mood=ok:0 class=ok:[1,2]`)
}

func TestAtTheDeadlineThereIsWhatThereIsAndALatePartMakesARevision(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		t.Run(fmt.Sprintf("restarted=%v", restarted), func(t *testing.T) {
			d := newDesk(t, 50*time.Millisecond)
			stop := d.serve()
			d.publish(ticket(`{"id":"A"}`), ticket(`{"id":"B"}`))
			d.publish(mood(0, `1`))
			d.want(
				`A partial 1 mood=ok:1 class=missing:no answer within 50ms`,
				`B partial 1 mood=missing:no answer within 50ms class=missing:no answer within 50ms`)
			d.settled()
			if restarted {
				stop()
				d.serve()
			}
			d.publish(part("classes", "tagger/class:1of2", 0, `1`), part("classes", "tagger/class:2of2", 0, `2`))
			d.settled()
			d.publish(mood(1, `3`))
			d.settled()
			d.publish(class(1, `4`), mood(1, `5`)) // the second mood is one too many
			d.settled()
			d.want(
				`A partial 1 mood=ok:1 class=missing:no answer within 50ms`,
				`B partial 1 mood=missing:no answer within 50ms class=missing:no answer within 50ms`,
				`A complete 2 mood=ok:1 class=late:[1,2]`,
				`B partial 2 mood=late:3 class=missing:no answer within 50ms`,
				`B complete 3 mood=late:3 class=late:4`)
		})
	}
}

// A gather that was away longer than the deadline must not count as missing
// what the log holds.
func TestAGatherThatCatchesUpFindsPartsThatCameInTime(t *testing.T) {
	d := newDesk(t, 30*time.Millisecond)
	for i := range 50 {
		d.publish(ticket(fmt.Sprintf(`{"id":"%d"}`, i)))
		d.publish(mood(i, `1`), class(i, `2`))
	}
	time.Sleep(40 * time.Millisecond) // the deadlines pass
	d.c.Batch.Records = 7
	d.serve()
	for i, line := range d.answers(50) {
		if want := fmt.Sprintf("%d complete 1 mood=ok:1 class=ok:2", i); line != want {
			t.Fatalf("got %s, want %s", line, want)
		}
	}
}

// Restarted at any point, the answers are the same and each is there once.
func TestARestartLosesAndRepeatsNothing(t *testing.T) {
	d := newDesk(t, long)
	var steps []broker.Record
	const n = 12
	for i := range n {
		steps = append(steps, ticket(fmt.Sprintf(`{"id":"%d"}`, i)))
		if i >= 2 {
			steps = append(steps, mood(i-2, `1`))
		}
		if i >= 5 {
			steps = append(steps, class(i-5, `2`))
		}
	}
	for i := n - 2; i < n; i++ {
		steps = append(steps, mood(i, `1`))
	}
	for i := n - 5; i < n; i++ {
		steps = append(steps, class(i, `2`))
	}
	for _, r := range steps {
		stop := d.serve()
		d.publish(r)
		d.settled()
		stop()
	}
	lines := d.answers(n)
	if len(lines) != n {
		t.Errorf("%d answers, want %d", len(lines), n)
	}
	for i, line := range lines {
		if want := fmt.Sprintf("%d complete 1 mood=ok:1 class=ok:2", i); line != want {
			t.Errorf("got %s, want %s", line, want)
		}
	}
}

// With room for few open tickets the others wait in their topics, and so do
// parts that are ahead of them; nothing is lost and nothing stands still.
func TestMemoryIsBoundedWhenOnePartIsFarBehind(t *testing.T) {
	d := newDesk(t, 0)
	d.c.MaxOpen, d.c.Batch.Records = 10, 16
	var mu sync.Mutex
	open := 0
	d.c.Observe = func(o gather.Observation) {
		mu.Lock()
		defer mu.Unlock()
		open = max(open, o.Open)
	}
	d.serve()
	const n = 500
	for i := range n {
		d.publish(ticket(fmt.Sprintf(`{"id":"%d"}`, i)), mood(i, `1`))
	}
	for i := range n {
		d.publish(class(i, `2`))
	}
	for i, line := range d.answers(n) {
		if want := fmt.Sprintf("%d complete 1 mood=ok:1 class=ok:2", i); line != want {
			t.Fatalf("got %s, want %s", line, want)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if open > 10+16 {
		t.Errorf("%d tickets were open at once", open)
	}
}

func TestAValueThatDoesNotFitIsLeftOutAndNamed(t *testing.T) {
	d := newDesk(t, long)
	d.serve()
	big := `"` + strings.Repeat("x", 5<<20) + `"`
	d.publish(ticket(`{"id":"A"}`))
	d.publish(mood(0, big))
	d.publish(class(0, big))
	line := d.answers(1)[0]
	if !strings.HasPrefix(line, "A complete 1 mood=ok:null") || len(line) > 1000 {
		t.Errorf("got %d bytes: %.200s", len(line), line)
	}
}

func TestForeignRecordsInAResultTopicAreLeftOut(t *testing.T) {
	d := newDesk(t, long)
	d.serve()
	d.publish(ticket(`{"id":"A"}`))
	d.publish(broker.Record{Topic: "moods", Value: []byte("who is this?")}, mood(0, `1`), class(0, `2`))
	d.want(`A complete 1 mood=ok:1 class=ok:2`)
}

func TestTwoMembersShareThePartitionsThroughRebalances(t *testing.T) {
	d := newDesk(t, long)
	for _, name := range []string{"t4", "m4", "c4", "d4"} {
		if err := d.b.CreateTopics(t.Context(), broker.Topic{Name: name, Partitions: 4}); err != nil {
			t.Fatal(err)
		}
	}
	d.c.Of, d.c.To = "t4", "d4"
	d.c.Parts = []gather.Part{{Name: "mood", Topic: "m4"}, {Name: "class", Topic: "c4"}}
	stop := d.serve()
	const n = 400
	for i := range n {
		p, offset := int32(i%4), i/4
		at := func(topic, service, value string) broker.Record {
			r := broker.Record{Topic: topic, Partition: p, Pinned: true, Key: []byte("k"), Value: []byte(value)}
			if service != "" {
				r.Headers = []broker.Header{{Key: lineage.ID, Value: fmt.Appendf(nil, "t4/%d/%d/%s", p, offset, service)}}
			}
			return r
		}
		d.publish(at("t4", "", fmt.Sprintf(`{"id":"%d"}`, i)), at("m4", "mood", "1"))
		switch i {
		case 100:
			defer d.serve()()
		case 200:
			stop()
		case 300:
			defer d.serve()()
		}
		if i >= 40 {
			p, offset = int32((i-40)%4), (i-40)/4
			d.publish(at("c4", "class", "2"))
		}
	}
	for i := n - 40; i < n; i++ {
		d.publish(broker.Record{Topic: "c4", Partition: int32(i % 4), Pinned: true, Value: []byte("2"),
			Headers: []broker.Header{{Key: lineage.ID, Value: fmt.Appendf(nil, "t4/%d/%d/class", i%4, i/4)}}})
	}
	d.settled()
	r, err := d.b.Read(t.Context(), "d4", broker.AllPartitions, broker.Start(), broker.Position{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	seen := map[string]int{}
	for {
		records, err := r.Next(t.Context(), 0)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range records {
			seen[d.line(records[i].Value)]++
		}
	}
	for i := range n {
		if line := fmt.Sprintf("%d complete 1 mood=ok:1 class=ok:2", i); seen[line] != 1 {
			t.Errorf("%s: %d times", line, seen[line])
		}
	}
	if len(seen) != n {
		t.Errorf("%d different answers, want %d", len(seen), n)
	}
}
