// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity says whether a problem keeps the pipeline from running.
type Severity string

// The severities, as they are in JSON.
const (
	Error   Severity = "error"
	Warning Severity = "warning" // it runs, but that is likely not what was meant
	Note    Severity = "note"    // worth knowing, such as that another program has to run it
)

// Problem is something wrong with a pipeline file. It never contains a value
// that came from a variable: it shows ${VAR} instead.
type Problem struct {
	File     string   `json:"file"`           // empty for a pipeline that was built in Go
	Line     int      `json:"line"`           // from 1; 0 when it lies in no line
	Column   int      `json:"column"`         // in characters, from 1
	Path     string   `json:"path,omitempty"` // in a pipeline that was built in Go: "services.tagger.from"
	Severity Severity `json:"severity"`
	Message  string   `json:"message"`
	Hint     string   `json:"hint,omitempty"`   // the likely fix
	Source   string   `json:"source,omitempty"` // the line as it is in the file, without the password of a URL
}

// String is "file:line:column: message; hint" on one line.
func (p Problem) String() string {
	var b strings.Builder
	if place := p.Place(); place != "" {
		b.WriteString(place + ": ")
	}
	if p.Severity != Error {
		b.WriteString(string(p.Severity) + ": ")
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		b.WriteString("; ")
		b.WriteString(p.Hint)
	}
	return b.String()
}

// Place is "file:line:column", or what is known of it.
func (p Problem) Place() string {
	switch {
	case p.Line > 0:
		return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	case p.File != "":
		return p.File
	}
	return p.Path
}

// Problems are all that is wrong with a pipeline file, in the file's order.
type Problems []Problem

// Error has one line for each problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Errors counts the problems that keep the pipeline from running.
func (ps Problems) Errors() int { return len(ps.Of(Error)) }

// Warnings counts the problems that are likely not meant.
func (ps Problems) Warnings() int { return len(ps.Of(Warning)) }

// Of returns the problems of these severities, in their order.
func (ps Problems) Of(severities ...Severity) Problems {
	return slices.DeleteFunc(slices.Clone(ps), func(p Problem) bool { return !slices.Contains(severities, p.Severity) })
}

func (ps Problems) sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Severity, b.Severity), // "error" before "note" before "warning"
			cmp.Compare(a.Message, b.Message),
		)
	})
}
