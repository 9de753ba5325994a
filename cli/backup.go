// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/brokers"
	"github.com/millrace-ml/millrace/pipeline"
)

func newBackupCommand(c *console) *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:   "backup TO",
		Short: "Copy a data directory, while it is in use or not",
		Long: `Backup copies the data directory of the embedded broker to TO, which must not
exist. A process that has the directory open makes the copy itself and works on.
All that was acknowledged before is in it, and results fit positions.

To restore, stop what runs and use the copy in place of the directory. It can be
moved anywhere.`,
		Example: `  millrace backup -p pipeline.yaml /backup/desk-monday
  millrace backup --data-dir millrace-data/support-desk desk-monday`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.backup(cmd.Context(), t, args[0])
		},
		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs),
	}
	t.directoryFlags(cmd)
	return cmd
}

// directoryFlags are those of commands that need the directory itself.
func (t *target) directoryFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&t.file, "pipeline", "p", "", "the data directory of this pipeline file")
	f.StringVar(&t.dataDir, "data-dir", "", "this data directory")
	complete(cmd, "pipeline", cobra.FixedCompletions([]cobra.Completion{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt))
	complete(cmd, "data-dir", cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs))
}

func (c *console) backup(ctx context.Context, t target, to string) error {
	var p *pipeline.Pipeline
	if t.file != "" {
		var err error
		if p, err = c.load(t.file); err != nil {
			return err
		}
		if !brokers.Embedded(p.Broker) {
			return usage("back it up with the broker's own tools", "pipeline %s is not on the embedded broker", p.Name)
		}
	}
	dir, err := t.directory(p)
	if err != nil {
		return err
	}
	switch err := brokers.BackUpDirectory(ctx, dir, to); {
	case errors.Is(err, embedded.ErrNotApart):
		return usage("name a directory elsewhere", "%w", err)
	case errors.Is(err, fs.ErrExist):
		return usage("name a directory that does not exist", "%v", err)
	case errors.Is(err, fs.ErrNotExist):
		return usage("name it with -p or --data-dir", "there is no data directory %s to back up: %v", dir, err)
	case err != nil:
		return err
	}
	if c.json() {
		return c.printJSON(map[string]string{"from": dir, "to": to})
	}
	fmt.Fprintf(c.out, "copied %s to %s\n", dir, to)
	return nil
}
