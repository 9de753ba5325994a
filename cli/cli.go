// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line, one file a command.
//
// The one idea: this is the only code that prints. What a command found goes to
// standard output, in a form for people or, with --output json, for programs;
// everything else (logs, progress, errors, hints) goes to standard error. The
// exit code is 0 when all went well, 1 when something failed, and 2 when the
// command or a file it was given is wrong and trying again cannot help.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace"
	"github.com/millrace-ml/millrace/gateway"
	"github.com/millrace-ml/millrace/internal/sanitize"
	"github.com/millrace-ml/millrace/pipeline"
	"github.com/millrace-ml/millrace/pipeline/report"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// debugVariable asks for the stack of a panic.
const debugVariable = "MILLRACE_DEBUG"

// Options of a program with Millrace's commands. The zero value is the millrace
// command itself.
type Options struct {
	// Name is what the program is called in its help, errors and hints; empty means
	// millrace.
	Name string

	// Models are those that the program brings. Its commands run, test and measure
	// pipelines that name them {go: NAME}.
	Models millrace.Models

	Args     []string  // after the program's name; nil means os.Args[1:]
	In       io.Reader // nil means os.Stdin
	Out, Err io.Writer // nil means os.Stdout and os.Stderr
}

// Main runs the command that the arguments name and returns the exit code, for
// [os.Exit]. SIGINT and SIGTERM end the command's context; a second one ends the
// process.
func Main(o Options) (code int) {
	if o.Args == nil {
		o.Args = os.Args[1:]
	}
	c := &console{name: cmp.Or(o.Name, "millrace"), in: os.Stdin, out: os.Stdout, err: os.Stderr, models: o.Models}
	if o.In != nil {
		c.in = o.In
	}
	if o.Out != nil {
		c.out = o.Out
	}
	if o.Err != nil {
		c.err = o.Err
	}
	defer func() {
		if p := recover(); p != nil {
			code = c.panicked(p, debug.Stack())
		}
	}()
	quietLibraries()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	root := newRoot(c)
	root.SetArgs(o.Args)
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	return c.report(root.ExecuteContext(ctx))
}

// report prints what a command failed with and returns the exit code.
func (c *console) report(err error) int {
	if err == nil {
		return exitOK
	}
	code, hint := exitFailed, ""
	if f, ok := errors.AsType[*failure](err); ok {
		code, hint = f.code, f.hint
	}
	if e, ok := errors.AsType[*gateway.Error](err); ok {
		if hint == "" {
			hint = e.Hint
		}
		if e.Status == http.StatusUnauthorized {
			hint = "set " + tokenVariable + " to a token of the process's file"
		}
		if e.Status == http.StatusNotFound || e.Status == http.StatusForbidden || e.Status == http.StatusUnauthorized {
			code = exitUsage
		}
	}
	if problems, ok := errors.AsType[pipeline.Problems](err); ok {
		code = exitUsage
		_ = report.Write(c.err, problems, c.colour(c.err)) // nowhere to report that
		err = summarize(problems)
	}
	// Whatever the error repeats of the command line or a file, passwords it does not.
	fmt.Fprintf(c.err, "%s: %s\n", c.name, sanitize.Passwords(oneLine(err)))
	if hint != "" {
		fmt.Fprintf(c.err, "  %s\n", sanitize.Passwords(hint))
	}
	return code
}

func (c *console) panicked(p any, stack []byte) int {
	fmt.Fprintf(c.err, "%s: internal error: %v\n", c.name, p)
	if os.Getenv(debugVariable) != "" {
		fmt.Fprintf(c.err, "%s", stack)
		return exitFailed
	}
	fmt.Fprintf(c.err, "  this is a fault of millrace; run it again with %s=1 to see where\n", debugVariable)
	return exitFailed
}

// oneLine is an error's text on one line.
func oneLine(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " ")
}

// failure is an error with an exit code and a hint of what to do.
type failure struct {
	err  error
	hint string
	code int
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// usage is an error in how the command was called.
func usage(hint, format string, args ...any) error {
	return &failure{fmt.Errorf(format, args...), hint, exitUsage}
}

// hinted adds a hint of what to do.
func hinted(err error, hint string) error { return &failure{err, hint, exitFailed} }

// arguments checks the number of arguments; max -1 is any.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		hint := "usage: " + cmd.UseLine()
		if len(args) < least {
			return usage(hint, "%s: an argument is missing", cmd.Name())
		}
		if most >= 0 && len(args) > most {
			return usage(hint, "%s: argument %q is too many", cmd.Name(), args[most])
		}
		return nil
	}
}

// positional makes the errors of an argument check errors of usage.
func positional(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usage("usage: "+cmd.UseLine(), "%v", err)
		}
		return nil
	}
}
