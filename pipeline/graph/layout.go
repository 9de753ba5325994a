// SPDX-License-Identifier: Apache-2.0

package graph

import (
	"cmp"
	"errors"
	"slices"
)

// ErrTooLarge is returned for graphs that no drawing would make clearer.
var ErrTooLarge = errors.New("the pipeline is too large to draw as a picture; use Mermaid")

// maxVertices bounds the work of a layout.
const maxVertices = 4000

// layout is a layered drawing in the manner of Sugiyama, Tagawa and Toda (1981,
// "Methods for visual understanding of hierarchical system structures"): layers
// by longest path, crossings reduced by barycentres, places along the layer by
// Brandes and Köpf (package file place.go).
type layout struct {
	layers   [][]*vertex
	nodes    []*vertex // by node index
	segments []segment
}

// vertex is a node, or the bend (node -1) where an edge passes a layer. The
// edges that leave a node share their bends, so that they fork late.
type vertex struct {
	node       int
	layer, pos int
	before     []*vertex // neighbours in the layer before, by position
	after      []*vertex
	size       float64 // along the layer
	at         float64 // centre, along the layer
}

func (v *vertex) isBend() bool { return v.node < 0 }

// segment is a piece of an edge between neighbouring layers.
type segment struct {
	from, to *vertex
	of       bool // belongs to Of edges only
}

func arrange(g *Graph) (*layout, error) {
	l := &layout{}
	rank := layerOf(g)
	for i := range g.Nodes {
		v := &vertex{node: i, layer: rank[i]}
		l.nodes = append(l.nodes, v)
		l.add(v)
	}
	if err := l.connect(g); err != nil {
		return nil, err
	}
	l.reduceCrossings()
	return l, nil
}

func (l *layout) add(v *vertex) {
	for len(l.layers) <= v.layer {
		l.layers = append(l.layers, nil)
	}
	v.pos = len(l.layers[v.layer])
	l.layers[v.layer] = append(l.layers[v.layer], v)
}

// layerOf puts each node one layer after the last of those that lead to it, and
// those that nothing leads to just before the first that they lead to.
func layerOf(g *Graph) []int {
	in, out := make([]int, len(g.Nodes)), make([][]int, len(g.Nodes))
	for _, e := range g.Edges {
		in[e.To]++
		out[e.From] = append(out[e.From], e.To)
	}
	rank := make([]int, len(g.Nodes))
	isRoot := make([]bool, len(g.Nodes))
	var ready []int
	for n := range g.Nodes {
		if isRoot[n] = in[n] == 0; isRoot[n] {
			ready = append(ready, n)
		}
	}
	for len(ready) > 0 {
		n := ready[0]
		ready = ready[1:]
		for _, to := range out[n] {
			rank[to] = max(rank[to], rank[n]+1)
			if in[to]--; in[to] == 0 {
				ready = append(ready, to)
			}
		}
	}
	for n, root := range isRoot {
		if !root || len(out[n]) == 0 {
			continue
		}
		first := len(g.Nodes) * 2
		for _, to := range out[n] {
			first = min(first, rank[to])
		}
		rank[n] = first - 1
	}
	return rank
}

// connect makes the segments, with bends where an edge passes layers.
func (l *layout) connect(g *Graph) error {
	type place struct{ node, layer int }
	bends := map[place]*vertex{}
	index := map[[2]*vertex]int{}
	vertices := len(g.Nodes)
	for _, e := range g.Edges {
		u, target := l.nodes[e.From], l.nodes[e.To]
		for u != target {
			next := target
			if layer := u.layer + 1; layer < target.layer {
				next = bends[place{e.From, layer}]
				if next == nil {
					if vertices++; vertices > maxVertices {
						return ErrTooLarge
					}
					next = &vertex{node: -1, layer: layer}
					bends[place{e.From, layer}] = next
					l.add(next)
				}
			}
			if i, ok := index[[2]*vertex{u, next}]; ok {
				l.segments[i].of = l.segments[i].of && e.Of
			} else {
				index[[2]*vertex{u, next}] = len(l.segments)
				l.segments = append(l.segments, segment{u, next, e.Of})
				u.after = append(u.after, next)
				next.before = append(next.before, u)
			}
			u = next
		}
	}
	if vertices > maxVertices || len(l.segments) > 2*maxVertices {
		return ErrTooLarge
	}
	return nil
}

// reduceCrossings sweeps over the layers, sorting each by the barycentres of
// its neighbours, and keeps the best order that it sees.
func (l *layout) reduceCrossings() {
	const sweeps = 24
	l.sortNeighbours()
	best, fewest := l.order(), l.crossings()
	for i := 0; i < sweeps && fewest > 0; i++ {
		l.sweep(i%2 == 0)
		l.swapNeighbours()
		if n := l.crossings(); n < fewest {
			best, fewest = l.order(), n
		}
	}
	for i, layer := range best {
		l.setOrder(i, layer)
	}
	l.sortNeighbours()
}

func (l *layout) order() [][]*vertex {
	out := make([][]*vertex, len(l.layers))
	for i := range l.layers {
		out[i] = slices.Clone(l.layers[i])
	}
	return out
}

func (l *layout) setOrder(i int, layer []*vertex) {
	l.layers[i] = layer
	for pos, v := range layer {
		v.pos = pos
	}
}

func (l *layout) sortNeighbours() {
	byPos := func(a, b *vertex) int { return cmp.Compare(a.pos, b.pos) }
	for _, layer := range l.layers {
		for _, v := range layer {
			slices.SortFunc(v.before, byPos)
			slices.SortFunc(v.after, byPos)
		}
	}
}

func (l *layout) sweep(forward bool) {
	for k := range l.layers {
		i := k
		if !forward {
			i = len(l.layers) - 1 - k
		}
		centre := make(map[*vertex]float64, len(l.layers[i]))
		for _, v := range l.layers[i] {
			near := v.before
			if !forward {
				near = v.after
			}
			centre[v] = barycentre(near, float64(v.pos))
		}
		layer := slices.Clone(l.layers[i])
		slices.SortStableFunc(layer, func(a, b *vertex) int { return cmp.Compare(centre[a], centre[b]) })
		l.setOrder(i, layer)
	}
}

func barycentre(near []*vertex, otherwise float64) float64 {
	if len(near) == 0 {
		return otherwise
	}
	sum := 0
	for _, u := range near {
		sum += u.pos
	}
	return float64(sum) / float64(len(near))
}

// swapNeighbours swaps vertices that stand side by side where that removes
// crossings, until nothing improves.
func (l *layout) swapNeighbours() {
	for improved, rounds := true, 0; improved && rounds < 8; rounds++ {
		improved = false
		for i, layer := range l.layers {
			for k := 0; k+1 < len(layer); k++ {
				a, b := layer[k], layer[k+1]
				if crossingsOf(b, a) < crossingsOf(a, b) {
					layer[k], layer[k+1] = b, a
					improved = true
				}
			}
			l.setOrder(i, layer)
		}
	}
}

// crossingsOf counts the crossings between the segments of two vertices of a
// layer if a stands before b.
func crossingsOf(a, b *vertex) int {
	n := 0
	for _, lists := range [][2][]*vertex{{a.before, b.before}, {a.after, b.after}} {
		for _, x := range lists[0] {
			for _, y := range lists[1] {
				if x.pos > y.pos {
					n++
				}
			}
		}
	}
	return n
}

// crossings counts all crossings: inversions of the segments' ends, with a
// Fenwick tree (Barth, Jünger and Mutzel 2002, "Simple and efficient bilayer
// cross counting").
func (l *layout) crossings() int {
	n := 0
	for i := 0; i+1 < len(l.layers); i++ {
		tree := make([]int, len(l.layers[i+1])+1)
		seen := 0
		for _, u := range l.layers[i] {
			for _, v := range u.after {
				smaller := 0
				for k := v.pos + 1; k > 0; k -= k & -k {
					smaller += tree[k]
				}
				n += seen - smaller
			}
			for _, v := range u.after {
				seen++
				for k := v.pos + 1; k < len(tree); k += k & -k {
					tree[k]++
				}
			}
		}
	}
	return n
}
