// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Severity says whether a problem keeps the pipeline from running.
type Severity string

// The severities, as they are in JSON.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Problem is something wrong with a pipeline file. It never contains a value
// that came from a variable: it shows ${VAR} instead.
type Problem struct {
	File     string   `json:"file"`
	Line     int      `json:"line"`   // from 1; 0 when it lies in no line
	Column   int      `json:"column"` // in characters, from 1
	Severity Severity `json:"severity"`
	Message  string   `json:"message"`
	Hint     string   `json:"hint,omitempty"`   // the likely fix
	Source   string   `json:"source,omitempty"` // the line as it is in the file, without the password of a URL
}

// String is "file:line:column: message; hint" on one line.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.place())
	if p.Severity == Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		b.WriteString("; ")
		b.WriteString(p.Hint)
	}
	return b.String()
}

func (p Problem) place() string {
	switch {
	case p.Line > 0:
		return fmt.Sprintf("%s:%d:%d: ", p.File, p.Line, p.Column)
	case p.File != "":
		return p.File + ": "
	}
	return ""
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
func (ps Problems) Errors() int {
	n := 0
	for _, p := range ps {
		if p.Severity == Error {
			n++
		}
	}
	return n
}

// Warnings counts the other problems.
func (ps Problems) Warnings() int { return len(ps) - ps.Errors() }

func (ps Problems) sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Severity, b.Severity), // "error" before "warning"
			cmp.Compare(a.Message, b.Message),
		)
	})
}

// The escape sequences (ECMA-48, SGR) of a report in colour.
const (
	sgrBold   = "\x1b[1m"
	sgrRed    = "\x1b[1;31m"
	sgrYellow = "\x1b[1;33m"
	sgrBlue   = "\x1b[34m"
	sgrReset  = "\x1b[0m"
)

// Print writes each problem with its source line, a caret under the column, and
// the hint. It writes once, so that it is not torn apart by other output.
func (ps Problems) Print(w io.Writer, colour bool) error {
	var b bytes.Buffer
	paint := func(sgr, s string) string {
		if !colour {
			return s
		}
		return sgr + s + sgrReset
	}
	for _, p := range ps {
		severity := paint(sgrRed, "error:")
		if p.Severity == Warning {
			severity = paint(sgrYellow, "warning:")
		}
		fmt.Fprintf(&b, "%s%s %s\n", paint(sgrBold, p.place()), severity, paint(sgrBold, p.Message))
		margin := 0
		if p.Line > 0 && p.Source != "" {
			number := strconv.Itoa(p.Line)
			margin = len(number)
			text, caret := excerpt(p.Source, p.Column)
			fmt.Fprintf(&b, "  %s %s\n", paint(sgrBlue, number+" |"), text)
			fmt.Fprintf(&b, "  %s %s\n", paint(sgrBlue, strings.Repeat(" ", margin)+" |"), caret+paint(sgrRed, "^"))
		}
		if p.Hint != "" {
			fmt.Fprintf(&b, "  %s %s\n", paint(sgrBlue, strings.Repeat(" ", margin)+" ="), p.Hint)
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// passwordInURL finds it between its user and its host.
var (
	passwordInURL = regexp.MustCompile(`(://[^\s/@:]*:)(\S+)@`)
	variable      = regexp.MustCompile(`^\$\{\w+\}$`)
)

// withoutPassword hides a URL's password behind as many stars, so that columns
// stay where they are. A variable is no secret.
func withoutPassword(line string) string {
	return passwordInURL.ReplaceAllStringFunc(line, func(url string) string {
		parts := passwordInURL.FindStringSubmatch(url)
		if variable.MatchString(parts[2]) {
			return url
		}
		return parts[1] + strings.Repeat("*", utf8.RuneCountInString(parts[2])) + "@"
	})
}

// excerptWidth is how much of a long line is shown.
const excerptWidth = 100

// excerpt cuts what is shown of a line, unable to steer a terminal, and the
// blanks that put a caret under the column.
func excerpt(line string, column int) (text, indent string) {
	runes := []rune(line)
	at := min(max(column-1, 0), len(runes))
	from := 0
	if len(runes) > excerptWidth && at > excerptWidth*3/4 {
		from = at - excerptWidth/2
	}
	to := min(len(runes), from+excerptWidth)
	var shown, blanks strings.Builder
	put := func(s string, width, i int) {
		shown.WriteString(s)
		if i < at {
			blanks.WriteString(strings.Repeat(" ", width))
		}
	}
	if from > 0 {
		put("…", 1, -1)
	}
	for i := from; i < to; i++ {
		switch r := runes[i]; {
		case r == '\t':
			put(" ", 1, i)
		case !unicode.IsPrint(r):
			put("·", 1, i)
		case unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana):
			put(string(r), 2, i)
		default:
			put(string(r), 1, i)
		}
	}
	if to < len(runes) {
		put("…", 1, to)
	}
	return shown.String(), blanks.String()
}
