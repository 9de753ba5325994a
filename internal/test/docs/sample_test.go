// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the samples of README.md anew")

// TestReadmeSampleIsReal runs the commands that README.md names before its JSON
// sample and compares what they print. How long a model took varies.
func TestReadmeSampleIsReal(t *testing.T) {
	t.Parallel() // most of it waits
	if testing.Short() {
		t.Skip("runs the commands of the README")
	}
	const page = "README.md"
	var command, sample block
	for _, b := range blocks(t, page) {
		switch {
		case b.language == "sh" && sample.text == "":
			command = b
		case b.language == "json":
			sample = b
		}
	}
	if command.text == "" || sample.text == "" {
		t.Fatal("README.md has no command with a sample of its output")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", command.text)
	cmd.Dir = copyOfTheRepository(t)
	cmd.Env = append(os.Environ(), "GOFLAGS=-trimpath", "CGO_ENABLED=0")
	var progress strings.Builder
	cmd.Stderr = &progress
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	got := readable(t, out)
	if *update {
		replace(t, page, sample.text, got)
		return
	}
	if same(got) != same(sample.text) {
		t.Errorf("README.md:%d shows\n%s\nwhere the command prints\n%s\nwrite it anew with: go test ./internal/test/docs -run Sample -update", sample.line, sample.text, got)
	}
}

var latency = regexp.MustCompile(`"latency_ms": ?[0-9]+`)

// same is a sample without what varies.
func same(sample string) string { return latency.ReplaceAllString(sample, `"latency_ms": 0`) }

func replace(t *testing.T, page, old, by string) {
	t.Helper()
	file := filepath.Join(root, page)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(data), old, by, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// readable writes a line of JSON with a space after each comma and colon, the
// source on a line of its own and each part on one.
func readable(t *testing.T, line []byte) string {
	t.Helper()
	if !json.Valid(line) {
		t.Fatalf("the commands print more than one JSON value: %s", line)
	}
	var b strings.Builder
	depth, quoted, escaped := 0, false, false
	parts := strings.Index(string(line), `"parts":`)
	for i, c := range strings.TrimSpace(string(line)) {
		b.WriteRune(c)
		switch {
		case quoted:
			quoted = escaped || c != '"'
			escaped = c == '\\' && !escaped
			continue
		case c == '"':
			quoted, escaped = true, false
			continue
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
		rest := string(line[i+1:])
		switch {
		case depth == 1 && c == ',' && (strings.HasPrefix(rest, `"source"`) || strings.HasPrefix(rest, `"parts"`)):
			b.WriteString("\n ")
		case depth == 2 && i > parts && (c == '{' || c == ','):
			b.WriteString("\n   ")
		case (c == ',' || c == ':') && !strings.HasPrefix(rest, " "):
			b.WriteString(" ")
		}
	}
	return b.String() + "\n"
}
