// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// contents are the files of a directory.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(data)
	}
	return files
}

var lookingCommands = [][]string{{"topics"}, {"topics", "tickets"}, {"groups"}, {"tail", "tickets", "--from", "start"}, {"dead", "list"}}

func TestCommandsThatLookChangeNothing(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "desk.yaml", desk)
	must(t, `{"id":"T-1","text":"one"}`, "publish", "-p", "desk.yaml", "tickets", "--key", "id", "--data-dir", "data")
	before := contents(t, "data")
	for _, command := range lookingCommands {
		must(t, "", append(command, "--data-dir", "data")...)
		if !maps.Equal(before, contents(t, "data")) {
			t.Fatalf("%v has changed the data directory", command)
		}
	}
}

func TestADirectoryThatLostAFileIsRefusedByCommandsThatLook(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "desk.yaml", desk)
	must(t, `{"id":"T-1","text":"one"}`, "publish", "-p", "desk.yaml", "tickets", "--key", "id", "--data-dir", "data")
	markers, err := filepath.Glob("data/marker.manifest.*")
	if err != nil || len(markers) == 0 {
		t.Fatalf("there are no markers: %v", err)
	}
	for _, marker := range markers {
		if err := os.Remove(marker); err != nil {
			t.Fatal(err)
		}
	}
	before := contents(t, "data")
	for _, command := range lookingCommands {
		got := call(t, "", append(command, "--data-dir", "data")...)
		if got.code != exitFailed || !strings.Contains(got.err, "marker.manifest.* is missing") {
			t.Errorf("%v: exit code %d, %s", command, got.code, got.err)
		}
	}
	if !maps.Equal(before, contents(t, "data")) {
		t.Error("the data directory was changed")
	}
}

func TestACopyOfALiveDirectoryIsWorkedOnItself(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "desk.yaml", desk)
	run := launch(t, "run", "desk.yaml", "--listen", "127.0.0.1:0", "--data-dir", "live")
	run.awaitRunning()
	for os.CopyFS("copy", os.DirFS("live")) != nil { // a file went while it was copied
		if err := os.RemoveAll("copy"); err != nil {
			t.Fatal(err)
		}
	}
	// The copy was made of files that change, and may be refused; what counts is
	// that the process that has the original is not asked.
	call(t, `{"id":"T-1","text":"one"}`, "publish", "tickets", "--key", "id", "--data-dir", "copy")
	if got := must(t, "", "tail", "tickets", "--from", "start", "--data-dir", "live"); strings.Contains(got, "T-1") {
		t.Errorf("what was published to the copy is in the original: %s", got)
	}
	run.stop(os.Interrupt)
}
