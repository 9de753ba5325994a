// SPDX-License-Identifier: Apache-2.0

package graph

import (
	"math"
	"slices"
)

// place gives every vertex its centre along the layer so that neighbours in a
// layer keep a gap, edges are short and bends lie in a straight line. Size is a
// node's extent; bends have bendSize. Everything comes to lie at 0 or beyond.
// It returns the total extent.
//
// It is the algorithm of Brandes and Köpf (2001, "Fast and simple horizontal
// coordinate assignment"): vertices are aligned to blocks with a median
// neighbour, once in each of four directions; each result is compacted; the
// mean of the two middle ones counts. Compaction is by longest paths in the
// graph of blocks, which avoids the known faults of the paper's class shifts.
func (l *layout) place(size func(node int) float64, bendSize, gap float64) float64 {
	for _, layer := range l.layers {
		for _, v := range layer {
			if v.size = bendSize; !v.isBend() {
				v.size = size(v.node)
			}
		}
	}
	conflicts := l.conflicts()
	var results []map[*vertex]float64
	for _, d := range []direction{{false, false}, {false, true}, {true, false}, {true, true}} {
		results = append(results, l.compact(d, l.align(d, conflicts), gap))
	}
	l.balance(results)
	return l.toOrigin()
}

// direction says in which order an alignment looks at layers and vertices.
type direction struct{ backward, fromEnd bool }

type pair struct{ u, v *vertex }

// conflicts are the segments that cross a segment between two bends. They give
// way to it, which keeps long edges straight.
func (l *layout) conflicts() map[pair]bool {
	marked := map[pair]bool{}
	for i := 0; i+1 < len(l.layers); i++ {
		var inner, outer []pair
		for _, u := range l.layers[i] {
			for _, v := range u.after {
				if u.isBend() && v.isBend() {
					inner = append(inner, pair{u, v})
				} else {
					outer = append(outer, pair{u, v})
				}
			}
		}
		for _, a := range inner {
			for _, b := range outer {
				if (a.u.pos-b.u.pos)*(a.v.pos-b.v.pos) < 0 {
					marked[b] = true
				}
			}
		}
	}
	return marked
}

// align joins vertices to blocks; the map tells each vertex's first in its block.
func (l *layout) align(d direction, conflicts map[pair]bool) map[*vertex]*vertex {
	root, next := map[*vertex]*vertex{}, map[*vertex]*vertex{}
	for _, layer := range l.layers {
		for _, v := range layer {
			root[v], next[v] = v, v
		}
	}
	for k := range l.layers {
		layer := l.layers[k]
		if d.backward {
			layer = l.layers[len(l.layers)-1-k]
		}
		limit := -1
		for j := range layer {
			v := layer[j]
			if d.fromEnd {
				v = layer[len(layer)-1-j]
			}
			for _, u := range medians(v, d) {
				p := pair{u, v}
				if d.backward {
					p = pair{v, u}
				}
				pos := u.pos
				if d.fromEnd {
					pos = math.MaxInt32 - pos
				}
				if next[v] == v && !conflicts[p] && limit < pos {
					next[u] = v
					root[v] = root[u]
					next[v] = root[v]
					limit = pos
				}
			}
		}
	}
	return root
}

// medians are the one or two middle neighbours to align with, in the order in
// which to try them.
func medians(v *vertex, d direction) []*vertex {
	near := v.before
	if d.backward {
		near = v.after
	}
	n := len(near)
	if n == 0 {
		return nil
	}
	lower, upper := near[(n-1)/2], near[n/2]
	switch {
	case lower == upper:
		return []*vertex{lower}
	case d.fromEnd:
		return []*vertex{upper, lower}
	}
	return []*vertex{lower, upper}
}

// compact places the blocks as near to the beginning (or end) as their
// neighbours allow, and then back towards those that follow.
func (l *layout) compact(d direction, root map[*vertex]*vertex, gap float64) map[*vertex]float64 {
	type arc struct {
		to   *vertex
		dist float64
	}
	out, in := map[*vertex][]arc{}, map[*vertex][]arc{}
	var blocks []*vertex
	for _, layer := range l.layers {
		for j := range layer {
			if d.fromEnd {
				j = len(layer) - 1 - j
			}
			if v := layer[j]; root[v] == v {
				blocks = append(blocks, v)
			}
		}
		for j := 0; j+1 < len(layer); j++ {
			a, b := layer[j], layer[j+1]
			dist := (a.size+b.size)/2 + gap
			if d.fromEnd {
				a, b = b, a
			}
			out[root[a]] = append(out[root[a]], arc{root[b], dist})
			in[root[b]] = append(in[root[b]], arc{root[a], dist})
		}
	}
	order := topological(blocks, func(b *vertex, visit func(*vertex)) {
		for _, a := range out[b] {
			visit(a.to)
		}
	})
	at := map[*vertex]float64{}
	for _, b := range order {
		for _, a := range in[b] {
			at[b] = max(at[b], at[a.to]+a.dist)
		}
	}
	for _, b := range slices.Backward(order) {
		room := math.Inf(1)
		for _, a := range out[b] {
			room = min(room, at[a.to]-a.dist)
		}
		if !math.IsInf(room, 1) {
			at[b] = max(at[b], room)
		}
	}
	result := make(map[*vertex]float64, len(root))
	for v, r := range root {
		result[v] = at[r]
		if d.fromEnd {
			result[v] = -at[r]
		}
	}
	return result
}

// topological sorts so that each comes before those that it leads to.
func topological(all []*vertex, each func(*vertex, func(*vertex))) []*vertex {
	in := map[*vertex]int{}
	for _, v := range all {
		each(v, func(to *vertex) { in[to]++ })
	}
	var order []*vertex
	for _, v := range all {
		if in[v] == 0 {
			order = append(order, v)
		}
	}
	for i := 0; i < len(order); i++ {
		each(order[i], func(to *vertex) {
			if in[to]--; in[to] == 0 {
				order = append(order, to)
			}
		})
	}
	return order
}

// balance moves the four results over the narrowest one and takes the mean of
// the two in the middle.
func (l *layout) balance(results []map[*vertex]float64) {
	extent := func(r map[*vertex]float64) (from, to float64) {
		from, to = math.Inf(1), math.Inf(-1)
		for v, at := range r {
			from, to = min(from, at-v.size/2), max(to, at+v.size/2)
		}
		return from, to
	}
	var from, to float64
	narrowest := math.Inf(1)
	for _, r := range results {
		if f, t := extent(r); t-f < narrowest {
			from, to, narrowest = f, t, t-f
		}
	}
	shift := make([]float64, len(results))
	for i, r := range results {
		f, t := extent(r)
		if shift[i] = from - f; i%2 == 1 { // those that were compacted to the end
			shift[i] = to - t
		}
	}
	for _, layer := range l.layers {
		for _, v := range layer {
			var four [4]float64
			for i, r := range results {
				four[i] = r[v] + shift[i]
			}
			slices.Sort(four[:])
			v.at = (four[1] + four[2]) / 2
		}
	}
}

// toOrigin moves everything to begin at 0 and returns the extent.
func (l *layout) toOrigin() float64 {
	from, to := math.Inf(1), math.Inf(-1)
	for _, layer := range l.layers {
		for _, v := range layer {
			from, to = min(from, v.at-v.size/2), max(to, v.at+v.size/2)
		}
	}
	if math.IsInf(from, 1) {
		return 0
	}
	for _, layer := range l.layers {
		for _, v := range layer {
			v.at -= from
		}
	}
	return to - from
}
