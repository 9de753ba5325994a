// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/internal/transfer"
)

func TestAPipelineGoesOnWhereItWasAfterItsTopicsAreCopied(t *testing.T) {
	tellGolden, doneGolden := testdata(t, "copy-tell.txt"), testdata(t, "copy-done.txt")
	t.Chdir(t.TempDir())
	write(t, "desk.yaml", desk)
	must(t, "one\ntwo\nthree\n", "publish", "-p", "desk.yaml", "tickets", "--text")
	run := launch(t, "run", "desk.yaml", "--listen", "127.0.0.1:0")
	run.awaitRunning()
	must(t, "", "tail", "desk", "--from", "start", "--follow", "--max", "3")

	busy := call(t, "", "copy", "--from", "desk.yaml", "--to", "other", "--yes")
	if busy.code != exitFailed || !strings.Contains(busy.err, fmt.Sprintf("in use by process %d", run.cmd.Process.Pid)) || !strings.Contains(busy.err, "\n  stop the process first: ") {
		t.Errorf("while the pipeline runs: exit code %d, %s", busy.code, busy.err)
	}
	if code := run.stop(syscall.SIGTERM); code != exitOK {
		t.Fatalf("exit code %d", code)
	}
	must(t, "four\n", "publish", "-p", "desk.yaml", "tickets", "--text")

	announced := call(t, "", "copy", "--from", "desk.yaml", "--to", "other")
	if announced.code != exitOK || announced.err != "nothing was copied: give --yes to do it\n" {
		t.Errorf("exit code %d, %s", announced.code, announced.err)
	}
	golden(t, tellGolden, withoutNotes(announced.out))
	if _, err := os.Stat("other"); !os.IsNotExist(err) {
		t.Error("telling made the data directory")
	}
	golden(t, doneGolden, withoutNotes(must(t, "", "copy", "--from", "desk.yaml", "--to", "other", "--yes")))

	run = launch(t, "run", "desk.yaml", "--data-dir", "other", "--listen", "127.0.0.1:0")
	run.awaitRunning()
	answers := must(t, "", "tail", "--data-dir", "other", "desk", "--from", "start", "--follow", "--max", "4")
	for _, text := range []string{"one", "two", "three", "four"} {
		if strings.Count(answers, `"text":"`+text+`"`) == 0 {
			t.Errorf("%q is not answered:\n%s", text, answers)
		}
	}
	if code := run.stop(syscall.SIGTERM); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if log := run.logged(); !strings.Contains(log, "\ntagger            1         1") {
		t.Errorf("the tagger tagged other than the one ticket that was left:\n%s", log)
	}
	after := call(t, "", "copy", "--from", "desk.yaml", "--to", "other", "--yes")
	if after.code != exitFailed || !strings.Contains(after.err, "the topics to copy to are in use: ") || !strings.Contains(after.err, "\n  delete these topics there") {
		t.Errorf("over a pipeline that has gone on: exit code %d, %s", after.code, after.err)
	}
}

// withoutNotes leaves out the topic of the gather's notes, whose number depends on
// what was settled together.
func withoutNotes(table string) string {
	return regexp.MustCompile(`(?m)^desk\.window .*\n`).ReplaceAllString(table, "")
}

func TestACopyThatIsKilledGoesOn(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "desk.yaml", desk)
	var in strings.Builder
	const n = 60_000
	for i := range n {
		fmt.Fprintf(&in, "%d\n", i)
	}
	must(t, in.String(), "publish", "-p", "desk.yaml", "tickets", "--text")
	must(t, "", "copy", "--from", "desk.yaml", "--to", "whole", "--yes")
	copied := func(args ...string) (plan transfer.Plan) {
		t.Helper()
		out := must(t, "", append([]string{"copy", "--from", "desk.yaml", "--to", "part", "--output", "json"}, args...)...)
		if err := json.Unmarshal([]byte(out), &plan); err != nil {
			t.Fatal(err)
		}
		return plan
	}
	whole := bytesIn(t, "whole")
	for part := range int64(3) {
		p := launch(t, "copy", "--from", "desk.yaml", "--to", "part", "--yes")
		for bytesIn(t, "part") < whole*(part+1)/5 {
			select {
			case <-p.ended:
				t.Fatalf("it ended before it was killed: %s", p.logged())
			case <-time.After(time.Millisecond):
			}
		}
		if code := p.stop(syscall.SIGKILL); code != -1 {
			t.Fatalf("it ended before it was killed, with exit code %d", code)
		}
	}
	if there := copied().Topics[5].There; there == 0 || there == n {
		t.Fatalf("the killed copies left %d records: it was not in the middle", there)
	}
	done := copied("--yes")
	for _, topic := range done.Topics {
		if topic.Copied+topic.There != topic.Records {
			t.Errorf("%+v", topic)
		}
		t.Logf("%+v", topic)
	}
	if one, other := must(t, "", "topics", "tickets", "--data-dir", "whole"), must(t, "", "topics", "tickets", "--data-dir", "part"); one != other {
		t.Errorf("the partitions are\n%s, want\n%s", other, one)
	}
	values := func(dir string) map[string]bool {
		all := map[string]bool{}
		for line := range strings.Lines(must(t, "", "tail", "--data-dir", dir, "tickets", "--from", "start")) {
			var r struct{ Value json.RawMessage }
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatal(err)
			}
			all[string(r.Value)] = true
		}
		return all
	}
	if got := values("part"); len(got) != n {
		t.Errorf("%d different tickets were copied, want %d", len(got), n)
	}
}

// bytesIn is the size of a folder's files.
func bytesIn(t *testing.T, dir string) (n int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil { // otherwise it was just removed
			n += info.Size()
		}
	}
	return n
}

func TestWhatCopyCannotDoIsSaid(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "desk.yaml", desk)
	write(t, "other.yaml", strings.Replace(desk, "name: test", "name: other", 1))
	for _, c := range []struct{ from, to, want string }{
		{"desk.yaml", "new", "millrace: there is no data directory millrace-data/test to copy from\n  name the data directory that the pipeline had with --from DIR\n"},
		{"desk.yaml", "other.yaml", "millrace: pipeline test is copied to pipeline other, whose services are others' groups\n  give the pipeline the same name in both files\n"},
		{"absent.yaml", "new", "millrace: read pipeline file absent.yaml: there is no such file: open absent.yaml: no such file or directory\n  name a pipeline file, such as examples/support-desk/pipeline.yaml\n"},
		{"redis://localhost", "rediss://user:secret@LOCALHOST:6379/0", "millrace: --from and --to are the same broker: there is nothing to copy\n  name another broker\n"},
		{"absent", "./absent", "millrace: copy data directory absent to ./absent: absent and ./absent are the same directory: the copy must be outside of the directory that is copied, and that outside of the copy\n  name another data directory\n"},
		{"desk.yaml", "millrace-data/test/copy", "millrace: copy data directory millrace-data/test to millrace-data/test/copy: millrace-data/test/copy is inside millrace-data/test: the copy must be outside of the directory that is copied, and that outside of the copy\n  name another data directory\n"},
	} {
		got := call(t, "", "copy", "--from", c.from, "--to", c.to)
		if got.code != exitUsage || got.err != c.want {
			t.Errorf("from %s to %s: exit code %d, %q", c.from, c.to, got.code, got.err)
		}
	}
}
