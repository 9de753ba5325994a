// SPDX-License-Identifier: Apache-2.0

package graph

import "strings"

// canvas is a grid of characters. Lines are kept by the directions in which
// they leave a cell and become characters at the end.
type canvas struct {
	width int
	cells [][]cell
}

type cell struct {
	char  rune // text, unless 0
	marks []mark
	head  bool // of an arrow
}

// mark is what one net draws in a cell.
type mark struct {
	net   int
	sides sides
}

type sides uint8

const (
	up sides = 1 << iota
	right
	down
	left
)

func newCanvas(width, height int) *canvas {
	c := &canvas{width: width}
	c.grow(height - 1)
	return c
}

func (c *canvas) grow(y int) {
	for len(c.cells) <= y {
		c.cells = append(c.cells, make([]cell, c.width))
	}
}

func (c *canvas) at(x, y int) *cell {
	c.grow(y)
	return &c.cells[y][x]
}

func (c *canvas) write(x, y int, s string) {
	for _, r := range s {
		c.at(x, y).char = r
		x++
	}
}

// boxStyle is the corners (from the upper left, clockwise), the lying and the
// upright edges of a box.
type boxStyle struct{ a, b, c, d, lying, upright rune }

var (
	singleBox      = boxStyle{'┌', '┐', '┘', '└', '─', '│'}
	doubleBox      = boxStyle{'╔', '╗', '╝', '╚', '═', '║'}
	asciiBox       = boxStyle{'+', '+', '+', '+', '-', '|'}
	asciiDoubleBox = boxStyle{'#', '#', '#', '#', '=', '#'}
)

// box draws a box of three rows.
func (c *canvas) box(x, y, width int, s boxStyle) {
	side := strings.Repeat(string(s.lying), width-2)
	c.write(x, y, string(s.a)+side+string(s.b))
	c.write(x, y+1, string(s.upright)+strings.Repeat(" ", width-2)+string(s.upright))
	c.write(x, y+2, string(s.d)+side+string(s.c))
}

// noNet marks lines within a layer.
const noNet = -1

// across draws a line through a layer.
func (c *canvas) across(y, from, to int) {
	for x := from; x <= to; x++ {
		c.mark(noNet, x, y, left|right)
	}
}

// line draws a lying line of a net from one column to another; its ends only
// reach the middle of their cells.
func (c *canvas) line(net, y, from, to int) {
	for x := from; x <= to; x++ {
		if x > from {
			c.mark(net, x, y, left)
		}
		if x < to {
			c.mark(net, x, y, right)
		}
	}
}

// down draws an upright line in the same way.
func (c *canvas) down(net, x, top, bottom int) {
	for y := top; y <= bottom; y++ {
		if y > top {
			c.mark(net, x, y, up)
		}
		if y < bottom {
			c.mark(net, x, y, down)
		}
	}
}

func (c *canvas) mark(net, x, y int, s sides) {
	k := c.at(x, y)
	for i := range k.marks {
		if k.marks[i].net == net {
			k.marks[i].sides |= s
			return
		}
	}
	k.marks = append(k.marks, mark{net, s})
}

func (c *canvas) arrow(x, y int) { c.at(x, y).head = true }

// sides is where the lines of a cell lead, and merge the side from which a line
// flows into another one that lies, if that is what the cell shows. Where only
// lying lines and upright ones meet, they do not touch: the upright one passes
// over.
func (k *cell) sides() (all, merge sides) {
	crossing, lying := len(k.marks) > 1, 0
	for _, m := range k.marks {
		all |= m.sides
		switch m.sides {
		case left | right:
			lying++
		case up | down:
		default:
			crossing = false
			merge = m.sides &^ right
		}
	}
	if crossing && all == up|right|down|left {
		return up | down, 0
	}
	if lying == 0 || lying != len(k.marks)-1 || merge != up && merge != down {
		merge = 0
	}
	return all, merge
}

// lineRunes are the characters of lines by the sides that they reach.
var lineRunes = [16]rune{
	0: ' ', up: '│', down: '│', up | down: '│', left: '─', right: '─', left | right: '─',
	up | right: '╰', right | down: '╭', down | left: '╮', up | left: '╯',
	up | right | down: '├', up | down | left: '┤', right | down | left: '┬', up | right | left: '┴',
	up | right | down | left: '┼',
}

var lineASCII = [16]rune{
	0: ' ', up: '|', down: '|', up | down: '|', left: '-', right: '-', left | right: '-',
	up | right: '+', right | down: '+', down | left: '+', up | left: '+',
	up | right | down: '+', up | down | left: '+', right | down | left: '+', up | right | left: '+',
	up | right | down | left: '+',
}

// text is the canvas as lines without blanks at their ends.
func (c *canvas) text(ascii bool) string {
	lines, head, fromAbove, fromBelow := &lineRunes, '▶', '▼', '▲'
	if ascii {
		lines, head, fromAbove, fromBelow = &lineASCII, '>', 'v', '^'
	}
	var b strings.Builder
	blank := 0 // empty lines that are only written if another one follows
	for _, row := range c.cells {
		var line strings.Builder
		for i := range row {
			k := &row[i]
			all, merge := k.sides()
			switch {
			case k.char != 0:
				line.WriteRune(k.char)
			case k.head:
				line.WriteRune(head)
			case merge == up:
				line.WriteRune(fromAbove)
			case merge == down:
				line.WriteRune(fromBelow)
			default:
				line.WriteRune(lines[all])
			}
		}
		text := strings.TrimRight(line.String(), " ")
		if text == "" {
			blank++
			continue
		}
		if b.Len() > 0 {
			b.WriteString(strings.Repeat("\n", blank))
		}
		blank = 0
		b.WriteString(text + "\n")
	}
	return b.String()
}
