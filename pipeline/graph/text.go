// SPDX-License-Identifier: Apache-2.0

package graph

import (
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"
)

// TextOptions say how a graph is drawn as text.
type TextOptions struct {
	ASCII bool // only ASCII characters
	// Width is how many columns there are; 0 means any number. A drawing that
	// would be wider becomes a list.
	Width int
}

// Text draws the graph with boxes and lines: topics in parentheses, services
// and gathers in boxes. An upright line that crosses a lying one passes over it;
// one that flows into it ends with an arrow's head. It writes once.
func (g *Graph) Text(w io.Writer, o TextOptions) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\n", g.Name, g.summary())
	if picture, ok := g.picture(o); ok {
		b.WriteString(picture)
	} else {
		b.WriteString(g.list(o))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// longestName is how much of a name is drawn; the whole is in the file.
const longestName = 28

func shorten(s string, ascii bool) string {
	if len(s) <= longestName {
		return s
	}
	if ascii {
		return s[:longestName-2] + ".."
	}
	return s[:longestName-1] + "…"
}

// Heights in rows. They are odd, so that a line meets the middle of a box.
const (
	boxRows  = 3
	lineRows = 1
)

func (g *Graph) picture(o TextOptions) (string, bool) {
	l, err := arrange(g)
	if err != nil || len(g.Nodes) == 0 {
		return "", false
	}
	rows := l.place(func(n int) float64 {
		if k := g.Nodes[n].Kind; k == Service || k == Gather {
			return boxRows
		}
		return lineRows
	}, lineRows, 1)
	t := &textDrawing{g: g, l: l, o: o}
	t.prepare()
	if o.Width > 0 && t.width > o.Width {
		return "", false
	}
	t.c = newCanvas(t.width, int(math.Ceil(rows))+1)
	t.draw()
	return t.c.text(o.ASCII), true
}

// textDrawing is a layout on a grid of characters.
type textDrawing struct {
	g        *Graph
	l        *layout
	o        TextOptions
	c        *canvas
	left     []int // first column of each layer
	span     []int // columns of each layer
	channels []*channel
	width    int
}

// row is the row of a vertex's middle.
func row(v *vertex) int { return int(math.Floor(v.at + 0.5)) }

func (t *textDrawing) prepare() {
	x := 0
	for i, layer := range t.l.layers {
		span := 0
		for _, v := range layer {
			if !v.isBend() {
				span = max(span, t.cells(v.node))
			}
		}
		t.left, t.span = append(t.left, x), append(t.span, span)
		x += span
		if i+1 < len(t.l.layers) {
			ch := newChannel(layer)
			t.channels = append(t.channels, ch)
			x += ch.columns + 3 // a line before the tracks, one after, an arrow's head
		}
	}
	t.width = x
}

// cells is how many columns a node needs.
func (t *textDrawing) cells(n int) int {
	node := t.g.Nodes[n]
	name := utf8.RuneCountInString(shorten(node.Name, t.o.ASCII))
	if node.Kind == Source || node.Kind == Topic {
		return name + 2
	}
	if foot := t.foot(node); foot != "" {
		return max(name+4, utf8.RuneCountInString(foot)+6)
	}
	return name + 4
}

// foot is what the lower edge of a box says: the model, if it has another name
// than the service.
func (t *textDrawing) foot(n Node) string {
	if n.Kind != Service || n.Detail == n.Name {
		return ""
	}
	detail := shorten(n.Detail, t.o.ASCII)
	if t.o.ASCII {
		detail = strings.ReplaceAll(detail, "×", "x")
	}
	return detail
}

func (t *textDrawing) draw() {
	for i, layer := range t.l.layers {
		for _, v := range layer {
			t.vertex(v, t.left[i], t.span[i])
		}
		if i < len(t.channels) {
			t.channel(t.channels[i], t.left[i]+t.span[i], t.left[i+1])
		}
	}
}

func (t *textDrawing) vertex(v *vertex, x, span int) {
	y := row(v)
	if v.isBend() {
		t.c.across(y, x, x+span-1)
		return
	}
	node := t.g.Nodes[v.node]
	name := shorten(node.Name, t.o.ASCII)
	if node.Kind == Source || node.Kind == Topic {
		label := "(" + name + ")"
		t.c.write(x, y, label)
		if len(v.after) > 0 {
			t.c.across(y, x+utf8.RuneCountInString(label), x+span-1)
		}
		return
	}
	style := singleBox
	if node.Kind == Gather {
		style = doubleBox
	}
	if t.o.ASCII {
		style = asciiBox
		if node.Kind == Gather {
			style = asciiDoubleBox
		}
	}
	t.c.box(x, y-1, span, style)
	t.c.write(x+2, y, name)
	if foot := t.foot(node); foot != "" {
		t.c.write(x+2, y+1, " "+foot+" ")
	}
}

// channel draws the lines between two layers; from is the first column of the
// room between them, to the first one beyond.
func (t *textDrawing) channel(ch *channel, from, to int) {
	names := map[*net]int{} // both halves of a detour are one line
	for i, n := range ch.nets {
		if names[n] = i; n.from != nil {
			names[n] = names[n.from]
		}
	}
	column := func(n *net) int { return from + 1 + n.column }
	for _, n := range ch.nets {
		name, x := names[n], column(n)
		for _, r := range n.in {
			if n.from != nil {
				t.c.line(name, r, column(n.from), x)
				continue
			}
			t.c.mark(name, from, r, left)
			t.c.line(name, r, from, x)
		}
		for _, r := range n.out {
			if n.into != nil {
				continue // its second half draws it
			}
			t.c.line(name, r, x, to-1)
			t.c.mark(name, to-1, r, right)
		}
		t.c.down(name, x, n.top(), n.bottom())
		for _, r := range n.heads {
			t.c.arrow(to-1, r)
		}
	}
}

// list is the graph in lines, for where the picture has no room.
func (g *Graph) list(o TextOptions) string {
	arrow := " ─▶ "
	if o.ASCII {
		arrow = " -> "
	}
	reads, writes := make([][]string, len(g.Nodes)), make([]string, len(g.Nodes))
	for _, e := range g.Edges {
		if k := g.Nodes[e.To].Kind; k == Service || k == Gather {
			reads[e.To] = append(reads[e.To], "("+g.Nodes[e.From].Name+")")
		} else {
			writes[e.From] = "(" + g.Nodes[e.To].Name + ")"
		}
	}
	var b strings.Builder
	for i, n := range g.Nodes {
		switch n.Kind {
		case Service, Gather:
			fmt.Fprintf(&b, "%s%s[%s]%s%s\n", strings.Join(reads[i], " "), arrow, n.Name, arrow, writes[i])
		}
	}
	return b.String()
}
