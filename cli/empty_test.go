// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// What a script gives without a value does not mean what leaving it out does.
func TestEmptyArgumentsAndFlagsAreRefused(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "p.yaml", desk)
	must(t, `{"text":"one"}`, "publish", "-p", "p.yaml", "tickets")
	for want, args := range map[string][]string{
		"seek: argument 1 is empty":    {"seek", "", "--to", "start", "-p", "p.yaml"},
		"seek: --to is empty":          {"seek", "test.tagger", "--to", "", "-p", "p.yaml"},
		"seek: --topic is empty":       {"seek", "test.tagger", "--to", "start", "--topic=", "-p", "p.yaml"},
		"check: --salvage is empty":    {"check", "millrace-data/test", "--salvage", ""},
		"check: argument 1 is empty":   {"check", ""},
		"run: --data-dir is empty":     {"run", "none.yaml", "--data-dir", ""},
		"run: --only is empty":         {"run", "none.yaml", "--only", ""},
		"batch: --only is empty":       {"batch", "p.yaml", "--only", "tagger,"},
		"drop: argument 1 is empty":    {"dead", "drop", "", "-p", "p.yaml", "--yes"},
		"drop: argument 2 is empty":    {"dead", "drop", "tagger", "", "-p", "p.yaml", "--yes"},
		"drop: --key is empty":         {"dead", "drop", "tagger", "--key", "", "-p", "p.yaml", "--yes"},
		"retry: --key is empty":        {"dead", "retry", "--all", "--key", "", "-p", "p.yaml", "--yes"},
		"list: --pipeline is empty":    {"dead", "list", "-p", ""},
		"train: --data is empty":       {"train", "classifier", "--data", "", "--output", "x.bin"},
		"publish: argument 2 is empty": {"publish", "tickets", "", "-p", "p.yaml"},
	} {
		got := call(t, "", args...)
		if got.code != exitUsage || !strings.Contains(got.err, want+"\n  give it a value, or leave it out") {
			t.Errorf("%q: exit code %d, %s", args, got.code, got.err)
		}
	}
}

// The check stands at the root, and a command with one of its own would not have it.
func TestEveryCommandRefusesWhatIsEmpty(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.HasParent() && (cmd.PersistentPreRunE != nil || cmd.PersistentPreRun != nil) {
			t.Errorf("%s has a PersistentPreRun of its own, in whose place checkEmpty does not run", cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(&console{name: "millrace"}))
}

func TestAnEmptyWordIsCompleted(t *testing.T) {
	got := call(t, "", cobra.ShellCompRequestCmd, "seek", "")
	if got.code != exitOK || !strings.Contains(got.out, ":") {
		t.Errorf("exit code %d, %s%s", got.code, got.out, got.err)
	}
}
