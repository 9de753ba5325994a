// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/gateway"
	"github.com/millrace-ml/millrace/internal/records"
)

type publishOptions struct {
	target
	key       string
	format    choice
	text      bool
	enveloped bool
}

func newPublishCommand(c *console) *cobra.Command {
	var o publishOptions
	cmd := &cobra.Command{
		Use:   "publish TOPIC [FILE]",
		Short: "Publish records from a file or standard input",
		Long: `Publish sends records to a topic: JSON values, one a line (JSONL, NDJSON), or an
array of them; the rows of a CSV or TSV file, each as an object; or with --text
plain lines, each as {"text": …}. Without a file, or with -, it reads standard
input and sends each line as it comes.

A topic that holds the results of a service or gather is refused: its readers
would take the records for their work. --force publishes to it all the same,
while no process has the data directory open.

Records whose --key field is equal stay in order; without --key there is no
order between records.` + helpTarget,
		Example: `  millrace publish -p pipeline.yaml tickets tickets.jsonl --key customer
  echo 'my mini is dead' | millrace publish tickets --text`,
		Args: arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := "-"
			if len(args) == 2 {
				file = args[1]
			}
			return c.publish(cmd.Context(), o, args[0], file)
		},
	}
	o.flags(cmd)
	cmd.ValidArgsFunction = o.completeTopics(true)
	f := cmd.Flags()
	f.StringVar(&o.key, "key", "", "take each record's key from this field, which is text or a number")
	choose(cmd, &o.format, false, "format", "the input's format (default: by its name, or JSON)", "jsonl", "json", "csv", "tsv")
	f.BoolVar(&o.text, "text", false, `publish each line of text as {"text": line}`)
	f.BoolVar(&o.enveloped, "envelope", false, `take each JSON value as {"key", "headers", "value"}, as tail prints it`)
	f.BoolVar(&o.results, "force", false, "publish to a topic that holds results, too")
	complete(cmd, "key", cobra.NoFileCompletions)
	return cmd
}

func (c *console) publish(ctx context.Context, o publishOptions, topic, file string) error {
	if o.text && (o.enveloped || o.key != "" || o.format.value != "") {
		return usage("", "--text takes lines without fields: leave out --key, --format and --envelope")
	}
	format := records.Format(o.format.value)
	if o.text {
		format = records.Text
	}
	in, name, err := c.input(file)
	if err != nil {
		return err
	}
	defer in.Close()
	// The first line comes before the data directory is opened, so that a command
	// that prints from there into this one is not locked out by it.
	lines, err := asLines(in, records.Options{Name: file, Format: format, Else: records.JSONL})
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	var n int
	err = c.use(ctx, o.target, toCreate, func(conn *connection) error {
		progress := c.publishing()
		n, err = conn.Publish(ctx, topic, lines, gateway.PublishOptions{Key: o.key, Enveloped: o.enveloped, Progress: progress.show})
		progress.end()
		return c.publishFault(err, name, n)
	})
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("%s has no records", name)
	}
	if c.json() {
		return c.printJSON(gateway.Published{Published: n})
	}
	_, err = fmt.Fprintf(c.out, "published %s to %s\n", plural(n, "record"), topic)
	return err
}

// publishFault says where in the input a fault is and what is published all the same.
func (c *console) publishFault(err error, name string, n int) error {
	if err == nil {
		return nil
	}
	hint := ""
	if e, ok := errors.AsType[*gateway.Error](err); ok {
		hint = e.Hint
		if e.Line > 0 {
			err = fmt.Errorf("%s: %w", name, err)
		}
	}
	if n > 0 {
		err = fmt.Errorf("%w (the %s before it published)", err, were(n, "record"))
	}
	return hinted(err, hint)
}

func were(n int, what string) string {
	if n == 1 {
		return what + " is"
	}
	return fmt.Sprintf("%d %ss are", n, what)
}

// input opens a file, or standard input for "-".
func (c *console) input(file string) (io.ReadCloser, string, error) {
	if file == "-" {
		if isTerminal(c.in) {
			fmt.Fprintln(c.err, c.name+": type one record a line; Ctrl-D ends")
		}
		return io.NopCloser(c.in), "standard input", nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, "", usage("", "%w", err)
	}
	return f, file, nil
}

// progress shows on a terminal how many records are published.
type progress struct {
	c     *console
	shown time.Time
}

func (c *console) publishing() *progress { return &progress{c, time.Now()} }

func (p *progress) show(n int) {
	if !isTerminal(p.c.err) || time.Since(p.shown) < 200*time.Millisecond {
		return
	}
	p.shown = time.Now()
	fmt.Fprintf(p.c.err, "\r%d records published", n)
}

func (p *progress) end() {
	if isTerminal(p.c.err) {
		fmt.Fprint(p.c.err, "\r\x1b[K")
	}
}
