// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"

	"github.com/millrace-ml/millrace"
)

// console is what commands read from and print to, and how the global flags say
// to print.
type console struct {
	name     string // of the program
	in       io.Reader
	out, err io.Writer

	models millrace.Models // that the program brings, for {go: NAME}

	output    choice // table, json, or empty: the command's default
	logLevel  choice // empty: the command's default
	logFormat choice // empty: text on a terminal, otherwise JSON
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// colour reports whether to print in colour. See no-color.org.
func (c *console) colour(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// width is a terminal's number of columns, or 0.
func width(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil {
			return columns
		}
	}
	return 0
}

// json reports whether --output json was asked for.
func (c *console) json() bool { return c.output.value == "json" }

// printJSON prints a value for programs.
func (c *console) printJSON(v any) error {
	e := json.NewEncoder(c.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// logger logs to standard error, from the level on that --log-level names, or
// else from the given one.
func (c *console) logger(level slog.Level) *slog.Logger {
	if c.logLevel.value != "" {
		_ = level.UnmarshalText([]byte(c.logLevel.value)) // it is one of the choices
	}
	o := &slog.HandlerOptions{Level: level}
	if c.logFormat.value == "text" || c.logFormat.value == "" && isTerminal(c.err) {
		o.ReplaceAttr = shortTime
		return slog.New(slog.NewTextHandler(c.err, o))
	}
	return slog.New(slog.NewJSONHandler(c.err, o))
}

// shortTime leaves the date out, which a person at a terminal knows.
func shortTime(groups []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey && len(groups) == 0 {
		return slog.String(a.Key, a.Value.Time().Format("15:04:05.000"))
	}
	return a
}
