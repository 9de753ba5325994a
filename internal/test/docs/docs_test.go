// SPDX-License-Identifier: Apache-2.0

// Package docs checks that the documentation tells the truth: every shell block
// of the README and the pages is run, every YAML block of a pipeline is linted,
// every link to a file leads somewhere, and decisions are numbered and listed.
package docs

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/model/kinds"
	"github.com/millrace-ml/millrace/pipeline"
)

const root = "../../.."

// block is a fenced block of a page.
type block struct {
	page, language string
	line           int
	text           string
}

func pages(t *testing.T) []string {
	t.Helper()
	pages := []string{"README.md", "DESIGN.md", "CONTRIBUTING.md", "CHANGELOG.md"}
	for _, dir := range []string{"docs", "examples"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, _ fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".md") {
				rel, _ := filepath.Rel(root, path)
				pages = append(pages, rel)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return pages
}

func blocks(t *testing.T, page string) []block {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	var all []block
	var in *block
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		switch fence, language, _ := strings.Cut(strings.TrimSpace(line), "```"); {
		case !strings.HasPrefix(strings.TrimSpace(line), "```") || fence != "":
			if in != nil {
				in.text += line + "\n"
			}
		case in == nil:
			in = &block{page: page, language: language, line: n}
		default:
			all = append(all, *in)
			in = nil
		}
	}
	if in != nil {
		t.Errorf("%s:%d: the block is not closed", page, in.line)
	}
	return all
}

// TestShellBlocksRun runs the sh blocks of each page, one after the other in one
// shell, in a copy of the repository. (What never ends or needs a server that is
// not there is in console blocks.)
func TestShellBlocksRun(t *testing.T) {
	for _, page := range pages(t) {
		var script strings.Builder
		for _, b := range blocks(t, page) {
			if b.language == "sh" {
				fmt.Fprintf(&script, "echo '== %s:%d' >&2\n%s\n", b.page, b.line, b.text)
			}
		}
		if script.Len() == 0 {
			continue
		}
		t.Run(page, func(t *testing.T) {
			if testing.Short() {
				t.Skip("runs the commands of the documentation")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script.String())
			cmd.Dir = copyOfTheRepository(t)
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

func TestPipelinesInTheDocsAreValid(t *testing.T) {
	checked := 0
	for _, page := range pages(t) {
		for _, b := range blocks(t, page) {
			if b.language != "yaml" || !strings.Contains(b.text, "\nservices:") || strings.Contains(b.text, "…") {
				continue
			}
			checked++
			_, problems := pipeline.Check(page, []byte(b.text), nil, pipeline.WithKinds(kinds.All(nil)...))
			if problems.Errors() > 0 {
				t.Errorf("%s:%d: %v", page, b.line, problems)
			}
		}
	}
	if checked == 0 {
		t.Error("no page shows a pipeline")
	}
}

var link = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)

func TestLinksToFilesLeadSomewhere(t *testing.T) {
	for _, page := range pages(t) {
		data, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(data), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
			}
		}
	}
}

func TestEachDecisionHasItsOwnNumber(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "docs/adr/[0-9]*.md"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no decisions: %v", err)
	}
	index, err := os.ReadFile(filepath.Join(root, "docs/adr/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for i, file := range files {
		name := filepath.Base(file)
		if number := fmt.Sprintf("%04d-", i+1); !strings.HasPrefix(name, number) {
			t.Errorf("%s stands where %s is expected", name, number)
		}
		page, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		title, _, _ := strings.Cut(string(page), "\n")
		number, _, _ := strings.Cut(strings.TrimPrefix(title, "# "), ".")
		if fmt.Sprintf("%04s", number) != name[:4] {
			t.Errorf("%s calls itself %q", name, title)
		}
		if entry := "[" + strings.TrimPrefix(title, "# ") + "](" + name + ")"; !strings.Contains(string(index), entry) {
			t.Errorf("the index lacks %s", entry)
		}
	}
}
