// SPDX-License-Identifier: Apache-2.0

package screen

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// Terminal is a terminal that shows a full screen until it is closed. It is used
// by one goroutine.
type Terminal struct {
	in, out *os.File
	colour  bool
	state   *term.State
	vt      func() error // undoes what was set up for escape sequences
	keys    chan string
	painter painter
}

const (
	enter = "\x1b[?1049h\x1b[?25l\x1b[2J" // alternate screen, no cursor, clear
	leave = "\x1b[?25h\x1b[?1049l"
	// Between these, terminals that know them show nothing half drawn.
	beginFrame, endFrame = "\x1b[?2026h", "\x1b[?2026l"
)

// Open takes the terminal for a full screen. Keys are read from in and lines
// drawn on out, both of which must be terminals.
func Open(in, out *os.File, colour bool) (*Terminal, error) {
	state, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, fmt.Errorf("take the terminal's keys: %w", err)
	}
	vt, err := enableEscapes(out)
	if err != nil {
		_ = term.Restore(int(in.Fd()), state) // err says what is wrong
		return nil, fmt.Errorf("take the terminal's screen: %w", err)
	}
	t := &Terminal{in: in, out: out, colour: colour, state: state, vt: vt, keys: make(chan string, 16)}
	// A read of a terminal cannot be interrupted everywhere: the reader stays
	// until the next key or the end of the process.
	go readKeys(in, t.keys)
	_, err = io.WriteString(out, enter)
	return t, err
}

// Close gives the terminal back as it was.
func (t *Terminal) Close() error {
	_, err := io.WriteString(t.out, leave)
	if e := t.vt(); err == nil {
		err = e
	}
	if e := term.Restore(int(t.in.Fd()), t.state); err == nil {
		err = e
	}
	return err
}

// Size is the number of columns and lines.
func (t *Terminal) Size() (columns, lines int) {
	columns, lines, err := term.GetSize(int(t.out.Fd()))
	if err != nil || columns <= 0 || lines <= 0 {
		return 80, 24
	}
	return columns, lines
}

// Keys are the keys as they are pressed: a character, or "ctrl+c" and the like.
// What a terminal sends for other keys is left out.
func (t *Terminal) Keys() <-chan string { return t.keys }

// Draw shows the lines.
func (t *Terminal) Draw(lines []Line) error {
	columns, rows := t.Size()
	_, err := io.WriteString(t.out, t.painter.paint(lines, columns, rows, t.colour))
	return err
}

// painter knows what the screen shows and writes what is to change.
type painter struct {
	shown         []string
	columns, rows int
}

func (p *painter) paint(lines []Line, columns, rows int, colour bool) string {
	var b strings.Builder
	if columns != p.columns || rows != p.rows {
		p.shown, p.columns, p.rows = make([]string, rows), columns, rows
		b.WriteString("\x1b[2J")
	}
	for row := range rows {
		text := ""
		if row < len(lines) {
			l := lines[row]
			if l.Clip(columns); colour {
				text = l.ANSI()
			} else {
				text = l.Text()
			}
		}
		if text != p.shown[row] {
			fmt.Fprintf(&b, "\x1b[%d;1H%s\x1b[K", row+1, text)
			p.shown[row] = text
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return beginFrame + b.String() + endFrame
}

func readKeys(in io.Reader, keys chan<- string) {
	defer close(keys)
	r := bufio.NewReader(in)
	for {
		c, _, err := r.ReadRune()
		switch {
		case err != nil:
			return
		case c == '\x1b':
			skipSequence(r)
		case c < ' ':
			keys <- "ctrl+" + string(c+'a'-1)
		default:
			keys <- string(c)
		}
	}
}

// skipSequence reads over what a terminal sends for an arrow or function key.
// All of it comes at once; a lone Escape is followed by nothing.
func skipSequence(r *bufio.Reader) {
	if r.Buffered() == 0 {
		return
	}
	c, err := r.ReadByte()
	if err != nil || c != '[' && c != 'O' {
		return
	}
	for r.Buffered() > 0 {
		if c, err := r.ReadByte(); err != nil || c >= '@' && c <= '~' {
			return
		}
	}
}
