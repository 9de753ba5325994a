// SPDX-License-Identifier: Apache-2.0

// Package screen draws lines of styled text on a terminal that it has for
// itself, and reads keys from it.
//
// The one idea: a screen is a list of lines that somebody renders anew for each
// frame, as a pure function of what is to be seen and of the size. The terminal
// writes those that changed. It needs nothing of a terminal but the escape
// sequences that every one has (ECMA-48), asks it nothing, and gives it back as
// it was.
package screen

import (
	"strings"

	"github.com/rivo/uniseg"

	"github.com/millrace-ml/millrace/internal/sanitize"
)

// Style is how text looks: one of the terminal's own colours, which suit its
// background, and Bold or Faint, combined by |. The zero value is ordinary text.
type Style uint8

// The styles.
const (
	Plain Style = 0

	Red     Style = 1
	Green   Style = 2
	Yellow  Style = 3
	Blue    Style = 4
	Magenta Style = 5
	Cyan    Style = 6

	Bold  Style = 1 << 3
	Faint Style = 1 << 4

	colours Style = 7
)

// sgr is the style's Select Graphic Rendition sequence (ECMA-48, 8.3.117).
func (s Style) sgr() string {
	b := []byte("\x1b[")
	if s&Bold != 0 {
		b = append(b, "1;"...)
	}
	if s&Faint != 0 {
		b = append(b, "2;"...)
	}
	if colour := s & colours; colour != Plain {
		b = append(b, '3', '0'+byte(colour), ';')
	}
	b[len(b)-1] = 'm'
	return string(b)
}

// Line is a line of styled text. The zero value is an empty line.
type Line struct {
	spans []span
	width int
}

type span struct {
	style Style
	text  string
}

// Add appends text, which may hold anything: it is sanitized.
func (l *Line) Add(s Style, text string) *Line {
	text = sanitize.Terminal(text)
	if text == "" {
		return l
	}
	l.spans = append(l.spans, span{s, text})
	l.width += Width(text)
	return l
}

// Right appends text that ends at a column, or after a space if there is no room.
func (l *Line) Right(column int, s Style, text string) *Line {
	l.To(max(column-Width(sanitize.Terminal(text)), l.width+1))
	return l.Add(s, text)
}

// To appends spaces up to a column.
func (l *Line) To(column int) *Line {
	if n := column - l.width; n > 0 {
		l.Add(Plain, strings.Repeat(" ", n))
	}
	return l
}

// Width is the number of columns that the line takes.
func (l *Line) Width() int { return l.width }

// Clip shortens the line to a width; what is cut is marked with an ellipsis.
func (l *Line) Clip(width int) *Line {
	if l.width <= width {
		return l
	}
	old := l.spans
	l.spans, l.width = nil, 0
	for _, s := range old {
		if l.width+Width(s.text) < width {
			l.Add(s.style, s.text)
			continue
		}
		// The rest of the line is more than the ellipsis.
		return l.Add(s.style, Clip(s.text+"  ", width-l.width))
	}
	return l
}

// Text is the line without style, and without spaces at its end.
func (l Line) Text() string {
	var b strings.Builder
	for _, s := range l.spans {
		b.WriteString(s.text)
	}
	return strings.TrimRight(b.String(), " ")
}

// ANSI is the line with escape sequences for its styles.
func (l Line) ANSI() string {
	var b strings.Builder
	for _, s := range l.spans {
		if s.style == Plain {
			b.WriteString(s.text)
			continue
		}
		b.WriteString(s.style.sgr())
		b.WriteString(s.text)
		b.WriteString("\x1b[m")
	}
	return b.String()
}

// Width is the number of columns that a text takes.
func Width(text string) int { return uniseg.StringWidth(text) }

// Clip shortens a text to a width; what is cut is marked with an ellipsis.
func Clip(text string, width int) string {
	if Width(text) <= width {
		return text
	}
	if width <= 0 {
		return ""
	}
	at := 0
	for rest, used, state := text, 0, -1; rest != ""; {
		var cluster string
		var w int
		cluster, rest, w, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if used+w > width-1 {
			break
		}
		used += w
		at += len(cluster)
	}
	return strings.TrimRight(text[:at], " ") + "…"
}
