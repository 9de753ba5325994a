// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/gateway"
)

// process is a millrace that runs beside the test.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout io.Reader

	mu    sync.Mutex
	log   bytes.Buffer
	lines chan string // of standard error
	ended chan struct{}
}

// launch starts a command in the current directory.
func launch(t *testing.T, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	p := &process{t: t, lines: make(chan string, 1000), ended: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, self, args...)
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	if p.stdout, err = p.cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		in := bufio.NewScanner(stderr)
		in.Buffer(nil, 1<<20)
		for in.Scan() {
			p.mu.Lock()
			p.log.WriteString(in.Text() + "\n")
			p.mu.Unlock()
			select {
			case p.lines <- in.Text():
			default: // nobody waits for a line any more
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-p.ended
		_ = p.cmd.Wait() // it may have been waited for
	})
	return p
}

// logged is all of standard error so far.
func (p *process) logged() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// awaitRunning waits until a run serves and returns its address.
func (p *process) awaitRunning() string {
	p.t.Helper()
	return p.await("running").HTTP
}

// logEntry is what tests look at in a line of the log.
type logEntry struct{ Msg, HTTP, Probes string }

// await waits for a line of the log.
func (p *process) await(msg string) logEntry {
	p.t.Helper()
	for {
		select {
		case line := <-p.lines:
			var entry logEntry
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == msg {
				return entry
			}
		case <-p.ended:
			p.t.Fatalf("it has ended: %s", p.logged())
		}
	}
}

// stop sends a signal and returns the exit code.
func (p *process) stop(signal os.Signal) int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
	<-p.ended
	_ = p.cmd.Wait() // the exit code says it
	return p.cmd.ProcessState.ExitCode()
}

// must runs a command in this process that has to succeed.
func must(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	got := call(t, stdin, args...)
	if got.code != exitOK {
		t.Fatalf("millrace %s: exit code %d\n%s", strings.Join(args, " "), got.code, got.err)
	}
	return got.out
}

func TestAPipelineServesUntilItIsStopped(t *testing.T) {
	topicsGolden, groupsGolden := testdata(t, "topics.txt"), testdata(t, "groups.txt")
	t.Chdir(t.TempDir())
	write(t, "desk.yaml", desk)
	run := launch(t, "run", "desk.yaml", "--listen", "127.0.0.1:0")
	address := run.awaitRunning()

	if got := must(t, "one\ntwo\n", "publish", "tickets", "--text"); got != "published 2 records to tickets\n" {
		t.Errorf("publish printed %q", got)
	}
	write(t, "more.jsonl", `{"text":"three","customer":"c-3"}`+"\n")
	must(t, "", "publish", "-p", "desk.yaml", "tickets", "more.jsonl", "--key", "customer")

	answers := must(t, "", "tail", "desk", "--from", "start", "--follow", "--max", "3")
	for _, text := range []string{"one", "two", "three"} {
		if !strings.Contains(answers, `{"text":"`+text+`"`) {
			t.Errorf("%q is not answered:\n%s", text, answers)
		}
	}
	var r gateway.Record
	if got := must(t, "", "tail", "--server", address, "tickets", "-n", "1"); json.Unmarshal([]byte(got), &r) != nil || string(r.Key) != "c-3" {
		t.Errorf("the last ticket is %s", got)
	}
	table := must(t, "", "tail", "tickets", "-n", "1", "--output", "table")
	if !strings.Contains(table, `  c-3  {"text":"three","customer":"c-3"}`) || strings.Contains(table, "\x1b") {
		t.Errorf("as a table it is %q", table)
	}
	// A gather that is restarted, or quick, notes less.
	notes := regexp.MustCompile(`(desk\.window +2 +)[1-4]`)
	golden(t, topicsGolden, notes.ReplaceAllString(must(t, "", "topics"), "${1}2"))

	// A second process does not get the data directory, and learns who has it.
	second := call(t, "", "run", "desk.yaml", "--listen", "127.0.0.1:0")
	if second.code != exitFailed || !strings.Contains(second.err, fmt.Sprintf("in use by process %d at %s", run.cmd.Process.Pid, address)) {
		t.Errorf("a second run: exit code %d, %s", second.code, second.err)
	}
	// Nor its port.
	port := strings.TrimPrefix(address, "http://")
	other := call(t, "", "run", "desk.yaml", "--data-dir", "other", "--listen", port)
	if other.code != exitUsage || !strings.Contains(other.err, "another process has the port\n  choose a port") {
		t.Errorf("a run on the same port: exit code %d, %s", other.code, other.err)
	}

	if code := run.stop(syscall.SIGTERM); code != exitOK {
		t.Errorf("exit code %d after SIGTERM", code)
	}
	if log := run.logged(); !strings.Contains(log, "Stopped after ") || !strings.Contains(log, "\ntagger            3         3") {
		t.Errorf("the summary is missing:\n%s", log)
	}
	if out, _ := io.ReadAll(run.stdout); len(out) > 0 {
		t.Errorf("run printed %q to standard output", out)
	}

	// The topics can be seen and published to without it, and it goes on there.
	golden(t, groupsGolden, must(t, "", "groups"))
	must(t, `{"text":"four"}`, "publish", "-p", "desk.yaml", "tickets")
	if got := must(t, "", "groups", "test.tagger"); !strings.Contains(got, "  1  ") {
		t.Errorf("nobody lags behind:\n%s", got)
	}
	run = launch(t, "run", "desk.yaml", "--listen", "127.0.0.1:0")
	run.awaitRunning()
	answers = must(t, "", "tail", "desk", "--from", "start", "--follow", "--max", "4")
	if strings.Count(answers, "\n") != 4 || strings.Count(answers, `{"text":"four"}`) == 0 {
		t.Errorf("answers after a restart:\n%s", answers)
	}
	if code := run.stop(os.Interrupt); code != exitOK {
		t.Errorf("exit code %d after SIGINT", code)
	}
}

func TestAFollowerSeesEachRecordOnceFromTheLastOnesOn(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "desk.yaml", desk)
	run := launch(t, "run", "desk.yaml", "--listen", "127.0.0.1:0", "--only", "tagger")
	run.awaitRunning()
	const before, after = 20, 30
	publish := func(from, n int) {
		var in strings.Builder
		for i := from; i < from+n; i++ {
			fmt.Fprintf(&in, "%d\n", i)
		}
		must(t, in.String(), "publish", "tickets")
	}
	publish(0, before)
	follow := launch(t, "tail", "tickets", "--follow", "-n", "5", "--max", fmt.Sprint(5+after))
	out := bufio.NewScanner(follow.stdout)
	seen := map[string]int{}
	for n := 0; out.Scan(); n++ {
		var r gateway.Record
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		seen[string(r.Value)]++
		if n == 0 {
			publish(before, after)
		}
	}
	if len(seen) != 5+after {
		t.Errorf("%d different records, want %d", len(seen), 5+after)
	}
	for i := before; i < before+after; i++ {
		if seen[fmt.Sprint(i)] != 1 {
			t.Errorf("record %d was printed %d times", i, seen[fmt.Sprint(i)])
		}
	}
	if code := run.stop(syscall.SIGTERM); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// The words of a customer may be anything. Each is refused with its reason or
// becomes a dead letter, and the next one is answered as if nothing had been.
func TestBadInputIsRefusedOrADeadLetterAndDisturbsNothing(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "desk.yaml", `name: test
topics: {tickets: {partitions: 2}}
services:
  sentiment:  {from: tickets, to: moods,   model: {builtin: sentiment}}
  tagger:     {from: tickets, to: tags,    model: {builtin: tagger}}
  classifier: {from: tags,    to: classes, model: {builtin: classifier}}
gather:
  desk: {of: tickets, from: [moods, classes], to: desk, deadline: 10m}
`)
	run := launch(t, "run", "desk.yaml", "--listen", "127.0.0.1:0")
	run.awaitRunning()

	for name, c := range map[string]struct{ in, want string }{
		"invalid UTF-8":        {"{\"text\":\"a\xffb\"}", "line 1: invalid UTF-8 at byte 10"},
		"deeply nested":        {strings.Repeat("[", 1000000), "line 1: record 1 has no end: more than 128 arrays and objects in each other at byte 128"},
		"nested too deep":      {`{"text":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + "}", "line 1: more than 128 arrays and objects in each other at byte 135"},
		"larger than the most": {`{"text":"` + strings.Repeat("x", 8<<20) + `"}`, "line 1 has more than 8388608 bytes, the limit of a record"},
		"not JSON":             {"hello\n", "line 1: not JSON: invalid character 'h' looking for beginning of value at byte 0"},
		"nothing":              {"", "standard input has no records"},
	} {
		got := call(t, c.in, "publish", "tickets")
		if got.code != exitFailed || !strings.Contains(got.err, c.want) {
			t.Errorf("%s: exit code %d, %s", name, got.code, got.err)
		}
	}

	// These are records all the same; each is answered with what can be said.
	published := []struct{ name, in string }{
		{"empty text", `{"id":"empty","text":""}`},
		{"1 MB of text", `{"id":"large","text":"` + strings.Repeat("my mini is dead. ", 1<<20/17) + `"}`},
		{"no text", `{"id":"missing","txt":"hi"}`},
		{"a number for a text", `{"id":"type","text":7}`},
		{"no object", `"only words"`},
		{"a good one", `{"id":"good","text":"The new app is great, thank you!"}`},
	}
	var in strings.Builder
	for _, c := range published {
		in.WriteString(c.in + "\n")
	}
	must(t, in.String(), "publish", "tickets")
	type part struct{ Status, Error string }
	answers := map[string]map[string]part{}
	for line := range strings.Lines(must(t, "", "tail", "desk", "--from", "start", "--follow", "--max", fmt.Sprint(len(published)))) {
		var r struct {
			Value struct {
				ID    string
				Parts map[string]part
			}
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		answers[r.Value.ID] = r.Value.Parts
	}
	for _, name := range []string{"sentiment", "classifier"} {
		if got := answers["good"][name]; got.Status != "ok" {
			t.Errorf("good, %s: %+v", name, got)
		}
	}
	// The tags of so long a text are more than a record may have.
	if got := answers["large"]["sentiment"]; got.Status != "ok" {
		t.Errorf("large, sentiment: %+v", got)
	}
	if got := answers["large"]["classifier"]; got.Status != "failed" || !strings.Contains(got.Error, "the model's answer is too large") {
		t.Errorf("large, classifier: %+v", got)
	}
	for _, id := range []string{"missing", "type"} {
		for _, name := range []string{"sentiment", "classifier"} {
			if got := answers[id][name]; got.Status != "failed" || got.Error == "" {
				t.Errorf("%s, %s: %+v", id, name, got)
			}
		}
	}
	for name, got := range answers["empty"] {
		if got.Status != "ok" && got.Status != "skipped" && (got.Status != "failed" || got.Error == "") {
			t.Errorf("empty, %s: %+v", name, got)
		}
	}
	dead := must(t, "", "tail", "sentiment.dead", "--from", "start")
	if !strings.Contains(dead, `"txt":"hi"`) || !strings.Contains(dead, "there is no field") {
		t.Errorf("the dead letters are\n%s", dead)
	}
	if code := run.stop(syscall.SIGTERM); code != exitOK {
		t.Errorf("exit code %d: %s", code, run.logged())
	}
}
