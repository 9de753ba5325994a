// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestABackupIsMadeBesideTheProcessAndRunsElsewhere(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "desk.yaml", desk)
	run := launch(t, "run", "desk.yaml", "--listen", "127.0.0.1:0")
	run.awaitRunning()
	must(t, `{"id":"T-1","text":"one"}`, "publish", "tickets", "--key", "id")
	must(t, "", "tail", "desk", "--from", "start", "--follow", "--max", "1")
	must(t, "", "backup", "-p", "desk.yaml", "copy")
	run.stop(os.Interrupt)
	must(t, "", "backup", "-p", "desk.yaml", "copy-of-stopped")

	for _, dir := range []string{"copy", "copy-of-stopped"} {
		must(t, "", "check", dir)
		if got := must(t, "", "tail", "desk", "--data-dir", dir, "--from", "start"); !strings.Contains(got, "T-1") {
			t.Errorf("in %s there is %s", dir, got)
		}
	}
	if got := call(t, "", "backup", "-p", "desk.yaml", "copy"); got.code != exitUsage {
		t.Errorf("a second backup to the same place: exit code %d, %s", got.code, got.err)
	}
	if got := call(t, "", "backup", "--data-dir", "nothing", "copy-2"); got.code != exitUsage {
		t.Errorf("a backup of nothing: exit code %d, %s", got.code, got.err)
	}
}

func TestCheckNamesADamagedFileAndSalvagesTheRest(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "desk.yaml", desk)
	must(t, `{"id":"T-1","text":"`+strings.Repeat("one ", 500)+`"}`, "publish", "-p", "desk.yaml", "tickets", "--key", "id", "--data-dir", "data")
	if got := must(t, "", "check", "data"); !strings.Contains(got, "1 records that are whole") {
		t.Errorf("of a whole directory check says %s", got)
	}
	options, err := filepath.Glob("data/OPTIONS-*")
	if err != nil || len(options) == 0 {
		t.Fatalf("there are no options: %v", err)
	}
	if err := os.Truncate(options[0], 10); err != nil {
		t.Fatal(err)
	}
	got := call(t, "", "check", "data", "--salvage", "salvaged")
	if got.code != exitFailed || !strings.Contains(got.out, filepath.Base(options[0])) {
		t.Errorf("of a damaged directory check says, with exit code %d: %s %s", got.code, got.out, got.err)
	}
	for _, args := range [][]string{{"check", "data", "--salvage", "data/s"}, {"backup", "--data-dir", "data", "data/s"}} {
		if got := call(t, "", args...); got.code != exitUsage || !strings.Contains(got.err, "data/s is inside data") {
			t.Errorf("%v says, with exit code %d: %s", args, got.code, got.err)
		}
	}
	if got := call(t, "", "check", "."); got.code != exitFailed || !strings.Contains(got.err, "no data directory of Millrace") {
		t.Errorf("of another folder check says, with exit code %d: %s", got.code, got.err)
	}
}

func TestASalvageWithoutRecordsIsNotAnnounced(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "desk.yaml", desk)
	must(t, `{"id":"T-1","text":"one"}`, "publish", "-p", "desk.yaml", "tickets", "--key", "id", "--data-dir", "data")
	manifests, err := filepath.Glob("data/MANIFEST-*")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range manifests {
		if err := os.Remove(m); err != nil {
			t.Fatal(err)
		}
	}
	got := call(t, "", "check", "data", "--salvage", "salvaged")
	if got.code != exitFailed || strings.Contains(got.out, "copied") || !strings.Contains(got.err, "no record could be saved") || !strings.Contains(got.err, "MANIFEST-") {
		t.Errorf("check says, with exit code %d: %s%s", got.code, got.out, got.err)
	}
	if _, err := os.Stat("salvaged"); err == nil {
		t.Error("nothing was saved, and there is a directory")
	}
}
