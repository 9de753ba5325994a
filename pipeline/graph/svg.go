// SPDX-License-Identifier: Apache-2.0

package graph

import (
	"fmt"
	"html"
	"io"
	"math"
	"strconv"
	"strings"
)

// Sizes of an SVG drawing, in pixels.
const (
	margin      = 28.0
	headHeight  = 62.0 // the name and the summary
	legend      = 46.0 // height of the legend
	nodeGap     = 20.0
	topicHeight = 30.0
	boxHeight   = 50.0
	nameSize    = 13.5 // of letters
	smallSize   = 11.0
	titleSize   = 17.0
	headLength  = 7.0 // of an arrow
	tip         = 14.0
)

// SVG writes the graph as a picture that stands for itself: no scripts, no
// fonts or images from elsewhere, light and dark colours by the viewer's
// preference, and a title on every node for screen readers and as a tooltip. It
// writes once. The error may be [ErrTooLarge].
func (g *Graph) SVG(w io.Writer) error {
	l, err := arrange(g)
	if err != nil {
		return err
	}
	d := &svgDrawing{g: g, l: l}
	d.measure()
	d.header()
	d.open("g", `class="edges"`)
	d.edges()
	d.close("g")
	for _, v := range l.nodes {
		d.node(v)
	}
	d.legend()
	d.close("svg")
	_, err = io.WriteString(w, d.b.String())
	return err
}

type svgDrawing struct {
	g             *Graph
	l             *layout
	b             strings.Builder
	indent        int
	left, span    []float64 // of each layer
	width, height float64
}

// measure finds where everything comes to lie.
func (d *svgDrawing) measure() {
	tall := d.l.place(func(n int) float64 { return heightOf(d.g.Nodes[n]) }, 2, nodeGap)
	x := margin
	for i, layer := range d.l.layers {
		span := 0.0
		for _, v := range layer {
			if !v.isBend() {
				span = max(span, widthOf(d.g.Nodes[v.node]))
			}
		}
		d.left, d.span = append(d.left, x), append(d.span, span)
		x += span
		if i+1 < len(d.l.layers) {
			x += d.room(layer)
		}
	}
	d.width = max(x, 2*margin+textWidth(shorten(d.g.Name, false), titleSize), margin+d.legendWidth()) + margin
	d.height = headHeight + tall + margin + legend
}

// room is the distance to the next layer: more where edges go far up or down,
// so that they do not become steep.
func (d *svgDrawing) room(layer []*vertex) float64 {
	farthest := 0.0
	for _, u := range layer {
		for _, v := range u.after {
			farthest = max(farthest, math.Abs(u.at-v.at))
		}
	}
	return min(42+farthest*0.16, 96)
}

func heightOf(n Node) float64 {
	if n.Kind == Topic {
		return topicHeight
	}
	return boxHeight
}

func widthOf(n Node) float64 {
	name := textWidth(shorten(n.Name, false), nameSize)
	switch n.Kind {
	case Topic:
		return name + 34
	case Gather:
		return max(name, textWidth(shorten(n.Detail, false), smallSize)) + 28 + 2*tip
	}
	return max(name, textWidth(shorten(n.Detail, false), smallSize)) + 36
}

// textWidth is about how wide a text is in the wider ones of the usual sans
// serif fonts.
func textWidth(s string, size float64) float64 {
	w := 0.0
	for _, r := range s {
		switch {
		case strings.ContainsRune("ijl.|'", r):
			w += 0.34
		case strings.ContainsRune("frt-· ", r):
			w += 0.43
		case strings.ContainsRune("mwMW…", r):
			w += 0.98
		case r >= 'A' && r <= 'Z':
			w += 0.74
		default:
			w += 0.63
		}
	}
	return w * size
}

func (d *svgDrawing) y(v *vertex) float64 { return headHeight + v.at }

// ends are the left and right edge of a vertex; a bend is as wide as its layer.
func (d *svgDrawing) ends(v *vertex) (float64, float64) {
	return d.left[v.layer], d.left[v.layer] + d.span[v.layer]
}

// edges draws the edges, each from a node, or from the bend where it forks, to
// the next of these in one path, so that a broken line has no seams.
func (d *svgDrawing) edges() {
	after := map[*vertex][]segment{}
	for _, s := range d.l.segments {
		after[s.from] = append(after[s.from], s)
	}
	for _, s := range d.l.segments {
		if s.from.isBend() && len(after[s.from]) == 1 {
			continue // goes on from where it came
		}
		var path strings.Builder
		d.begin(&path, s.from)
		d.curve(&path, s)
		end := s
		for end.to.isBend() && len(after[end.to]) == 1 {
			end = after[end.to][0]
			d.curve(&path, end)
		}
		class := "edge"
		if s.of {
			class = "edge of"
		}
		d.line(`<path class="%s" d="%s"/>`, class, path.String())
		if !end.to.isBend() {
			d.head(end.to)
		}
	}
}

// begin starts a path where a vertex ends, or at the bend that it forks from.
func (d *svgDrawing) begin(path *strings.Builder, v *vertex) {
	x, right := d.ends(v)
	if !v.isBend() {
		x = right
	}
	fmt.Fprintf(path, "M%s %s", px(x), px(d.y(v)))
}

// curve goes on to the next vertex: straight within a layer, where boxes are, a
// curve in the room between the layers.
func (d *svgDrawing) curve(path *strings.Builder, s segment) {
	_, right := d.ends(s.from)
	end, _ := d.ends(s.to)
	if !s.to.isBend() {
		end -= headLength - 1
	}
	y1, y2 := d.y(s.from), d.y(s.to)
	if s.from.isBend() {
		path.WriteString("H" + px(right))
	}
	if y1 == y2 {
		path.WriteString("H" + px(end))
		return
	}
	middle := px((right + end) / 2)
	fmt.Fprintf(path, "C%s %s %s %s %s %s", middle, px(y1), middle, px(y2), px(end), px(y2))
}

func (d *svgDrawing) head(v *vertex) {
	x, _ := d.ends(v)
	y := d.y(v)
	d.line(`<path class="head" d="M%s %sL%s %sL%s %sz"/>`,
		px(x), px(y), px(x-headLength), px(y-4), px(x-headLength), px(y+4))
}

func (d *svgDrawing) node(v *vertex) {
	n := d.g.Nodes[v.node]
	x, right := d.ends(v)
	h := heightOf(n)
	y := d.y(v)
	d.open("g", `class="node %s"`, n.Kind)
	d.line(`<title>%s</title>`, html.EscapeString(n.About))
	d.line(`%s`, shape(n.Kind, x, y-h/2, right-x, h))
	middle := px((x + right) / 2)
	if n.Kind == Topic || n.Detail == n.Name {
		d.line(`<text class="name" x="%s" y="%s">%s</text>`, middle, px(y+nameSize*0.35), label(n.Name))
	} else {
		d.line(`<text class="name" x="%s" y="%s">%s</text>`, middle, px(y-3), label(n.Name))
		d.line(`<text class="detail" x="%s" y="%s">%s</text>`, middle, px(y+14), label(n.Detail))
	}
	d.close("g")
}

func label(s string) string { return html.EscapeString(shorten(s, false)) }

// shape is the outline of a node: topics are pills, services are boxes, gathers
// are hexagons.
func shape(k Kind, x, y, w, h float64) string {
	if k == Gather {
		t := min(tip, h/3)
		return fmt.Sprintf(`<path class="shape" d="M%s %sL%s %sH%sL%s %sL%s %sH%sz"/>`,
			px(x), px(y+h/2), px(x+t), px(y), px(x+w-t), px(x+w), px(y+h/2), px(x+w-t), px(y+h), px(x+t))
	}
	radius := h / 2
	if k == Service {
		radius = min(8, h/4)
	}
	return fmt.Sprintf(`<rect class="shape" x="%s" y="%s" width="%s" height="%s" rx="%s"/>`, px(x), px(y), px(w), px(h), px(radius))
}

func (d *svgDrawing) header() {
	d.line(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %s %s" width="%s" height="%s" role="img">`,
		px(d.width), px(d.height), px(d.width), px(d.height))
	d.indent++
	d.line(`<title>Pipeline %s</title>`, html.EscapeString(d.g.Name))
	d.line(`<desc>%s. %s</desc>`, d.g.summary(), html.EscapeString(d.g.inWords()))
	d.line(`<style>%s</style>`, styleSheet())
	d.line(`<rect class="sheet" x="0.5" y="0.5" width="%s" height="%s" rx="12"/>`, px(d.width-1), px(d.height-1))
	d.line(`<text class="title" x="%s" y="32">%s</text>`, px(margin), label(d.g.Name))
}

// inWords says which service reads and writes what.
func (g *Graph) inWords() string {
	var b strings.Builder
	for _, n := range g.Nodes {
		if n.Kind == Service || n.Kind == Gather {
			b.WriteString(n.About + ". ")
		}
	}
	return strings.TrimSpace(b.String())
}

// legendItem explains a shape or, without a kind, the broken line.
type legendItem struct {
	kind Kind
	text string
}

func (d *svgDrawing) legendItems() []legendItem {
	items := []legendItem{{Source, "published from outside"}, {Topic, "topic"}, {Service, "service"}}
	if d.g.total(Gather) > 0 {
		items = append(items, legendItem{Gather, "gather"}, legendItem{"", "whose records it answers"})
	}
	return items
}

const legendMark = 24.0

func legendItemWidth(i legendItem) float64 { return legendMark + 8 + textWidth(i.text, smallSize) + 20 }

func (d *svgDrawing) legendWidth() float64 {
	w := 0.0
	for _, i := range d.legendItems() {
		w += legendItemWidth(i)
	}
	return w
}

func (d *svgDrawing) legend() {
	x, y := margin, d.height-24
	d.open("g", `class="legend" aria-hidden="true"`)
	for _, i := range d.legendItems() {
		if i.kind == "" {
			d.line(`<path class="edge of" d="M%s %sh%s"/>`, px(x), px(y), px(legendMark))
		} else {
			d.line(`<g class="%s">%s</g>`, i.kind, shape(i.kind, x, y-6, legendMark, 12))
		}
		d.line(`<text class="small" x="%s" y="%s">%s</text>`, px(x+legendMark+8), px(y+4), i.text)
		x += legendItemWidth(i)
	}
	d.close("g")
}

func (d *svgDrawing) line(format string, args ...any) {
	d.b.WriteString(strings.Repeat("  ", d.indent))
	fmt.Fprintf(&d.b, format, args...)
	d.b.WriteByte('\n')
}

func (d *svgDrawing) open(element, attributes string, args ...any) {
	d.line("<"+element+" "+attributes+">", args...)
	d.indent++
}

func (d *svgDrawing) close(element string) {
	d.indent--
	d.line("</%s>", element)
}

// px writes a length with at most one decimal.
func px(v float64) string {
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
}
