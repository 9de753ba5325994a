// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/internal/demo"
)

// Messages a second: for watching, and for getting through the samples.
const (
	demoRate     = 2
	demoRateOnce = 8
	demoRateMost = 2000
)

type demoOptions struct {
	once bool
	rate float64
}

func newDemoCommand(c *console) *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch six models answer a stream of customer messages",
		Long: `Demo runs the support-desk example: customers write messages, six models read
them through an embedded message broker, each at its own pace, and a gather joins
what they say. All of it is real and runs in this process; the topics are in a
temporary directory, which is removed at the end.

On a terminal it shows the services and the latest answers, and keys let you
play: send a burst of messages, stop a service and start it again. Otherwise it
prints one line an answer, or with --output json the gathered record.

Ctrl-C ends it: what was written is still answered, then it sums up.`,
		Example: `  millrace demo
  millrace demo --once                # stop after the sample messages
  millrace demo --once --output json | jq .parts.sentiment.value.label`,
		Args: positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("rate") && o.once {
				o.rate = demoRateOnce
			}
			return c.demo(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.once, "once", false, "stop when each sample message was answered once")
	f.Float64Var(&o.rate, "rate", demoRate, fmt.Sprintf("messages a second, on average (with --once: %d)", demoRateOnce))
	complete(cmd, "rate", cobra.NoFileCompletions)
	return cmd
}

func (c *console) demo(ctx context.Context, o demoOptions) error {
	if !(o.rate > 0 && o.rate <= demoRateMost) {
		return usage(fmt.Sprintf("write a number from 0.1 to %d, such as --rate 5", demoRateMost), "--rate %v is not a pace", o.rate)
	}
	// A terminal that is closed leaves a directory to remove, too.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer stop()
	config := demo.Config{Rate: o.rate, Once: o.once}
	if !c.json() && c.hasScreen() {
		return c.demoOnScreen(ctx, config)
	}
	return c.demoInLines(ctx, config)
}

// hasScreen reports whether there is a terminal to draw on and to read keys from.
func (c *console) hasScreen() bool {
	return isTerminal(c.in) && isTerminal(c.out) && os.Getenv("TERM") != "dumb"
}

// demoInLines prints the answers one a line, and the summary.
func (c *console) demoInLines(ctx context.Context, config demo.Config) (err error) {
	// When nobody reads the lines any more, as behind head, there is still a
	// directory to remove.
	signal.Ignore(syscall.SIGPIPE)
	config.Logger = c.logger(slog.LevelWarn)
	config.Answered = func(a demo.Answer) error {
		if c.json() {
			_, err := fmt.Fprintf(c.out, "%s\n", a.Record)
			return err
		}
		_, err := fmt.Fprintln(c.out, answerLine(a))
		return err
	}
	d, err := demo.New(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	defer context.AfterFunc(ctx, func() { c.demoDrains(d.State()) })()
	err = d.Run(ctx)
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	summary := c.out
	if c.json() {
		summary = c.err
	}
	return errors.Join(err, printSummary(summary, d.State()))
}

func (c *console) demoDrains(s demo.State) {
	if s.Open > 0 {
		fmt.Fprintf(c.err, "draining: %s to be answered\n", plural(s.Open, "message"))
	}
}
