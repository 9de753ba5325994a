// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/gateway"
	"github.com/millrace-ml/millrace/internal/spelling"
	"github.com/millrace-ml/millrace/pipeline"
)

func newTopicsCommand(c *console) *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:   "topics [TOPIC]",
		Short: "List topics, or one topic's partitions",
		Long: `Topics lists the topics with their number of partitions and of records that are
kept. With a topic it lists that topic's partitions: the offset of the first
record that is kept, and one that is greater than the last one's.` + helpTarget,
		Example: `  millrace topics -p pipeline.yaml
  millrace topics tickets --output json`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.use(cmd.Context(), t, toRead, func(conn *connection) error {
				topics, err := conn.Topics(cmd.Context())
				if err != nil {
					return err
				}
				if len(args) == 1 {
					return c.printTopic(topics, args[0])
				}
				return c.printTopics(topics)
			})
		},
	}
	t.flags(cmd)
	cmd.ValidArgsFunction = t.completeTopics(false)
	return cmd
}

func (c *console) printTopics(topics []gateway.Topic) error {
	if c.json() {
		return c.printJSON(topics)
	}
	list := newTable("TOPIC", ">PARTITIONS", ">RECORDS", "RETENTION")
	for _, t := range topics {
		list.add(t.Name, fmt.Sprint(len(t.Partitions)), fmt.Sprint(t.Records), retention(t))
	}
	return list.print(c.out)
}

// retention is how long and how much a topic keeps.
func retention(t gateway.Topic) string {
	var parts []string
	if t.RetentionSeconds > 0 {
		parts = append(parts, pipeline.Duration(time.Duration(t.RetentionSeconds)*time.Second).String())
	}
	if t.RetentionBytes > 0 {
		parts = append(parts, pipeline.Size(t.RetentionBytes).String()+" a partition")
	}
	if len(parts) == 0 {
		return "forever"
	}
	return strings.Join(parts, ", ")
}

func (c *console) printTopic(topics []gateway.Topic, name string) error {
	i := slices.IndexFunc(topics, func(t gateway.Topic) bool { return t.Name == name })
	if i < 0 {
		return unknownTopic(name, topics)
	}
	if c.json() {
		return c.printJSON(topics[i])
	}
	list := newTable(">PARTITION", ">START", ">END", ">RECORDS")
	for n, p := range topics[i].Partitions {
		list.add(fmt.Sprint(n), fmt.Sprint(p.Start), fmt.Sprint(p.End), fmt.Sprint(p.Records))
	}
	return list.print(c.out)
}

func unknownTopic(name string, topics []gateway.Topic) error {
	var names []string
	for _, t := range topics {
		names = append(names, t.Name)
	}
	hint := "millrace topics lists them"
	if best, ok := spelling.Nearest(name, names); ok {
		hint = "did you mean " + best + "?"
	}
	return usage(hint, "there is no topic %q", name)
}

func newGroupsCommand(c *console) *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:   "groups [GROUP]",
		Short: "List consumer groups and their lag, or one group's positions",
		Long: `Groups lists the consumer groups: which topics each reads, with how many members,
and its lag, the number of records it has not settled yet. With a group it lists
the group's position in each partition.` + helpTarget,
		Example: `  millrace groups
  millrace groups support-desk.tagger`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.use(cmd.Context(), t, toRead, func(conn *connection) error {
				if len(args) == 1 {
					return c.showGroup(cmd.Context(), conn, args[0])
				}
				return c.listGroups(cmd.Context(), conn)
			})
		},
	}
	t.flags(cmd)
	cmd.ValidArgsFunction = t.completeGroups
	return cmd
}

func (c *console) listGroups(ctx context.Context, conn *connection) error {
	groups, err := conn.Groups(ctx)
	if err != nil {
		return err
	}
	if c.json() {
		return c.printJSON(groups)
	}
	list := newTable("GROUP", ">MEMBERS", ">LAG", "TOPICS")
	for _, g := range groups {
		list.add(g.Name, fmt.Sprint(g.Members), fmt.Sprint(g.Lag), strings.Join(g.Topics, ", "))
	}
	return list.print(c.out)
}

func (c *console) showGroup(ctx context.Context, conn *connection, name string) error {
	g, err := conn.Group(ctx, name)
	if err != nil {
		return err
	}
	if c.json() {
		return c.printJSON(g)
	}
	list := newTable("TOPIC", ">PARTITION", ">POSITION", ">END", ">LAG", "MEMBER")
	for _, p := range g.Partitions {
		list.add(p.Topic, fmt.Sprint(p.Partition), fmt.Sprint(p.Position), fmt.Sprint(p.End), fmt.Sprint(p.Lag), p.Member)
	}
	return list.print(c.out)
}
