// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestShellBlocksRun runs the sh blocks of each page, one after the other in one
// shell, in a copy of the repository; blocks that name a file are written to it on
// the way. (What never ends or needs a server that is not there is in console
// blocks.)
func TestShellBlocksRun(t *testing.T) {
	t.Parallel() // most of it waits
	for _, page := range pages(t) {
		script, runs := scriptOf(blocks(t, page))
		if !runs {
			continue
		}
		t.Run(page, func(t *testing.T) {
			if testing.Short() {
				t.Skip("runs the commands of the documentation")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
			cmd.Dir = copyOfTheRepository(t)
			// Without paths in them, what is built for one copy serves the next, and
			// without cgo it is what the other checks have built.
			cmd.Env = append(os.Environ(), "GOFLAGS=-trimpath", "CGO_ENABLED=0")
			cmd.WaitDelay = time.Second
			if out, err := cmd.CombinedOutput(); err != nil {
				if len(out) > 8000 {
					out = out[len(out)-8000:]
				}
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// scriptOf does what the blocks of a page tell the reader to do, and reports
// whether there is anything to run.
func scriptOf(all []block) (script string, runs bool) {
	var b strings.Builder
	for _, block := range all {
		switch {
		case block.file != "":
			fmt.Fprintf(&b, "mkdir -p '%s'\ncat > '%s' <<'END-OF-BLOCK'\n%sEND-OF-BLOCK\n", path.Dir(block.file), block.file, block.text)
		case block.language == "sh":
			fmt.Fprintf(&b, "echo '== %s:%d' >&2\n%s\n", block.page, block.line, block.text)
			runs = true
		}
	}
	return b.String(), runs
}

func copyOfTheRepository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root
	names, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Split(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			continue // removed but not committed
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
