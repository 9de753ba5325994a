// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestGoBlocksAreTrue compiles each Go block that is a whole program, in a module
// outside of the repository, and runs those that say what they print. (A block
// that names a file is compiled by the page's commands.) Any other block is an
// excerpt: its lines stand in a Go file of the repository.
func TestGoBlocksAreTrue(t *testing.T) {
	t.Parallel() // most of it waits
	programs := 0
	var sources []string
	for _, page := range pages(t) {
		for _, b := range blocks(t, page) {
			switch {
			case b.language != "go" || b.file != "":
			case strings.HasPrefix(b.text, "package main\n"):
				programs++
				t.Run(page+"/"+firstComment(b.text), func(t *testing.T) {
					if testing.Short() {
						t.Skip("builds programs")
					}
					tryProgram(t, b)
				})
			default:
				if sources == nil {
					sources = goFiles(t)
				}
				if !isExcerpt(b.text, sources) {
					t.Errorf("%s:%d: these lines stand in no Go file", page, b.line)
				}
			}
		}
	}
	if programs == 0 {
		t.Error("no page has a program")
	}
}

// tryProgram builds and runs a program in a module of its own.
func tryProgram(t *testing.T, b block) {
	dir, here := t.TempDir(), absolute(t, root)
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sums, err := os.ReadFile(filepath.Join(here, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	write("go.sum", string(sums))
	write("go.mod", "module example.com/reader\n\ngo 1.26\n\nrequire github.com/millrace-ml/millrace v0.0.0\n\nreplace github.com/millrace-ml/millrace => "+here+"\n")
	write("main.go", b.text)

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-mod=mod", "-trimpath", "-o", "program", ".")
	build.Dir, build.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s:%d: %v\n%s", b.page, b.line, err, out)
	}
	want, says := output(b.text)
	if !says {
		return
	}
	run := exec.CommandContext(ctx, "./program")
	run.Dir = dir
	var errors strings.Builder
	run.Stderr = &errors
	got, err := run.Output()
	if err != nil {
		t.Fatalf("%s:%d: %v\n%s%s", b.page, b.line, err, got, errors.String())
	}
	if strings.TrimSpace(string(got)) != want {
		t.Errorf("%s:%d prints\n%s\nwhere the page says\n%s", b.page, b.line, got, want)
	}
}

// output is what a program says that it prints: the comment after "// Output:".
func output(program string) (text string, says bool) {
	_, comment, says := strings.Cut(program, "// Output:\n")
	var lines []string
	for line := range strings.Lines(comment) {
		text, isComment := strings.CutPrefix(strings.TrimSpace(line), "//")
		if !isComment {
			break
		}
		lines = append(lines, strings.TrimPrefix(text, " "))
	}
	return strings.TrimSpace(strings.Join(lines, "\n")), says
}

// firstComment names a program after its first comment.
func firstComment(program string) string {
	_, after, _ := strings.Cut(program, "// ")
	line, _, _ := strings.Cut(after, "\n")
	return line
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// goFiles are the Go files of the repository, each without indentation and empty
// lines.
func goFiles(t *testing.T) []string {
	t.Helper()
	list := exec.Command("git", "ls-files", "*.go")
	list.Dir = root
	names, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for name := range strings.FieldsSeq(string(names)) {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err == nil { // it may be removed and not committed
			files = append(files, flat(string(data)))
		}
	}
	return files
}

func isExcerpt(text string, files []string) bool {
	for _, file := range files {
		if strings.Contains(file, flat(text)) {
			return true
		}
	}
	return false
}

// flat is a text with one line break around each line, without indentation and
// empty lines.
func flat(text string) string {
	var b strings.Builder
	b.WriteString("\n")
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}
