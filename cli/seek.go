// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/gateway"
)

func newSeekCommand(c *console) *cobra.Command {
	var t target
	var s gateway.Seek
	var yes bool
	cmd := &cobra.Command{
		Use:   "seek GROUP",
		Short: "Move a service's position, to replay or to pass over records",
		Long: `Seek moves a consumer group to another position in the topics it reads, so that
its service takes records again, or passes them over. It first tells what it
would do; with --yes it does it. A group with members is not moved: stop its
service before.

A position is start, end, an offset (1234), a time (2026-01-31T12:00:00Z) or an
age (24h, 7d).

What a service answers again, it publishes again: results that are there already
are there twice then.` + helpTarget,
		Example: `  millrace seek support-desk.classifier --to 24h -p pipeline.yaml
  millrace seek support-desk.classifier --to start --yes`,
		Args: positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.DryRun = !yes
			purpose := toRead
			if yes {
				purpose = toWrite
			}
			return c.use(cmd.Context(), t, purpose, func(conn *connection) error {
				return c.seek(cmd.Context(), conn, args[0], s)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.To, "to", "", "move to this position")
	f.StringVar(&s.Topic, "topic", "", "move in this topic only (default: in all that the group reads)")
	f.BoolVar(&yes, "yes", false, "do it, not only tell")
	if err := cmd.MarkFlagRequired("to"); err != nil {
		panic(err) // cannot be: the flag was just added
	}
	t.flags(cmd)
	cmd.ValidArgsFunction = t.completeGroups
	return cmd
}

func (c *console) seek(ctx context.Context, conn *connection, group string, s gateway.Seek) error {
	moves, err := conn.Seek(ctx, group, s)
	if err != nil {
		return err
	}
	if c.json() {
		return c.printJSON(moves)
	}
	list := newTable("TOPIC", ">PARTITION", ">FROM", ">TO")
	for _, m := range moves {
		list.add(m.Topic, fmt.Sprint(m.Partition), fmt.Sprint(m.From), fmt.Sprint(m.To))
	}
	if err := list.print(c.out); err != nil {
		return err
	}
	if s.DryRun {
		fmt.Fprintln(c.err, "nothing was moved: give --yes to do it")
	}
	return nil
}
