// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/deadletter"
	"github.com/millrace-ml/millrace/gateway"
	kafkaserver "github.com/millrace-ml/millrace/internal/test/servers/kafka"
	redisserver "github.com/millrace-ml/millrace/internal/test/servers/redis"
	"github.com/millrace-ml/millrace/timeline"
)

// Every command about topics, groups and records does the same on every broker.
func TestCommandsOnEveryBroker(t *testing.T) {
	for name, start := range map[string]func(*testing.T) (url string){
		"embedded": func(*testing.T) string { return "embedded" },
		"Kafka":    startKafka,
		"Redis": func(t *testing.T) string {
			return redisserver.Start(t, redisserver.Options{AppendFsync: "always"}).URL()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &onBroker{T: t, url: start(t), dir: t.TempDir()}
			b.describe("text")
			b.serve()
			for _, step := range []struct {
				name string
				do   func(*onBroker)
			}{
				{"publish and tail", publishAndTail},
				{"topics", listTopics},
				{"groups", listGroups},
				{"seek is refused", seekActive},
				{"dead letters are seen", seeDead},
				{"a letter fails again", failAgain},
				{"dead letters are tried again and dropped", retryAndDrop},
				{"explain", explain},
				{"seek", seek},
				{"a killed retry", killedRetry},
			} {
				began := time.Now()
				step.do(b)
				if t.Failed() {
					t.Fatalf("%s failed", step.name)
				}
				t.Logf("%s: %v", step.name, time.Since(began).Round(time.Millisecond))
			}
		})
	}
}

func startKafka(t *testing.T) string {
	t.Helper()
	return kafkaserver.ForTest(t, kafkaserver.Options{}).URL()
}

// onBroker is a pipeline on a broker, and millrace run beside the test.
type onBroker struct {
	*testing.T
	url, dir string
	run      *process

	revisions int              // of the answer to C
	events    []timeline.Event // of C
}

// describe writes the pipeline's file. The models read the named field of a
// message and fail on messages without it.
func (b *onBroker) describe(field string) {
	write(b, b.file(), fmt.Sprintf(`name: test
broker: %q
topics: {tickets: {partitions: 1}}
services:
  sentiment: {from: tickets, to: moods,   model: {builtin: sentiment, field: %[2]s}}
  tagger:    {from: tickets, to: tags,    model: {builtin: tagger, field: %[2]s}}
  keywords:  {from: tags,    to: keywords, model: {builtin: keywords}}
gather:
  desk: {of: tickets, from: [moods, keywords], to: desk, deadline: 10m}
`, b.url, field))
}

func (b *onBroker) file() string { return filepath.Join(b.dir, "desk.yaml") }

// target is the flags that name the broker.
func (b *onBroker) target(args []string) []string {
	return append(args, "-p", b.file(), "--data-dir", filepath.Join(b.dir, "data"))
}

func (b *onBroker) must(args ...string) string {
	b.Helper()
	return must(b.T, "", b.target(args)...)
}

// into runs a command and reads its JSON.
func (b *onBroker) into(v any, args ...string) {
	b.Helper()
	out := b.must(append(args, "--output", "json")...)
	if err := json.Unmarshal([]byte(out), v); err != nil {
		b.Fatalf("millrace %s printed %s: %v", strings.Join(args, " "), out, err)
	}
}

func (b *onBroker) want(what string, got, want any) {
	b.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		b.Errorf("%s: %s, want %s", what, g, w)
	}
}

func (b *onBroker) serve() {
	b.Helper()
	b.run = launch(b.T, "run", b.file(), "--data-dir", filepath.Join(b.dir, "data"), "--listen", "127.0.0.1:0")
	b.run.awaitRunning()
}

func (b *onBroker) stop() {
	b.Helper()
	if code := b.run.stop(os.Interrupt); code != exitOK {
		b.Fatalf("exit code %d: %s", code, b.run.logged())
	}
}

// records waits for n records of a topic.
func (b *onBroker) records(topic string, n int) []gateway.Record {
	b.Helper()
	var all []gateway.Record
	for line := range strings.Lines(b.must("tail", topic, "--from", "start", "--follow", "--max", fmt.Sprint(n))) {
		var r gateway.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			b.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// joined describes answers as "C 2 partial failed late": the message, revision,
// status, and the states of the parts moods and keywords.
func joined(t *testing.T, records []gateway.Record) []string {
	var all []string
	for i := range records {
		var v struct {
			ID       string
			Revision int
			Status   string
			Parts    map[string]struct{ Status string }
		}
		if err := json.Unmarshal(records[i].Value, &v); err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintln(v.ID, v.Revision, v.Status, v.Parts["sentiment"].Status, v.Parts["keywords"].Status))
	}
	return all
}

func publishAndTail(b *onBroker) {
	for _, lines := range []string{
		`{"id":"A","text":"I love it","body":"I love it"}` + "\n" + `{"id":"B","body":"It broke"}`,
		`{"id":"C","body":"The charger of my vacuum is broken"}` + "\n" + `{"id":"D","text":"Thanks","body":"Thanks"}`,
	} {
		must(b.T, lines, b.target([]string{"publish", "tickets", "--key", "id"})...)
	}
	tickets := b.records("tickets", 4)
	for i, key := range []string{"A", "B", "C", "D"} {
		b.want("key", string(tickets[i].Key), key)
	}
	last := b.must("tail", "tickets", "-n", "1")
	if !strings.Contains(last, `"key":"D"`) || strings.Count(last, "\n") != 1 {
		b.Errorf("the last ticket is %s", last)
	}
	b.want("answers", joined(b.T, b.records("desk", 4)), []string{
		"A 1 complete ok ok\n", "B 1 partial failed failed\n", "C 1 partial failed failed\n", "D 1 complete ok ok\n"})
}

func listTopics(b *onBroker) {
	var topics []gateway.Topic
	b.into(&topics, "topics")
	found := map[string]int64{}
	for _, t := range topics {
		found[t.Name] = t.Records
	}
	b.want("tickets", found["tickets"], 4)
	for _, name := range []string{"moods", "tags", "keywords", "desk", "sentiment.dead", "tagger.dead", "keywords.dead"} {
		if _, there := found[name]; !there {
			b.Errorf("topic %s is missing of %v", name, found)
		}
	}
	if table := b.must("topics", "tickets"); !strings.Contains(table, "PARTITION") {
		b.Errorf("topics tickets printed %s", table)
	}
}

func listGroups(b *onBroker) {
	var groups []gateway.Group
	b.into(&groups, "groups")
	found := map[string]gateway.Group{}
	for _, g := range groups {
		found[g.Name] = g
	}
	for _, name := range []string{"test.sentiment", "test.tagger", "test.keywords", "test.desk"} {
		if g := found[name]; g.Members != 1 {
			b.Errorf("group %s has %d members: %+v", name, g.Members, groups)
		}
	}
	group := b.group("test.sentiment")
	tickets := b.records("tickets", 4)
	if p := group.Partitions[0]; p.Topic != "tickets" || p.Member == "" || p.Position <= tickets[3].Offset || p.Lag != 0 {
		b.Errorf("the sentiment group is at %+v after a ticket at %d", p, tickets[3].Offset)
	}
}

func (b *onBroker) group(name string) (g gateway.Group) {
	b.Helper()
	b.into(&g, "groups", name)
	if len(g.Partitions) == 0 {
		b.Fatalf("group %s has no partitions", name)
	}
	return g
}

func seekActive(b *onBroker) {
	got := call(b, "", b.target([]string{"seek", "test.sentiment", "--to", "start", "--yes"})...)
	if got.code != exitFailed || !strings.Contains(got.err, "active members") {
		b.Errorf("exit code %d, %s", got.code, got.err)
	}
}

// letters lists dead letters as "B open", sorted.
func (b *onBroker) letters(args ...string) (lines []string, letters []deadletter.Letter) {
	b.Helper()
	b.into(&letters, append([]string{"dead", "list"}, args...)...)
	for _, l := range letters {
		lines = append(lines, fmt.Sprint(l.Key, " ", l.State))
	}
	slices.Sort(lines)
	return lines, letters
}

func seeDead(b *onBroker) {
	b.records("tagger.dead", 2)
	all, _ := b.letters()
	b.want("letters", all, "[B open B open C open C open]")
	some, letters := b.letters("sentiment", "--key", "B")
	b.want("letters of B", some, "[B open]")
	var l gateway.DeadLetter
	b.into(&l, "dead", "show", letters[0].ID)
	ticket := b.records("tickets", 2)[1]
	var original bytes.Buffer // printed with an indent
	if err := json.Compact(&original, l.Original.Value); err != nil {
		b.Fatal(err)
	}
	b.want("the original", original.String(), string(ticket.Value))
	b.want("its place", l.Record, fmt.Sprintf("tickets/0/%d", ticket.Offset))
	b.want("its headers", len(l.Original.Headers), len(ticket.Headers))
	if !strings.Contains(l.Error, `no field "text"`) || l.Model != "sentiment@1" || l.Attempts != 1 {
		b.Errorf("the letter is %+v", l)
	}
}

func failAgain(b *onBroker) {
	_, letters := b.letters("sentiment", "--key", "B")
	if got := b.must("dead", "retry", letters[0].ID); !strings.Contains(got, letters[0].ID) {
		b.Errorf("a dry run prints %s", got)
	}
	again, _ := b.letters("sentiment", "--key", "B", "--all")
	b.want("after a dry run", again, "[B open]")
	for _, want := range []string{"[{sentiment 1 0 1 0}]", "[]"} { // each letter once
		var done []deadletter.Done
		b.into(&done, "dead", "retry", letters[0].ID, "--yes")
		b.want("done", done, want)
	}
	again, _ = b.letters("sentiment", "--key", "B", "--all")
	b.want("letters of B", again, "[B open B retried]")
}

func retryAndDrop(b *onBroker) {
	b.stop()
	b.describe("body")
	b.serve()
	var done []deadletter.Done
	b.into(&done, "dead", "drop", "--all", "--key", "B", "--yes")
	b.want("dropped", done, "[{sentiment 1 0 0 0} {tagger 1 0 0 0}]")
	b.into(&done, "dead", "retry", "--all", "--yes")
	b.want("retried", done, "[{sentiment 1 1 0 0} {tagger 1 1 0 0}]")
	none, _ := b.letters()
	b.want("open letters", none, "[]")
	all, _ := b.letters("--all")
	b.want("letters", all, "[B dropped B dropped B retried C retried C retried]")
	// Both parts come late: in one revision if the gather saw them at once.
	answers := joined(b.T, b.records("desk", 5))
	if !strings.Contains(answers[4], "complete") {
		answers = joined(b.T, b.records("desk", 6))
	}
	b.revisions = len(answers) - 3 // of C, the first answer too
	b.want("the last answer", answers[len(answers)-1], fmt.Sprintf("C %d complete late late\n", b.revisions))
	for _, name := range []string{"sentiment.dead.decisions", "tagger.dead.decisions"} {
		if g := b.group(name); g.Lag != 0 || g.Members != 0 {
			b.Errorf("group %s has %d members and a lag of %d", name, g.Members, g.Lag)
		}
	}
}

func explain(b *onBroker) {
	b.into(&b.events, "explain", "C")
	count := map[string]int{}
	for _, e := range b.events {
		count[e.What]++
		if e.Service != "" && e.Model == "" && e.What != "retried" || e.Batch < 1 && e.What != "retried" {
			b.Errorf("no model or batch in %+v", e)
		}
	}
	b.want("events", count, map[string]int{
		"published": 1, "failed": 3, "dead letter": 2, "retried": 2, "answered": 3, "gathered": b.revisions})
	b.want("the last revision", b.events[len(b.events)-1].Revision, b.revisions)
	if table := b.must("explain", "C"); strings.Count(table, "\n") != len(b.events)+2 {
		b.Errorf("as a table:\n%s", table)
	}
}

func seek(b *onBroker) {
	b.stop()
	tickets := b.records("tickets", 4)
	third := tickets[2]
	since := 0
	for _, r := range tickets {
		if !r.Time.Before(third.Time) {
			since++
		}
	}
	for _, c := range []struct {
		to  string
		lag int
	}{{"start", 4}, {"end", 0}, {fmt.Sprint(third.Offset), 2}, {third.Time.Format(time.RFC3339Nano), since}} {
		before := b.group("test.sentiment").Lag
		var moves []gateway.Move
		b.into(&moves, "seek", "test.sentiment", "--to", c.to)
		b.want("moves of a dry run", len(moves), 1)
		b.want("lag after a dry run", b.group("test.sentiment").Lag, before)
		b.into(&moves, "seek", "test.sentiment", "--to", c.to, "--yes")
		b.want("lag after a seek to "+c.to, b.group("test.sentiment").Lag, c.lag)
	}
	b.must("seek", "test.sentiment", "--to", "end", "--yes")
}

// A retry that is killed and repeated tries each letter once.
func killedRetry(b *onBroker) {
	const n = 1000
	b.describe("text")
	b.serve()
	var in strings.Builder
	for i := range n {
		fmt.Fprintf(&in, `{"id":"bad-%d","body":"It broke"}`+"\n", i)
	}
	count := func(topic string) int { return strings.Count(b.must("tail", topic, "--from", "start"), "\n") }
	before, letters := count("moods"), count("sentiment.dead")
	must(b.T, in.String(), b.target([]string{"publish", "tickets", "--key", "id"})...)
	b.records("sentiment.dead", letters+n)
	b.stop()
	b.describe("body")

	retry := launch(b.T, b.target([]string{"dead", "retry", "sentiment", "--yes", "--log-level", "debug"})...)
	retry.await("dead letters retried")
	if err := retry.cmd.Process.Kill(); err != nil {
		b.Fatal(err)
	}
	<-retry.ended
	_ = retry.cmd.Wait()
	b.must("dead", "retry", "sentiment", "--yes")

	answers := map[string]int{}
	for _, r := range b.records("moods", before+n+n)[before:] {
		if _, failed := header(&r, "mr-status"); !failed {
			answers[string(r.Key)]++
		}
	}
	for i := range n {
		if key := fmt.Sprintf("bad-%d", i); answers[key] != 1 {
			b.Fatalf("%s has %d answers", key, answers[key])
		}
	}
	if extra := b.must("tail", "moods", "-n", "1"); !strings.Contains(extra, "bad-") {
		b.Errorf("the last mood is %s", extra)
	}
	left, _ := b.letters("sentiment")
	b.want("open letters", left, "[]")
}

func header(r *gateway.Record, name string) (string, bool) {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value), true
		}
	}
	return "", false
}
