// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/deadletter"
	"github.com/millrace-ml/millrace/gateway"
	"github.com/millrace-ml/millrace/internal/sanitize"
	"github.com/millrace-ml/millrace/lineage"
	"github.com/millrace-ml/millrace/pipeline"
)

func newDeadCommand(c *console) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dead",
		Short: "List, read, retry and drop dead letters",
		Long: `A dead letter is a record that a service's model failed on, however often it was
tried, with the error. The letters of a service stand in the topic SERVICE.dead.

When what was wrong is fixed, retry has the model answer them; what is not worth
it can be dropped. Each letter is retried or dropped once, whatever happens to the
command and however often it is given.`,
		Example: `  millrace dead list -p pipeline.yaml
  millrace dead show sentiment.dead/3/17
  millrace dead retry sentiment --yes`,
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newDeadListCommand(c), newDeadShowCommand(c), newDeadRetryCommand(c), newDeadDropCommand(c))
	return cmd
}

func newDeadListCommand(c *console) *cobra.Command {
	var t target
	var key string
	var most int
	var all bool
	cmd := &cobra.Command{
		Use:   "list [SERVICE…]",
		Short: "List dead letters, newest first",
		Long: `List shows the open dead letters of all services, or of those that are named, the
newest first: which letter, when the model failed on which record, how often it was
tried, and the last error. A letter is open until it is retried or dropped.` + helpTarget,
		Example: `  millrace dead list -p pipeline.yaml
  millrace dead list sentiment tagger --all --output json`,
		Args: arguments(0, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if most < 1 || most > deadletter.MaxList {
				return usage("", "--max is a number from 1 to %d", deadletter.MaxList)
			}
			states := []deadletter.State{deadletter.Open}
			if all {
				states = nil
			}
			return c.use(cmd.Context(), t, toRead, func(conn *connection) error {
				s := deadletter.Selection{Key: key}
				if len(args) > 0 {
					s.Services = args
				}
				list, err := conn.DeadLetters(cmd.Context(), s, most, states...)
				if err != nil {
					return err
				}
				return c.printLetters(list)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&key, "key", "", "only letters of records with this key")
	f.IntVar(&most, "max", 100, "list at most this many")
	f.BoolVar(&all, "all", false, "list those that were retried or dropped, too")
	t.flags(cmd)
	cmd.ValidArgsFunction = t.completeDead
	return cmd
}

func (c *console) printLetters(list deadletter.Listing) error {
	if c.json() {
		if err := c.printJSON(list.Letters); err != nil {
			return err
		}
	} else {
		letters := newTable("LETTER", "FAILED", "KEY", "RECORD", ">ATTEMPTS", "STATE", "ERROR")
		for _, l := range list.Letters {
			letters.add(sanitize.Terminal(l.ID), l.Time.Local().Format(time.DateTime), shorten(sanitize.Terminal(l.Key), 24), sanitize.Terminal(l.Record),
				number(l.Attempts), string(l.State), shorten(sanitize.Terminal(l.Error), 100))
		}
		if err := letters.print(c.out); err != nil {
			return err
		}
	}
	if n := len(list.Letters); n < list.Total {
		fmt.Fprintf(c.err, "these are the newest %d of %d letters: --max lists more\n", n, list.Total)
	}
	return nil
}

func newDeadShowCommand(c *console) *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:   "show LETTER",
		Short: "Show a dead letter, with the record that failed",
		Long: `Show prints all of a dead letter: the error, the stack if the model panicked, and
the record as it came, with its key, headers and value. LETTER is what list calls
it, such as sentiment.dead/3/17.` + helpTarget,
		Example: `  millrace dead show sentiment.dead/3/17 -p pipeline.yaml
  millrace dead show sentiment.dead/3/17 --output json | jq .original.value`,
		Args: positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.use(cmd.Context(), t, toRead, func(conn *connection) error {
				letter, err := conn.DeadLetter(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return c.printLetter(letter)
			})
		},
	}
	t.flags(cmd)
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	return cmd
}

func (c *console) printLetter(l gateway.DeadLetter) error {
	if c.json() {
		return c.printJSON(l)
	}
	line := func(name, format string, args ...any) {
		fmt.Fprintf(c.out, "%-10s %s\n", name, sanitize.Terminal(fmt.Sprintf(format, args...)))
	}
	line("letter", "%s", l.ID)
	state := string(l.State)
	if l.Decided != nil {
		state += " " + l.Decided.Local().Format(time.DateTime)
	}
	line("state", "%s", state)
	line("service", "%s, model %s", l.Service, l.Model)
	line("failed", "%s, after %s", l.Time.Local().Format(time.DateTime), plural(l.Attempts, "attempt"))
	line("error", "%s", l.Error)
	line("record", "%s", l.Record)
	line("key", "%s", l.Original.Key)
	for _, h := range l.Original.Headers {
		line("header", "%s: %s", h.Key, h.Value)
	}
	if l.Cut {
		line("value", "left out, as it was too large for a letter, and no longer kept at %s", l.Record)
	} else if err := printValue(c.out, &l.Original); err != nil {
		return err
	}
	if l.Stack != "" {
		fmt.Fprintf(c.out, "stack\n%s", block(l.Stack))
	}
	return nil
}

// maxPretty bounds the JSON that is printed with an indent, in bytes: of a deep
// value most would be the indent.
const maxPretty = 16 << 10

// printValue prints a record's value, JSON with an indent if it is not large.
func printValue(w io.Writer, r *gateway.Record) error {
	name, text := "value", ""
	switch r.Encoding {
	case gateway.EncodingJSON:
		text = string(r.Value)
		var pretty bytes.Buffer
		if len(text) <= maxPretty && json.Indent(&pretty, r.Value, "", "  ") == nil {
			text = pretty.String()
		}
	default:
		if err := json.Unmarshal(r.Value, &text); err != nil {
			return err
		}
		if r.Encoding == gateway.EncodingBase64 {
			name += " (base64)"
		}
	}
	_, err := fmt.Fprintf(w, "%s\n%s", name, block(text))
	return err
}

// block is a text of several lines, indented and sanitized.
func block(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("  " + sanitize.Terminal(strings.TrimRight(line, "\r\n")) + "\n")
	}
	return b.String()
}

// completeDead completes the services that have a topic for dead letters.
func (t *target) completeDead(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if p, err := pipeline.Load(t.file); err == nil {
		return p.Order(), cobra.ShellCompDirectiveNoFileComp
	}
	var names []cobra.Completion
	for _, topic := range t.runningTopics(cmd.Context()) {
		if service, is := lineage.DeadOf(topic.Name); is {
			names = append(names, service)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
