// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/internal/spelling"
)

const (
	groupRun     = "run"
	groupRecords = "records"
	groupFile    = "file"
	groupModels  = "models"
)

func newRoot(c *console) *cobra.Command {
	root := &cobra.Command{
		Use:   c.name,
		Short: "Run machine-learning models on streams of messages",
		Long: `Millrace runs machine-learning models on streams of messages.

Each model is a service that reads a topic of a message broker in small batches
and publishes its answers to another topic; at the end all answers to a message
are gathered into one record. A pipeline file says what runs.`,
		Example: `  millrace demo                                  watch six models answer a support desk
  millrace run pipeline.yaml                     serve a pipeline until it is stopped
  millrace publish -p pipeline.yaml tickets f.jsonl
  millrace tail -p pipeline.yaml desk --follow`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          unknownCommand,
		// It runs for every command: none has one of its own.
		PersistentPreRunE: checkEmpty,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("see "+cmd.CommandPath()+" --help", "%v", err)
	})
	choose(root, &c.output, true, "output", "print for people or for programs", "table", "json")
	choose(root, &c.logLevel, true, "log-level", "log from this level on", "debug", "info", "warn", "error")
	choose(root, &c.logFormat, true, "log-format", "log as text or JSON (default: text on a terminal)", "text", "json")

	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run pipelines:"},
		&cobra.Group{ID: groupRecords, Title: "Records in and out:"},
		&cobra.Group{ID: groupFile, Title: "Pipeline files:"},
		&cobra.Group{ID: groupModels, Title: "Built-in models:"},
	)
	addCommands(root, c)
	return root
}

// addCommands is the list of the commands: a new one has its line here.
func addCommands(root *cobra.Command, c *console) {
	add := func(group string, commands ...*cobra.Command) {
		for _, cmd := range commands {
			cmd.GroupID = group
			root.AddCommand(cmd)
		}
	}
	add(groupRun,
		newDemoCommand(c),
		newRunCommand(c),
		newBatchCommand(c),
		newBenchCommand(c),
	)
	add(groupRecords,
		newPublishCommand(c),
		newTailCommand(c),
		newTopicsCommand(c),
		newGroupsCommand(c),
		newSeekCommand(c),
		newCopyCommand(c),
		newBackupCommand(c),
		newCheckCommand(c),
		newExplainCommand(c),
		newDeadCommand(c),
	)
	add(groupFile,
		newLintCommand(c),
		newGraphCommand(c),
	)
	add(groupModels, newEvalCommand(c), newTrainCommand(c))
	root.AddCommand(
		newVersionCommand(c),
		newCompletionCommand(c),
	)
}

// unknownCommand is what a word is that is no command.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	hint := "the commands are " + strings.Join(names, ", ")
	if best, ok := spelling.Nearest(args[0], names); ok {
		hint = "did you mean " + cmd.CommandPath() + " " + best + "?"
	}
	return usage(hint, "there is no command %q", args[0])
}
