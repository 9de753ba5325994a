// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/gateway"
	"github.com/millrace-ml/millrace/timeline"
)

func TestAServiceIsMovedBackWhenItIsStoppedAndAnswersAgain(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "desk.yaml", desk)
	run := launch(t, "run", "desk.yaml", "--listen", "127.0.0.1:0")
	run.awaitRunning()
	must(t, `{"id":"T-1","text":"one"}`, "publish", "tickets", "--key", "id")
	must(t, "", "tail", "desk", "--from", "start", "--follow", "--max", "1")

	if got := call(t, "", "seek", "test.tagger", "--to", "start", "--yes"); got.code != exitFailed || !strings.Contains(got.err, "active members") {
		t.Errorf("seek of an active group: exit code %d, %s", got.code, got.err)
	}
	if got := call(t, "", "seek", "test.tager", "--to", "start"); !strings.Contains(got.err, "did you mean test.tagger?") {
		t.Errorf("seek of an unknown group: %s", got.err)
	}
	if got := call(t, "", "seek", "test.tagger", "--to", "soon"); !strings.Contains(got.err, "write start, end") {
		t.Errorf("seek to nowhere: %s", got.err)
	}
	events := explained(t, "T-1")
	var whats []string
	for _, e := range events {
		whats = append(whats, e.What)
	}
	if got := strings.Join(whats, " "); !strings.HasPrefix(got, "published answered") || !strings.HasSuffix(got, "gathered") {
		t.Errorf("what became of T-1: %s", got)
	}
	if got := must(t, "", "explain", "T-1"); !strings.Contains(got, "published    tickets") {
		t.Errorf("as a table:\n%s", got)
	}
	if got := call(t, "", "explain", "T-9"); got.code != exitFailed || !strings.Contains(got.err, `"T-9"`) {
		t.Errorf("explain of what is not there: exit code %d, %s", got.code, got.err)
	}
	run.stop(os.Interrupt)

	var moves []gateway.Move
	dry := must(t, "", "seek", "test.tagger", "--to", "start", "--output", "json")
	if err := json.Unmarshal([]byte(dry), &moves); err != nil || len(moves) == 0 {
		t.Fatalf("a dry run prints %s (%v)", dry, err)
	}
	if got := must(t, "", "groups", "test.tagger"); strings.Contains(got, "  1        0  ") {
		t.Errorf("the dry run moved the group:\n%s", got)
	}
	must(t, "", "seek", "test.tagger", "--to", "start", "--yes")
	run = launch(t, "run", "desk.yaml", "--listen", "127.0.0.1:0")
	run.awaitRunning()
	must(t, "", "tail", "tags", "--from", "start", "--follow", "--max", "2") // it answers again
	run.stop(os.Interrupt)
}

func explained(t *testing.T, record string) (events []timeline.Event) {
	t.Helper()
	if err := json.Unmarshal([]byte(must(t, "", "explain", record, "--output", "json")), &events); err != nil {
		t.Fatal(err)
	}
	return events
}
