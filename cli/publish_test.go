// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"strings"
	"testing"
)

// What is published into a topic of results would be taken for the work of a
// service or gather. Without the pipeline's file the records tell which those are.
func TestTopicsOfResultsAreNotPublishedToUnlessForced(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "desk.yaml", desk)
	must(t, "one\ntwo\n", "publish", "-p", "desk.yaml", "tickets", "--text")
	run := launch(t, "run", "desk.yaml", "--listen", "127.0.0.1:0")
	run.awaitRunning()
	must(t, "", "tail", "desk", "--from", "start", "--follow", "--max", "2")
	if got := call(t, "x\n", "publish", "desk", "--text", "--force"); got.code != exitUsage || !strings.Contains(got.err, "written by the pipeline's own services") {
		t.Errorf("while it runs: exit code %d, %s", got.code, got.err)
	}
	run.stop(os.Interrupt)

	for _, topic := range []string{"desk", "tags", "desk.window"} {
		got := call(t, "x\n", "publish", topic, "--text")
		if got.code != exitUsage || !strings.Contains(got.err, "topic "+topic+" holds results") || !strings.Contains(got.err, "--force") {
			t.Errorf("into %s: exit code %d, %s", topic, got.code, got.err)
		}
		got = call(t, "x\n", "publish", "-p", "desk.yaml", topic, "--text")
		if got.code != exitUsage {
			t.Errorf("into %s of the file: exit code %d, %s", topic, got.code, got.err)
		}
	}
	must(t, "three\n", "publish", "tickets", "--text")
	must(t, "x\n", "publish", "desk", "--text", "--force")
	must(t, "x\n", "publish", "-p", "desk.yaml", "tags", "--text", "--force")

	// The pipeline goes on beside what was forced.
	run = launch(t, "run", "desk.yaml", "--listen", "127.0.0.1:0")
	run.awaitRunning()
	if answers := must(t, "", "tail", "desk", "--from", "start", "--follow", "--max", "4"); !strings.Contains(answers, `"text":"three"`) {
		t.Errorf("the answers are %s", answers)
	}
	run.stop(os.Interrupt)
}
