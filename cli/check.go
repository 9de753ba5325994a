// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/brokers"
)

func newCheckCommand(c *console) *cobra.Command {
	var salvage string
	cmd := &cobra.Command{
		Use:   "check DIR",
		Short: "Check a data directory, or copy what is whole of a damaged one",
		Long: `Check reads all of a data directory of the embedded broker and changes nothing in
it: the checksum of every file and record, that offsets follow one another, and
that no group stands beyond the end. No process may be writing to it. The exit
code is 0 when all is whole.

With --salvage it copies the records that are whole into a new data directory,
with their offsets and the positions of groups as they are, and says what is not.
When no record can be saved it leaves nothing there.`,
		Example: `  millrace check millrace-data/support-desk
  millrace check millrace-data/support-desk --salvage salvaged`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := brokers.CheckDirectory(cmd.Context(), args[0], salvage)
			if errors.Is(err, broker.ErrInUse) {
				return hinted(err, "stop the process, or check a copy that millrace backup makes beside it")
			}
			if errors.Is(err, embedded.ErrNotApart) {
				return usage("name a directory elsewhere with --salvage", "%w", err)
			}
			if err != nil {
				return err
			}
			if err := c.printCheck(r, salvage); err != nil {
				return err
			}
			return checkFault(r, args[0], salvage)
		},
		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs),
	}
	cmd.Flags().StringVar(&salvage, "salvage", "", "copy what is whole into this directory, which must not exist or be empty")
	complete(cmd, "salvage", cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs))
	return cmd
}

func (c *console) printCheck(r *embedded.Report, salvage string) error {
	if c.json() {
		return c.printJSON(r)
	}
	fmt.Fprintf(c.out, "%d files with %d bytes, %d topics with %d records that are whole\n", r.Files, r.Bytes, r.Topics, r.Records)
	for _, f := range r.Faults {
		fmt.Fprintf(c.out, "damaged: %s\n", f)
	}
	for _, l := range r.Losses {
		fmt.Fprintf(c.out, "lost: %s\n", l)
	}
	if saved(r, salvage) {
		fmt.Fprintf(c.out, "copied %d records to %s\n", r.Saved, salvage)
	}
	return nil
}

// saved reports whether there is a salvage: without records none is left.
func saved(r *embedded.Report, salvage string) bool {
	return salvage != "" && (r.Saved > 0 || r.Whole())
}

// cause is what a damaged directory lacks most.
func cause(r *embedded.Report) string {
	if len(r.Losses) > 0 {
		return r.Losses[0].String()
	}
	return r.Faults[0].String()
}

// checkFault is what is wrong in one line.
func checkFault(r *embedded.Report, dir, salvage string) error {
	if r.Whole() {
		return nil
	}
	err := fmt.Errorf("data directory %s is damaged: %d files, %d parts of the log", dir, len(r.Faults), len(r.Losses))
	if saved(r, salvage) {
		return hinted(err, "what is whole is in "+salvage+": look at what is lost, then use it in place of the other")
	}
	if salvage != "" {
		return hinted(fmt.Errorf("%w; no record could be saved, and %s was not made: %s", err, salvage, cause(r)), "restore a backup")
	}
	return hinted(err, "restore a backup, or copy what is whole with --salvage")
}
