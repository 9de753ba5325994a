// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/deadletter"
	"github.com/millrace-ml/millrace/internal/sanitize"
	"github.com/millrace-ml/millrace/timeline"
)

func newExplainCommand(c *console) *cobra.Command {
	var t target
	var since string
	cmd := &cobra.Command{
		Use:   "explain RECORD",
		Short: "Show what became of a record, in every topic",
		Long: `Explain shows one timeline of a record: when it was published, what each service
made of it, in which topic and at which offset, in a batch of how many, after how
many attempts and by which version of a model, its dead letters and when they were
retried or dropped, and its joined answers.

RECORD is the key or the id of a source record (there may be several with it),
its place (tickets/3/1234), or the id of anything that was made of it. The topics
are looked through, which takes time where they are large: --since helps.` + helpTarget,
		Example: `  millrace explain T-1042 -p pipeline.yaml
  millrace explain tickets/3/1234 --output json`,
		Args: positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.use(cmd.Context(), t, toRead, func(conn *connection) error {
				return c.explain(cmd.Context(), conn, args[0], since)
			})
		},
	}
	cmd.Flags().StringVar(&since, "since", "", "look at records from this time (2026-01-31T12:00:00Z) or age (24h) on only")
	t.flags(cmd)
	return cmd
}

func (c *console) explain(ctx context.Context, conn *connection, record, since string) error {
	events, err := conn.Timeline(ctx, record, since)
	if err != nil {
		return err
	}
	if c.json() {
		return c.printJSON(events)
	}
	if len(events) == 0 {
		return hinted(fmt.Errorf("no source record has the key or id %q", record), "millrace tail shows the records of a topic")
	}
	list := newTable("AFTER", "WHAT", "TOPIC", ">PARTITION", ">OFFSET", "SERVICE", "MODEL", ">ATTEMPTS", ">BATCH", "NOTE")
	for i, e := range events {
		if i == 0 || events[i-1].Source != e.Source {
			list.add(e.Time.Local().Format("2006-01-02 15:04:05.000"), sanitize.Terminal(e.Source))
		}
		list.add(fmt.Sprintf("+%d ms", e.After), e.What, sanitize.Terminal(e.Topic), fmt.Sprint(e.Partition), fmt.Sprint(e.Offset),
			sanitize.Terminal(e.Service), sanitize.Terminal(e.Model), number(e.Attempts), number(e.Batch), sanitize.Terminal(note(e)))
	}
	return list.print(c.out)
}

// number is a count, or nothing for none.
func number(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// note is what is worth saying of an event besides its columns.
func note(e timeline.Event) string {
	switch {
	case e.Revision > 1:
		return fmt.Sprintf("%s, revision %d", e.Status, e.Revision)
	case e.Status != "":
		return e.Status
	case e.What == string(deadletter.Retried), e.What == string(deadletter.Dropped):
		return e.ID
	}
	return e.Error
}
