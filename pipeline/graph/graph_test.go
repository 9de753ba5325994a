// SPDX-License-Identifier: Apache-2.0

package graph

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/millrace-ml/millrace/pipeline"
)

var update = flag.Bool("update", false, "write the golden files anew")

func load(t *testing.T, path string) *Graph {
	t.Helper()
	p, err := pipeline.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return Of(p)
}

func supportDesk(t *testing.T) *Graph { return load(t, "../../examples/support-desk/pipeline.yaml") }

func TestDrawingsOfTheSupportDesk(t *testing.T) {
	g := supportDesk(t)
	for name, draw := range map[string]func(io.Writer) error{
		"support-desk.txt":       func(w io.Writer) error { return g.Text(w, TextOptions{}) },
		"support-desk.ascii.txt": func(w io.Writer) error { return g.Text(w, TextOptions{ASCII: true}) },
		"support-desk.list.txt":  func(w io.Writer) error { return g.Text(w, TextOptions{Width: 79}) },
		"support-desk.mmd":       g.Mermaid,
		"support-desk.svg":       g.SVG,
	} {
		var got bytes.Buffer
		if err := draw(&got); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s has changed (look at it, then go test -update); it is now:\n%s", file, &got)
		}
	}
}

func TestTextFitsTheWidthOrIsAList(t *testing.T) {
	g := supportDesk(t)
	for _, width := range []int{80, 95, 97, 120} {
		var b bytes.Buffer
		if err := g.Text(&b, TextOptions{Width: width}); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width {
				t.Errorf("width %d: a line has %d columns: %s", width, n, line)
			}
		}
	}
}

func TestASCIITextIsASCII(t *testing.T) {
	for seed := range uint64(20) {
		var b bytes.Buffer
		if err := random(t, seed).Text(&b, TextOptions{ASCII: true}); err != nil {
			t.Fatal(err)
		}
		// What follows the title's line is drawn by us; names are ASCII by rule.
		if i := strings.IndexFunc(b.String(), func(r rune) bool { return r > 126 }); i >= 0 {
			t.Errorf("seed %d: %q is not ASCII", seed, b.String()[i:i+3])
		}
	}
}

// Following the lines of the drawing from each topic must lead to its readers
// and to nobody else.
func TestLinesOfTheTextLeadWhereTheEdgesDo(t *testing.T) {
	exact := 0
	for seed := range uint64(150) {
		g := random(t, seed)
		var b bytes.Buffer
		if err := g.Text(&b, TextOptions{}); err != nil {
			t.Fatal(err)
		}
		// A line that branches off while it crosses another it flows into is the
		// one sign that can be read in two ways.
		ambiguous := strings.Contains(b.String(), "┼")
		if !ambiguous {
			exact++
		}
		grid := newGrid(b.String())
		for i, n := range g.Nodes {
			if n.Kind != Topic && n.Kind != Source {
				continue
			}
			var want []string
			for _, e := range g.Edges {
				if e.From == i {
					want = append(want, g.Nodes[e.To].Name)
				}
			}
			got := grid.follow(t, n.Name)
			for _, w := range want {
				if !slices.Contains(got, w) {
					t.Errorf("seed %d: no line leads from (%s) to %s:\n%s", seed, n.Name, w, &b)
				}
			}
			for _, w := range got {
				if !ambiguous && !slices.Contains(want, w) {
					t.Errorf("seed %d: a line leads from (%s) to %s:\n%s", seed, n.Name, w, &b)
				}
			}
		}
		if t.Failed() {
			return
		}
	}
	if exact < 50 {
		t.Errorf("only %d drawings could be checked both ways", exact)
	}
}

// grid is a drawing as characters.
type grid [][]rune

func newGrid(s string) grid {
	var g grid
	for line := range strings.Lines(s) {
		g = append(g, []rune(strings.TrimSuffix(line, "\n")))
	}
	return g[2:] // without the title
}

func (g grid) at(x, y int) rune {
	if y < 0 || y >= len(g) || x < 0 || x >= len(g[y]) {
		return ' '
	}
	return g[y][x]
}

// follow returns the names of the boxes that the topic's lines reach.
func (g grid) follow(t *testing.T, topic string) []string {
	t.Helper()
	type step struct {
		x, y int
		way  sides
	}
	var todo []step
	for y, line := range g {
		if i := strings.Index(string(line), "("+topic+")"); i >= 0 {
			todo = append(todo, step{utf8.RuneCountInString(string(line)[:i]) + len(topic) + 2, y, right})
		}
	}
	if len(todo) != 1 {
		t.Fatalf("topic %s is drawn %d times", topic, len(todo))
	}
	opposite := map[sides]sides{up: down, down: up, left: right, right: left}
	ahead := map[sides][2]int{up: {0, -1}, down: {0, 1}, right: {1, 0}}
	seen := map[step]bool{}
	reached := map[string]bool{}
	for len(todo) > 0 {
		s := todo[0]
		todo = todo[1:]
		if seen[s] {
			continue
		}
		seen[s] = true
		r := g.at(s.x, s.y)
		ways := sides(0)
		switch i := slices.Index(lineRunes[:], r); {
		case r == '▶':
			reached[g.boxAt(s.x+1, s.y)] = true
		case r == '▲', r == '▼':
			ways = right
		case r == ' ' || i < 0:
			continue // the end of a topic that nobody reads
		case sides(i)&opposite[s.way] == 0:
			ways = s.way // passes under a line
		default:
			ways = sidesOf(r) &^ opposite[s.way]
		}
		for way, d := range ahead {
			if ways&way != 0 {
				todo = append(todo, step{s.x + d[0], s.y + d[1], way})
			}
		}
	}
	var names []string
	for name := range reached {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// sidesOf inverts lineRunes, of which straight lines have several.
func sidesOf(r rune) sides {
	switch r {
	case '│':
		return up | down
	case '─':
		return left | right
	}
	return sides(slices.Index(lineRunes[:], r))
}

// boxAt reads the name in the box whose left edge is at x.
func (g grid) boxAt(x, y int) string {
	if r := g.at(x, y); r != '│' && r != '║' {
		return fmt.Sprintf("(no box at %d,%d)", x, y)
	}
	name := ""
	for x += 2; g.at(x, y) != ' '; x++ {
		name += string(g.at(x, y))
	}
	return name
}

// random makes a valid pipeline of services that read one to three topics.
func random(t *testing.T, seed uint64) *Graph {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 7))
	var b strings.Builder
	fmt.Fprintf(&b, "name: random\ntopics: {in0: {}, in1: {}}\nservices:\n")
	topics := []string{"in0", "in1"}
	for i := range 2 + r.IntN(8) {
		var from []string
		for range 1 + r.IntN(3) {
			if x := topics[r.IntN(len(topics))]; !slices.Contains(from, x) {
				from = append(from, x)
			}
		}
		fmt.Fprintf(&b, "  s%d: {from: [%s], to: t%d, model: {builtin: %s}}\n", i, strings.Join(from, ", "), i,
			[]string{fmt.Sprint("s", i), "identity"}[r.IntN(2)])
		topics = append(topics, fmt.Sprint("t", i))
	}
	p, err := pipeline.Parse("random.yaml", []byte(b.String()), nil)
	if err != nil {
		t.Fatalf("%v in\n%s", err, b.String())
	}
	return Of(p)
}

func TestNothingOverlapsInTheLayout(t *testing.T) {
	for seed := range uint64(150) {
		g := random(t, seed)
		l, err := arrange(g)
		if err != nil {
			t.Fatal(err)
		}
		const gap = 10
		l.place(func(n int) float64 { return heightOf(g.Nodes[n]) }, 2, gap)
		for i, layer := range l.layers {
			for k := 0; k+1 < len(layer); k++ {
				a, b := layer[k], layer[k+1]
				if room := (b.at - b.size/2) - (a.at + a.size/2); room < gap-1e-6 {
					t.Errorf("seed %d, layer %d: only %v between neighbours %d and %d", seed, i, room, k, k+1)
				}
			}
		}
		for _, s := range l.segments {
			if s.to.layer != s.from.layer+1 {
				t.Errorf("seed %d: an edge passes layer %d without a bend", seed, s.from.layer+1)
			}
		}
	}
}

func TestALineSharedWithAServiceIsNotBroken(t *testing.T) {
	p, err := pipeline.Parse("shared.yaml", []byte(`
name: shared
topics: {in: {}, in2: {}}
services:
  a: {from: in, to: as, model: {builtin: identity}}
  b: {from: as, to: bs, model: {builtin: identity}}
  c: {from: [in, other], to: cs, model: {builtin: identity}}
  d: {from: in2, to: other, model: {builtin: identity}}
gather:
  g: {of: in, from: [bs, cs], to: out}
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	g := Of(p)
	l, err := arrange(g)
	if err != nil {
		t.Fatal(err)
	}
	shared, broken := 0, 0
	for _, s := range l.segments {
		if s.of {
			broken++
		} else if s.to.isBend() && len(s.to.after) > 1 {
			shared++
		}
	}
	if shared == 0 || broken == 0 {
		t.Errorf("%d shared segments are whole and %d are broken, want some of both", shared, broken)
	}
}

func TestSVGIsWellFormedAndNamesEveryNode(t *testing.T) {
	for seed := range uint64(20) {
		g := random(t, seed)
		var b bytes.Buffer
		if err := g.SVG(&b); err != nil {
			t.Fatal(err)
		}
		titles := map[string]bool{}
		d := xml.NewDecoder(&b)
		inTitle := false
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			switch token := token.(type) {
			case xml.StartElement:
				inTitle = token.Name.Local == "title"
				if token.Name.Local == "script" {
					t.Error("there is a script")
				}
			case xml.CharData:
				if inTitle {
					titles[string(token)] = true
				}
			case xml.EndElement:
				inTitle = false
			}
		}
		for _, n := range g.Nodes {
			if !titles[n.About] {
				t.Errorf("seed %d: %s has no title", seed, n.ID)
			}
		}
	}
}

func TestLongNamesAreShortenedAndOddModelsEscaped(t *testing.T) {
	long := strings.Repeat("m", 99) // twice that, and a dot, is a group
	p, err := pipeline.Parse("long.yaml", []byte(fmt.Sprintf(
		"name: %[1]s\ntopics: {in: {}}\nservices:\n  %[1]s: {from: in, to: %[1]s, model: {builtin: \"<b>\\\"&[x]\"}}\n", long)), nil)
	if err != nil {
		t.Fatal(err)
	}
	g := Of(p)
	var text, svg, mermaid bytes.Buffer
	for _, err := range []error{g.Text(&text, TextOptions{}), g.SVG(&svg), g.Mermaid(&mermaid)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(text.String(), strings.Repeat("m", longestName-1)+"…") {
		t.Errorf("the name is not shortened:\n%s", &text)
	}
	if strings.Contains(svg.String(), "<b>") || strings.Contains(mermaid.String(), "<b>") || strings.Contains(mermaid.String(), "[x]") {
		t.Error("the model's name is not escaped")
	}
}

func TestHugeGraphsAreNotDrawn(t *testing.T) {
	g := &Graph{Name: "huge"}
	const n = 3000
	for i := range n {
		g.Nodes = append(g.Nodes, Node{ID: fmt.Sprint(i), Kind: Topic, Name: fmt.Sprint(i)})
		for k := 1; k <= 3 && i >= k; k++ {
			g.Edges = append(g.Edges, Edge{From: i - k, To: i})
		}
	}
	if err := g.SVG(io.Discard); !errors.Is(err, ErrTooLarge) {
		t.Errorf("SVG = %v, want ErrTooLarge", err)
	}
	if err := g.Text(io.Discard, TextOptions{}); err != nil {
		t.Errorf("Text = %v, want a list", err)
	}
}
