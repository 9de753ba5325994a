// SPDX-License-Identifier: Apache-2.0

// Package graph draws pipelines: as text for a terminal, as Mermaid for
// documents, and as SVG.
//
// The one idea: there is one layout for all drawings. Topics, services and
// gathers stand in layers from left to right, each after what it reads; edges
// that pass several layers are given room in each of them; so no edge runs
// through a box. Text and SVG only differ in their units, rows or pixels.
//
// Drawings show names, numbers and models. They never show the broker's address
// or a model's options, which may hold secrets.
package graph

import (
	"fmt"
	"strconv"

	"github.com/millrace-ml/millrace/pipeline"
)

// Kind is what a node is.
type Kind string

// The kinds of nodes.
const (
	Source  Kind = "source" // a topic that is published to from outside
	Topic   Kind = "topic"
	Service Kind = "service"
	Gather  Kind = "gather"
)

// Graph is what is drawn. It is deterministic and may be encoded as JSON.
type Graph struct {
	Name  string `json:"name"`
	Nodes []Node `json:"nodes"`
	Edges []Edge `json:"edges"`
}

// Node is a topic, service or gather.
type Node struct {
	ID     string `json:"id"` // unique: "topic/tickets", "service/tagger"
	Kind   Kind   `json:"kind"`
	Name   string `json:"name"`
	Detail string `json:"detail,omitempty"` // in a few words: "8 partitions · 7d"
	About  string `json:"about"`            // in a sentence
}

// Edge leads from a topic to its reader, or from a writer to its topic.
type Edge struct {
	From int `json:"from"` // index in Nodes
	To   int `json:"to"`
	// Of marks the topic whose records a gather answers, rather than a part.
	Of bool `json:"of,omitempty"`
}

// Of makes the graph of a pipeline. Topics of dead letters are left out.
func Of(p *pipeline.Pipeline) *Graph {
	b := builder{p: p, g: &Graph{Name: p.Name}, index: map[string]int{}}
	b.topics()
	for _, name := range p.Order() {
		b.service(name)
	}
	for _, name := range p.Gathers() {
		b.gather(name)
	}
	return b.g
}

type builder struct {
	p     *pipeline.Pipeline
	g     *Graph
	index map[string]int
}

func (b *builder) node(n Node) int {
	b.index[n.ID] = len(b.g.Nodes)
	b.g.Nodes = append(b.g.Nodes, n)
	return b.index[n.ID]
}

func (b *builder) edge(from, to int, of bool) {
	b.g.Edges = append(b.g.Edges, Edge{From: from, To: to, Of: of})
}

func (b *builder) topic(name string) int { return b.index["topic/"+name] }

func (b *builder) topics() {
	source := map[string]bool{}
	for _, t := range b.p.Sources() {
		source[t] = true
	}
	details := map[string]string{}
	for _, t := range b.p.AllTopics() {
		details[t.Name] = count(t.Partitions, "partition")
		if t.Retention > 0 {
			details[t.Name] += " · " + pipeline.Duration(t.Retention).String()
		}
	}
	for _, t := range b.p.TopicNames() {
		n := Node{ID: "topic/" + t, Kind: Topic, Name: t, Detail: details[t]}
		w, _ := b.p.Writer(t)
		switch {
		case source[t]:
			n.Kind = Source
			n.About = fmt.Sprintf("Topic %s, published to from outside (%s)", t, n.Detail)
		case w.Gather:
			n.About = fmt.Sprintf("Topic %s, written by gather %s (%s)", t, w.Name, n.Detail)
		default:
			n.About = fmt.Sprintf("Topic %s, written by service %s (%s)", t, w.Name, n.Detail)
		}
		b.node(n)
	}
}

func (b *builder) service(name string) {
	s := b.p.Services[name]
	detail := s.Model.Argument
	about := fmt.Sprintf("Service %s runs model %s", name, s.Model)
	if s.Concurrency > 1 {
		detail += " ×" + strconv.Itoa(s.Concurrency)
		about += fmt.Sprintf(", up to %d calls at once", s.Concurrency)
	}
	n := b.node(Node{
		ID: "service/" + name, Kind: Service, Name: name, Detail: detail,
		About: about,
	})
	for _, t := range s.From {
		b.edge(b.topic(t), n, false)
	}
	b.edge(n, b.topic(s.To), false)
}

func (b *builder) gather(name string) {
	g := b.p.Gather[name]
	n := b.node(Node{
		ID: "gather/" + name, Kind: Gather, Name: name, Detail: "gather · " + g.Deadline.String(),
		About: fmt.Sprintf("Gather %s answers each record of %s from %s, after %s at the latest",
			name, g.Of, count(len(g.From), "part"), g.Deadline),
	})
	b.edge(b.topic(g.Of), n, true)
	for _, t := range g.From {
		b.edge(b.topic(t), n, false)
	}
	b.edge(n, b.topic(g.To), false)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// total counts the nodes of a kind.
func (g *Graph) total(k Kind) int {
	n := 0
	for _, node := range g.Nodes {
		if node.Kind == k {
			n++
		}
	}
	return n
}

// summary is the graph in a line: "1 source, 6 services, 1 gather".
func (g *Graph) summary() string {
	s := count(g.total(Source), "source") + ", " + count(g.total(Service), "service")
	if n := g.total(Gather); n > 0 {
		s += ", " + count(n, "gather")
	}
	return s
}
