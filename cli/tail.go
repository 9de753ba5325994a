// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/gateway"
	"github.com/millrace-ml/millrace/internal/sanitize"
	"github.com/millrace-ml/millrace/lineage"
)

type tailOptions struct {
	target
	from, to  string
	last      int
	max       int
	partition int32
	follow    bool
}

func newTailCommand(c *console) *cobra.Command {
	var o tailOptions
	cmd := &cobra.Command{
		Use:   "tail TOPIC",
		Short: "Print the records of a topic, and follow it",
		Long: `Tail prints records of a topic: the last ten, or from a position on that --from
names: start, end, an offset, a time (2026-01-31T12:00:00Z) or an age (10m, 7d).
With --follow it waits for more until it is stopped or --max have come.

On a terminal a record is one line that fits; otherwise, and with --output json,
it is a line of JSON with topic, partition, offset, time, key, headers and value.` + helpTarget,
		Example: `  millrace tail desk --follow
  millrace tail -p pipeline.yaml sentiments --from 1h | jq .value.label`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.use(cmd.Context(), o.target, toRead, func(conn *connection) error {
				return c.tail(cmd.Context(), conn, args[0], o)
			})
		},
	}
	cmd.ValidArgsFunction = o.completeTopics(false)
	o.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.from, "from", "", "begin here: start, end, an offset, a time or an age")
	f.StringVar(&o.to, "to", "", "end before this position (default: where the topic ends now)")
	f.IntVarP(&o.last, "last", "n", 10, "without --from, print the last N records")
	f.IntVar(&o.max, "max", 0, "end after this many records")
	f.Int32Var(&o.partition, "partition", broker.AllPartitions, "only this partition (default: all)")
	f.BoolVarP(&o.follow, "follow", "f", false, "wait for more")
	complete(cmd, "from", cobra.FixedCompletions([]cobra.Completion{"start", "end"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (c *console) tail(ctx context.Context, conn *connection, topic string, o tailOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	show := c.recordPrinter(c.out)
	printed := 0
	if o.from == "" {
		ends, since, err := snapshot(ctx, conn, topic)
		if err != nil {
			return err
		}
		last, err := lastRecords(ctx, conn, topic, o, ends)
		if err != nil {
			return err
		}
		for i := range last {
			if err := show(&last[i]); err != nil {
				return err
			}
		}
		printed = len(last)
		if !o.follow || o.max > 0 && printed >= o.max {
			return nil
		}
		// What the snapshot has not is newer than it.
		o.from = since.Format(time.RFC3339Nano)
		return c.stream(ctx, conn, topic, o, printed, func(r *gateway.Record) error {
			if int(r.Partition) < len(ends) && r.Offset < ends[r.Partition].End {
				return errSeen
			}
			return show(r)
		})
	}
	return c.stream(ctx, conn, topic, o, printed, show)
}

// check finds flags that do not go together, and wrong positions.
func (o *tailOptions) check() error {
	for flag, position := range map[string]string{"--from": o.from, "--to": o.to} {
		if position == "" {
			continue
		}
		if _, err := broker.ParsePosition(position, time.Now()); err != nil {
			return usage("", "%s: %w", flag, err)
		}
	}
	switch {
	case o.to != "" && o.from == "":
		return usage("", "--to needs --from")
	case o.to != "" && o.follow:
		return usage("", "--follow never ends, so it does not go with --to")
	case o.max < 0 || o.last < 0:
		return usage("", "--max and --last are not negative")
	case o.partition < broker.AllPartitions:
		return usage("", "--partition is a number from 0")
	}
	if o.max > 0 {
		o.last = min(o.last, o.max)
	}
	return nil
}

// errSeen marks a record that was printed before.
var errSeen = fmt.Errorf("seen")

// stream prints what there is from a position on until it ends, the context does,
// or enough were printed.
func (c *console) stream(ctx context.Context, conn *connection, topic string, o tailOptions, printed int, show func(*gateway.Record) error) error {
	if ctx.Err() != nil {
		return nil
	}
	q := gateway.Query{From: o.from, To: o.to, Partition: o.partition, Follow: o.follow}
	for r, err := range conn.Read(ctx, topic, q) {
		if ctx.Err() != nil {
			return nil // stopped by the user, as intended
		}
		if err != nil {
			return err
		}
		if err := show(&r); errors.Is(err, errSeen) {
			continue
		} else if err != nil {
			return err
		}
		if printed++; o.max > 0 && printed >= o.max {
			return nil
		}
	}
	return nil
}

// snapshot is where the topic's partitions end, and a time before that.
func snapshot(ctx context.Context, conn *connection, topic string) ([]gateway.Partition, time.Time, error) {
	const skew = 5 * time.Second // between this clock and the broker's
	since := time.Now().Add(-skew)
	topics, err := conn.Topics(ctx)
	if err != nil {
		return nil, since, err
	}
	for _, t := range topics {
		if t.Name == topic {
			return t.Partitions, since, nil
		}
	}
	return nil, since, unknownTopic(topic, topics)
}

// lastRecords reads the last records before the ends, by time.
func lastRecords(ctx context.Context, conn *connection, topic string, o tailOptions, ends []gateway.Partition) ([]gateway.Record, error) {
	var all []gateway.Record
	for i, e := range ends {
		if o.partition != broker.AllPartitions && int32(i) != o.partition || e.End == e.Start {
			continue
		}
		// Offsets may have gaps, so what holds enough records is found by trying.
		for reach := int64(o.last); ; reach *= 8 {
			q := gateway.Query{From: fmt.Sprint(max(e.Start, e.End-reach)), To: fmt.Sprint(e.End), Partition: int32(i)}
			some, err := newest(ctx, conn, topic, q, o.last)
			if err != nil {
				return nil, err
			}
			if len(some) == o.last || e.End-reach <= e.Start {
				all = append(all, some...)
				break
			}
		}
	}
	slices.SortStableFunc(all, func(a, b gateway.Record) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Partition, b.Partition))
	})
	return all[max(0, len(all)-o.last):], nil
}

// newest reads a query and keeps its last n records.
func newest(ctx context.Context, conn *connection, topic string, q gateway.Query, n int) ([]gateway.Record, error) {
	var all []gateway.Record
	for r, err := range conn.Read(ctx, topic, q) {
		if err != nil {
			return nil, err
		}
		if len(all) >= 2*n {
			all = append(all[:0], all[len(all)-n:]...)
		}
		all = append(all, r)
	}
	return all[max(0, len(all)-n):], nil
}

// recordPrinter prints records: for people one line each, cut to the terminal,
// otherwise as JSON.
func (c *console) recordPrinter(w io.Writer) func(*gateway.Record) error {
	terminal := isTerminal(w)
	if c.json() || c.output.value == "" && !terminal {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		return func(r *gateway.Record) error { return enc.Encode(r) }
	}
	columns := width(w)
	return func(r *gateway.Record) error {
		_, err := fmt.Fprintln(w, recordLine(r, columns))
		return err
	}
}

// recordLine is a record on one line of a terminal.
func recordLine(r *gateway.Record, columns int) string {
	value := string(r.Value)
	for _, h := range r.Headers {
		switch h.Key {
		case lineage.Status:
			value = string(h.Value)
		case lineage.Error:
			value += ": " + string(h.Value)
		}
	}
	s := fmt.Sprintf("%s  %s/%d/%d  ", r.Time.Local().Format("15:04:05.000"), r.Topic, r.Partition, r.Offset)
	if len(r.Key) > 0 {
		s += string(r.Key) + "  "
	}
	return shorten(sanitize.Terminal(s+value), columns)
}
