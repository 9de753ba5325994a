// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"strings"
	"testing"
	"time"
)

// A process whose directory is gone answers nothing any more that is worth having:
// it ends, so that what supervises it starts it anew.
func TestAProcessWhoseDirectoryIsRemovedEndsWithAnError(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "desk.yaml", desk)
	run := launch(t, "run", "desk.yaml", "--listen", "127.0.0.1:0", "--data-dir", "data")
	run.awaitRunning()
	if err := os.RemoveAll("data"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-run.ended:
	case <-time.After(60 * time.Second):
		t.Fatal("the process works on without its directory")
	}
	_ = run.cmd.Wait() // the exit code says it
	if code := run.cmd.ProcessState.ExitCode(); code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	if log := run.logged(); !strings.Contains(log, "was removed or replaced") {
		t.Errorf("it does not say why: %s", log)
	}
}
