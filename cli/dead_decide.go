// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/deadletter"
	"github.com/millrace-ml/millrace/gateway"
)

// deciding is a command that decides on dead letters.
type deciding struct {
	target
	all, yes bool
	key      string

	nothing string // what a dry run has not done
	do      func(*gateway.Client, context.Context, deadletter.Selection) ([]deadletter.Done, error)
}

func newDeadRetryCommand(c *console) *cobra.Command {
	d := &deciding{nothing: "nothing was tried again", do: (*gateway.Client).RetryDead}
	return d.command(c, &cobra.Command{
		Use:   "retry LETTER…|SERVICE…",
		Short: "Have the models answer dead letters",
		Long: `Retry has the model of their service predict again on dead letters: on those that
are named, on all open ones of a service, or with --all on all there are. It first
tells which it would take; with --yes it does it.

An answer goes to the service's topic, as it would have at first: services that
read the topic take it from there, and gathers amend the answers that lack it. A
letter whose model fails again is done with, too; there is another one then, with
the new error. Letters that come meanwhile wait for the next time.

The models are those of the process that has the data directory, which has to be
started again after its pipeline file was fixed; otherwise they are those of the
pipeline file that -p names.` + helpTarget,
		Example: `  millrace dead retry sentiment -p pipeline.yaml
  millrace dead retry sentiment.dead/3/17 sentiment.dead/4/2 --yes
  millrace dead retry --all --yes`,
	})
}

func newDeadDropCommand(c *console) *cobra.Command {
	d := &deciding{nothing: "nothing was dropped", do: (*gateway.Client).DropDead}
	return d.command(c, &cobra.Command{
		Use:   "drop LETTER…|SERVICE…",
		Short: "Mark dead letters as not worth another try",
		Long: `Drop marks dead letters as dropped: those that are named, all open ones of a
service, or with --all all there are. Neither list nor retry takes them any more.
They stay where they are, and the answers that lack them stay as they are. It first
tells which it would take; with --yes it does it.` + helpTarget,
		Example: `  millrace dead drop sentiment.dead/3/17
  millrace dead drop sentiment --key c-017 --yes`,
	})
}

// command adds to a command what those that decide have in common.
func (d *deciding) command(c *console, cmd *cobra.Command) *cobra.Command {
	cmd.Args = arguments(0, -1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := d.selection(args)
		if err != nil {
			return err
		}
		purpose := toRead
		if d.yes {
			purpose = toWrite
		}
		return c.use(cmd.Context(), d.target, purpose, func(conn *connection) error {
			if !d.yes {
				return c.meant(cmd.Context(), conn, s, d.nothing)
			}
			return c.decide(cmd.Context(), conn, s, d)
		})
	}
	f := cmd.Flags()
	f.BoolVar(&d.all, "all", false, "take all open letters")
	f.StringVar(&d.key, "key", "", "only letters of records with this key")
	f.BoolVar(&d.yes, "yes", false, "do it, not only tell")
	d.flags(cmd)
	cmd.ValidArgsFunction = d.completeDead
	return cmd
}

// selection is what the arguments and flags mean.
func (d *deciding) selection(args []string) (deadletter.Selection, error) {
	s := deadletter.Selection{Key: d.key}
	for _, arg := range args {
		if strings.Contains(arg, "/") {
			s.Letters = append(s.Letters, arg)
		} else {
			s.Services = append(s.Services, arg)
		}
	}
	switch {
	case len(args) > 0 && d.all:
		return s, usage("", "--all takes all open letters: leave out the names or --all")
	case len(s.Letters) > 0 && len(s.Services) > 0:
		return s, usage("", "name letters or services, not both")
	case len(args) == 0 && !d.all:
		return s, usage("name letters as millrace dead list shows them, or services, or take --all", "which letters?")
	}
	return s, nil
}

// meant tells which letters a command would take.
func (c *console) meant(ctx context.Context, conn *connection, s deadletter.Selection, nothing string) error {
	list, err := conn.DeadLetters(ctx, s, 0, deadletter.Open)
	if err != nil {
		return err
	}
	if err := c.printLetters(list); err != nil {
		return err
	}
	if list.Total > 0 {
		nothing += ": give --yes to do it"
	} else {
		nothing += ": no open letter is meant"
	}
	fmt.Fprintln(c.err, nothing)
	return nil
}

func (c *console) decide(ctx context.Context, conn *connection, s deadletter.Selection, d *deciding) error {
	stop := c.after(5*time.Second, "this takes a while: many letters, or another command that decides on them")
	done, err := d.do(conn.Client, ctx, s)
	stop()
	if err != nil {
		return err
	}
	if c.json() {
		return c.printJSON(done)
	}
	if len(done) == 0 {
		fmt.Fprintln(c.err, d.nothing+": no open letter is meant")
		return nil
	}
	return printDone(c, done)
}

// after prints a line unless the returned function is called before that.
func (c *console) after(d time.Duration, line string) (stop func()) {
	printed := make(chan struct{})
	t := time.AfterFunc(d, func() {
		fmt.Fprintln(c.err, line)
		close(printed)
	})
	return func() {
		if !t.Stop() {
			<-printed
		}
	}
}

func printDone(c *console, done []deadletter.Done) error {
	list := newTable("SERVICE", ">LETTERS", ">ANSWERED", ">FAILED AGAIN", ">LEFT OPEN")
	again := 0
	for _, d := range done {
		list.add(d.Service, fmt.Sprint(d.Letters), number(d.Answered), number(d.Failed), number(d.Lost))
		again += d.Failed
	}
	if err := list.print(c.out); err != nil {
		return err
	}
	if again > 0 {
		fmt.Fprintln(c.err, c.name+" dead list shows why models failed again")
	}
	return nil
}
