// SPDX-License-Identifier: Apache-2.0

// ansi-svg draws a captured terminal screen, with its colours, as an SVG:
//
//	tmux capture-pane -e -p | go run ./scripts/ansi-svg -title "millrace demo" > docs/img/demo.svg
//
// It knows the escape sequences that styles are made of (ECMA-48, SGR: bold,
// faint and the eight colours) and places every run of text at its column, so
// that the picture does not depend on the widths of a font's glyphs.
package main

import (
	"bufio"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/rivo/uniseg"
)

// Sizes in pixels.
const (
	cell   = 8.4
	leap   = 19.0
	margin = 18.0
	bar    = 34.0
	size   = 14
)

// palette is one that can be read in a light and in a dark page: the picture
// brings its own background.
var palette = [8]string{"#484f58", "#ff7b72", "#56d364", "#e3b341", "#79c0ff", "#d2a8ff", "#76e3ea", "#e6edf3"}

const (
	background = "#0d1117"
	frame      = "#30363d"
	text       = "#e6edf3"
	faint      = "#8b949e"
)

type style struct {
	bold, faint bool
	colour      int // 0…7, or -1
}

type run struct {
	column int
	style  style
	text   string
}

func main() {
	title := flag.String("title", "", "what to write above the screen")
	columns := flag.Int("columns", 0, "width of the screen; 0 is that of the longest line")
	flag.Parse()
	if err := draw(os.Stdin, os.Stdout, *title, *columns); err != nil {
		fmt.Fprintln(os.Stderr, "ansi-svg:", err)
		os.Exit(1)
	}
}

func draw(in io.Reader, out io.Writer, title string, columns int) error {
	var lines [][]run
	scanner := bufio.NewScanner(in)
	now := style{colour: -1}
	for scanner.Scan() {
		var line []run
		line, now = parse(scanner.Text(), now)
		lines = append(lines, line)
	}
	if err := scanner.Err(); err != nil {
		return err
	}
	for len(lines) > 0 && len(lines[len(lines)-1]) == 0 {
		lines = lines[:len(lines)-1]
	}
	for _, line := range lines {
		if n := len(line); n > 0 {
			columns = max(columns, line[n-1].column+uniseg.StringWidth(line[n-1].text))
		}
	}
	w := bufio.NewWriter(out)
	width, height := 2*margin+float64(columns)*cell, bar+margin+float64(len(lines))*leap
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img" aria-label="%s">`+"\n",
		width, height, width, height, escape(title))
	fmt.Fprintf(w, `<rect x="0.5" y="0.5" width="%.0f" height="%.0f" rx="8" fill="%s" stroke="%s"/>`+"\n", width-1, height-1, background, frame)
	fmt.Fprintf(w, `<text x="%.0f" y="22" text-anchor="middle" font-family="ui-sans-serif, system-ui, sans-serif" font-size="13" fill="%s">%s</text>`+"\n", width/2, faint, escape(title))
	fmt.Fprintf(w, `<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="%d" fill="%s" xml:space="preserve">`+"\n", size, text)
	for row, line := range lines {
		for _, r := range line {
			write(w, r, bar+float64(row+1)*leap-4)
		}
	}
	fmt.Fprint(w, "</g>\n</svg>\n")
	return w.Flush()
}

// write draws a run, stretched to the columns that it takes.
func write(w io.Writer, r run, y float64) {
	columns := uniseg.StringWidth(r.text)
	x := margin + float64(r.column)*cell
	if isBars(r.text) {
		bars(w, r, y)
		return
	}
	attributes := ""
	switch {
	case r.style.colour >= 0:
		attributes += fmt.Sprintf(` fill="%s"`, palette[r.style.colour])
	case r.style.faint:
		attributes += fmt.Sprintf(` fill="%s"`, faint)
	}
	if r.style.bold {
		attributes += ` font-weight="600"`
	}
	fmt.Fprintf(w, `<text x="%.1f" y="%.1f" textLength="%.1f" lengthAdjust="spacingAndGlyphs"%s>%s</text>`+"\n",
		x, y, float64(columns)*cell, attributes, escape(r.text))
}

const blocks = "▁▂▃▄▅▆▇█"

func isBars(s string) bool { return strings.Trim(s, blocks) == "" }

// bars draws block characters as rectangles: fonts differ on them.
func bars(w io.Writer, r run, y float64) {
	colour := text
	if r.style.colour >= 0 {
		colour = palette[r.style.colour]
	}
	for i, c := range []rune(r.text) {
		height := float64(strings.IndexRune(blocks, c)/len("▁")+1) * (leap - 4) / 8
		fmt.Fprintf(w, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n",
			margin+float64(r.column+i)*cell, y+3-height, cell-1, height, colour)
	}
}

// parse splits a line into runs without spaces at their ends.
func parse(line string, now style) ([]run, style) {
	var runs []run
	column := 0
	for line != "" {
		if sequence, ok := strings.CutPrefix(line, "\x1b["); ok {
			end := strings.IndexFunc(sequence, func(c rune) bool { return c >= '@' && c <= '~' })
			if end < 0 {
				break
			}
			if sequence[end] == 'm' {
				now = now.with(sequence[:end])
			}
			line = sequence[end+1:]
			continue
		}
		end := strings.IndexByte(line, '\x1b')
		if end < 0 {
			end = len(line)
		} else if end == 0 { // another kind of sequence
			line = line[1:]
			continue
		}
		text := line[:end]
		line = line[end:]
		runs = appendWords(runs, column, now, text)
		column += uniseg.StringWidth(text)
	}
	return runs, now
}

// appendWords appends text, cut where there is more than one space.
func appendWords(runs []run, column int, s style, text string) []run {
	for _, piece := range strings.SplitAfter(text, "  ") {
		trimmed := strings.TrimLeft(piece, " ")
		at := column + len(piece) - len(trimmed)
		if trimmed = strings.TrimRight(trimmed, " "); trimmed != "" {
			runs = append(runs, run{at, s, trimmed})
		}
		column += uniseg.StringWidth(piece)
	}
	return runs
}

// with is the style after a Select Graphic Rendition sequence.
func (s style) with(parameters string) style {
	for _, p := range strings.Split(parameters, ";") {
		switch n, _ := strconv.Atoi(p); {
		case n == 0:
			s = style{colour: -1}
		case n == 1:
			s.bold = true
		case n == 2:
			s.faint = true
		case n == 22:
			s.bold, s.faint = false, false
		case n >= 30 && n <= 37:
			s.colour = n - 30
		case n == 39:
			s.colour = -1
		}
	}
	return s
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder cannot fail
	return b.String()
}
