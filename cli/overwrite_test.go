// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A command that writes a file refuses one that it reads, and leaves it as it is.
func TestNoCommandWritesOverWhatItReads(t *testing.T) {
	const text = `{"id":"T-1","text":"hello"}` + "\n"
	const labelled = "text,label\nhello,a\n"
	tests := []struct {
		name string
		args []string
		kept string // the file that is read
	}{
		{"batch", []string{"batch", "p.yaml", "--input", "in.jsonl", "--output", "in.jsonl"}, "in.jsonl"},
		{"batch by another path", []string{"batch", "p.yaml", "--input", "in.jsonl", "--output", "./sub/../in.jsonl"}, "in.jsonl"},
		{"batch to a symbolic link", []string{"batch", "p.yaml", "--input", "in.jsonl", "--output", "soft.jsonl"}, "in.jsonl"},
		{"batch from a symbolic link", []string{"batch", "p.yaml", "--input", "soft.jsonl", "--output", "in.jsonl"}, "in.jsonl"},
		{"batch to a hard link", []string{"batch", "p.yaml", "--input", "in.jsonl", "--output", "hard.jsonl"}, "in.jsonl"},
		{"rejects of a batch", []string{"batch", "p.yaml", "--input", "desk.rejected.jsonl", "--output", "desk.jsonl"}, "desk.rejected.jsonl"},
		{"rejects beside standard output", []string{"batch", "p.yaml", "--input", "rejected.jsonl"}, "rejected.jsonl"},
		{"pipeline file of a batch", []string{"batch", "p.yaml", "--input", "in.jsonl", "--output", "p.yaml"}, "p.yaml"},
		{"train", []string{"train", "classifier", "--data", "d.csv", "--output", "d.csv", "--force"}, "d.csv"},
		{"train with more data", []string{"train", "classifier", "--data", "in.jsonl", "--also", "d.csv", "--output", "d.csv", "--force"}, "d.csv"},
		{"train with a test", []string{"train", "classifier", "--data", "in.jsonl", "--test", "d.csv", "--output", "d.csv", "--force"}, "d.csv"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			for file, content := range map[string]string{"in.jsonl": text, "rejected.jsonl": text, "desk.rejected.jsonl": text, "d.csv": labelled, "p.yaml": desk} {
				write(t, file, content)
			}
			if err := os.Mkdir("sub", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("in.jsonl", "soft.jsonl"); err != nil {
				t.Fatal(err)
			}
			if err := os.Link("in.jsonl", "hard.jsonl"); err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadFile(test.kept)
			if err != nil {
				t.Fatal(err)
			}
			r := call(t, "", test.args...)
			if r.code != exitUsage || !strings.Contains(r.err, "both are the same file") || !strings.Contains(r.err, "write to another file") {
				t.Errorf("exit code %d: %s", r.code, r.err)
			}
			if after, err := os.ReadFile(test.kept); err != nil || string(after) != string(before) {
				t.Errorf("%s holds %q now, it held %q (%v)", test.kept, after, before, err)
			}
		})
	}
}

func TestStandardStreamsThatAreOneFileAreRefused(t *testing.T) {
	name := filepath.Join(t.TempDir(), "in.jsonl")
	write(t, name, "{}\n")
	in, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	c := &console{in: in, out: out}
	for _, files := range [][2]string{{"-", "-"}, {"-", name}, {name, "-"}} {
		if err := c.checkApart(files[0], files[1]); err == nil {
			t.Errorf("%s may be written while %s is read", files[0], files[1])
		}
	}
	if err := c.checkApart(os.DevNull, os.DevNull); err != nil {
		t.Errorf("a device: %v", err)
	}
}
