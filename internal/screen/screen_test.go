// SPDX-License-Identifier: Apache-2.0

package screen

import (
	"slices"
	"strings"
	"testing"
)

func line(text string) Line { return *new(Line).Add(Plain, text) }

func TestALineIsClippedAtColumnsNotBytes(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{
		{"tickets", 7, "tickets"},
		{"tickets", 6, "ticke…"},
		{"größer", 5, "größ…"},
		{"日本語", 5, "日本…"}, // each takes two columns
		{"日本語", 4, "日…"},
		{"🌙🌙", 3, "🌙…"},
		{"a", 0, ""},
	} {
		if got := Clip(c.text, c.width); got != c.want || Width(got) > c.width {
			t.Errorf("Clip(%q, %d) = %q, want %q", c.text, c.width, got, c.want)
		}
		l := line(c.text)
		if l.Clip(c.width); l.Width() > c.width {
			t.Errorf("line %q clipped to %d has %d columns", c.text, c.width, l.Width())
		}
	}
	var l Line
	l.Add(Bold, "abc").Add(Red, "def").Add(Faint, "ghi")
	if l.Clip(5); l.Text() != "abcd…" || l.Width() != 5 {
		t.Errorf("clipped: %q, %d columns", l.Text(), l.Width())
	}
}

func TestTextCannotSteerTheTerminal(t *testing.T) {
	l := line("a\x1b[2Jb\nc\x07\u202ed\xff")
	if strings.ContainsAny(l.ANSI(), "\x1b\n\x07\u202e") {
		t.Errorf("line %q", l.ANSI())
	}
}

func TestStylesBecomeEscapeSequences(t *testing.T) {
	var l Line
	l.Add(Plain, "a ").Add(Bold|Red, "b").Right(6, Faint, "c")
	if got, want := l.ANSI(), "a \x1b[1;31mb\x1b[m  \x1b[2mc\x1b[m"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := l.Text(); got != "a b  c" {
		t.Errorf("text %q", got)
	}
}

// emulator is a terminal as far as the painter uses one.
type emulator struct {
	t     *testing.T
	lines []string
	wrote int
}

func (e *emulator) write(s string) {
	e.wrote = len(s)
	s = strings.TrimPrefix(s, beginFrame)
	s = strings.TrimSuffix(s, endFrame)
	if rest, ok := strings.CutPrefix(s, "\x1b[2J"); ok {
		clear(e.lines)
		s = rest
	}
	for _, part := range strings.Split(s, "\x1b[K") {
		if part == "" {
			continue
		}
		row, text, ok := strings.Cut(strings.TrimPrefix(part, "\x1b["), ";1H")
		if !ok || len(row) != 1 || row[0] < '1' || int(row[0]-'0') > len(e.lines) {
			e.t.Fatalf("the painter writes %q", part)
		}
		e.lines[row[0]-'1'] = text
	}
}

func TestTheScreenShowsTheLastFrameAndOnlyChangesAreWritten(t *testing.T) {
	e := &emulator{t: t, lines: make([]string, 3)}
	var p painter
	shows := func(what string, want ...string) {
		t.Helper()
		if !slices.Equal(e.lines, want) {
			t.Errorf("%s: %q, want %q", what, e.lines, want)
		}
	}
	e.write(p.paint([]Line{line("one"), line("two"), line("three")}, 4, 3, false))
	shows("first", "one", "two", "thr…")
	e.write(p.paint([]Line{line("one"), line("2"), line("three")}, 4, 3, false))
	shows("changed", "one", "2", "thr…")
	if e.wrote > len(beginFrame+endFrame)+16 {
		t.Errorf("%d bytes for a changed line", e.wrote)
	}
	if s := p.paint([]Line{line("one"), line("2"), line("three")}, 4, 3, false); s != "" {
		t.Errorf("nothing changed, but it writes %q", s)
	}
	e.write(p.paint([]Line{line("one")}, 4, 3, false))
	shows("shorter", "one", "", "")
	e.lines = make([]string, 2)
	e.write(p.paint([]Line{line("one"), line("two"), line("three")}, 8, 2, false))
	shows("resized", "one", "two")
}

func TestKeysAreReadAndSequencesLeftOut(t *testing.T) {
	keys := make(chan string, 16)
	readKeys(strings.NewReader("q \x03\x1b[A1\x1bOPé\x1b[15~p\x1b"), keys)
	var got []string
	for k := range keys {
		got = append(got, k)
	}
	if want := []string{"q", " ", "ctrl+c", "1", "é", "p"}; !slices.Equal(got, want) {
		t.Errorf("keys %q, want %q", got, want)
	}
}
