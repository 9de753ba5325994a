// SPDX-License-Identifier: Apache-2.0

package graph

import (
	"fmt"
	"io"
	"strings"
)

// Mermaid writes the graph as a Mermaid flowchart, for GitHub and other places
// that render it: sources and topics as stadiums, services as boxes, gathers as
// hexagons. It writes once.
func (g *Graph) Mermaid(w io.Writer) error {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	for i, n := range g.Nodes {
		opening, closing := "([", "])"
		switch n.Kind {
		case Service:
			opening, closing = "[", "]"
		case Gather:
			opening, closing = "{{", "}}"
		}
		fmt.Fprintf(&b, "    n%d%s\"%s\"%s:::%s\n", i, opening, mermaidLabel(n), closing, n.Kind)
	}
	for _, e := range g.Edges {
		arrow := "-->"
		if e.Of {
			arrow = "-.->"
		}
		fmt.Fprintf(&b, "    n%d %s n%d\n", e.From, arrow, e.To)
	}
	for _, k := range []Kind{Source, Topic, Service, Gather} {
		if g.total(k) > 0 {
			c := colours[k]
			fmt.Fprintf(&b, "    classDef %s fill:%s,stroke:%s,color:%s\n", k, c.light.fill, c.light.stroke, c.light.text)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// mermaidLabel is the name, and the model where it is called differently.
func mermaidLabel(n Node) string {
	label := mermaidText(n.Name)
	if n.Kind == Service && n.Detail != n.Name {
		label += "<br/><small>" + mermaidText(n.Detail) + "</small>"
	}
	return label
}

// mermaidText writes what Mermaid or HTML could take for their own as entities.
func mermaidText(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(" .-_×", r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "#%d;", r)
		}
	}
	return b.String()
}
