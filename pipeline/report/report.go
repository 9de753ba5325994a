// SPDX-License-Identifier: Apache-2.0

// Package report shows the problems of pipeline files to people.
package report

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	"github.com/millrace-ml/millrace/pipeline"
)

// The escape sequences (ECMA-48, SGR) of a report in colour.
const (
	sgrBold   = "\x1b[1m"
	sgrRed    = "\x1b[1;31m"
	sgrYellow = "\x1b[1;33m"
	sgrBlue   = "\x1b[34m"
	sgrReset  = "\x1b[0m"
)

var colours = map[pipeline.Severity]string{pipeline.Error: sgrRed, pipeline.Warning: sgrYellow, pipeline.Note: sgrBlue}

// Write writes each problem with its source line, a caret under the column, and
// the hint. It writes once, so that it is not torn apart by other output.
func Write(w io.Writer, problems pipeline.Problems, colour bool) error {
	var b bytes.Buffer
	paint := func(sgr, s string) string {
		if !colour {
			return s
		}
		return sgr + s + sgrReset
	}
	for _, p := range problems {
		place := p.Place()
		if place != "" {
			place += ": "
		}
		severity := paint(colours[p.Severity], string(p.Severity)+":")
		fmt.Fprintf(&b, "%s%s %s\n", paint(sgrBold, place), severity, paint(sgrBold, p.Message))
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

// excerptWidth is how much of a long line is shown.
const excerptWidth = 100

// excerpt cuts what is shown of a line, sanitized for a terminal, and the
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
