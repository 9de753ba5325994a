// SPDX-License-Identifier: Apache-2.0

package graph

import (
	"fmt"
	"slices"
)

// channel is the room between two layers, in which lines change rows. Each net
// has one column for its upright line.
type channel struct {
	nets    []*net
	columns int
}

// net joins rows of the layer before with rows of the layer after. Vertices
// that lead to the same ones share a net, so their lines run together.
type net struct {
	in, out []int // rows, ascending
	heads   []int // rows of out that end at a node
	column  int
	// A net that takes a detour is two: their lines meet on a row of their own.
	from, into *net
}

func (n *net) top() int    { return min(n.in[0], n.out[0]) }
func (n *net) bottom() int { return max(n.in[len(n.in)-1], n.out[len(n.out)-1]) }

// straight nets need no upright line.
func (n *net) straight() bool { return n.top() == n.bottom() }

func newChannel(layer []*vertex) *channel {
	ch := &channel{}
	same := map[string]*net{}
	for _, u := range layer {
		if len(u.after) == 0 {
			continue
		}
		key := ""
		for _, v := range u.after {
			key += fmt.Sprint(v.pos, " ")
		}
		n := same[key]
		if n == nil {
			n = &net{}
			same[key] = n
			ch.nets = append(ch.nets, n)
			for _, v := range u.after {
				n.out = append(n.out, row(v))
				if !v.isBend() {
					n.heads = append(n.heads, row(v))
				}
			}
		}
		n.in = append(n.in, row(u))
	}
	ch.split()
	ch.assign()
	return ch
}

// before reports whether a's column must be left of b's: a row in which a comes
// in is one in which b goes out, and their lines may not touch. (Halves of a
// detour do meet.)
func (a *net) before(b *net) bool {
	if b.into == a {
		return false
	}
	for _, r := range a.in {
		if slices.Contains(b.out, r) {
			return true
		}
	}
	return false
}

// split breaks up circles of nets that would each have to be left of the next:
// one of them takes a detour along a row that nobody else uses.
func (ch *channel) split() {
	for range len(ch.nets) {
		n := ch.stuck()
		if n == nil {
			return
		}
		r := ch.freeRow(n)
		i := slices.Index(ch.nets, n)
		first := &net{in: n.in, out: []int{r}, from: n.from}
		second := &net{in: []int{r}, out: n.out, heads: n.heads, into: n.into}
		first.into, second.from = second, first
		if first.from != nil {
			first.from.into = first
		}
		if second.into != nil {
			second.into.from = second
		}
		ch.nets = slices.Replace(ch.nets, i, i+1, first, second)
	}
}

// stuck returns a net in a circle, or nil.
func (ch *channel) stuck() *net {
	left := slices.Clone(ch.nets)
	for {
		free := slices.IndexFunc(left, func(n *net) bool {
			return !slices.ContainsFunc(left, func(m *net) bool { return m != n && m.before(n) })
		})
		if free < 0 {
			break
		}
		left = slices.Delete(left, free, free+1)
	}
	if len(left) == 0 {
		return nil
	}
	// Each that is left has one left of it: going there again and again ends up
	// in a circle.
	n, seen := left[0], map[*net]bool{}
	for !seen[n] {
		seen[n] = true
		n = left[slices.IndexFunc(left, func(m *net) bool { return m != n && m.before(n) })]
	}
	return n
}

// freeRow finds a row that no net comes in or goes out by, near the net.
func (ch *channel) freeRow(n *net) int {
	used := map[int]bool{}
	for _, m := range ch.nets {
		for _, r := range slices.Concat(m.in, m.out) {
			used[r] = true
		}
	}
	middle := (n.top() + n.bottom()) / 2
	for d := 0; ; d++ {
		if !used[middle+d] {
			return middle + d
		}
		if r := middle - d; r >= 0 && !used[r] {
			return r
		}
	}
}

// assign gives each net the leftmost column that its predecessors allow and
// that is free over its height.
func (ch *channel) assign() {
	var placed []*net
	left := slices.Clone(ch.nets)
	for len(left) > 0 {
		i := slices.IndexFunc(left, func(n *net) bool {
			return !slices.ContainsFunc(left, func(m *net) bool { return m != n && m.before(n) })
		})
		n := left[max(i, 0)]
		left = slices.DeleteFunc(left, func(m *net) bool { return m == n })
		if !n.straight() {
			for _, m := range placed {
				if m.before(n) && !m.straight() {
					n.column = max(n.column, m.column+1)
				}
			}
			for slices.ContainsFunc(placed, func(m *net) bool {
				return !m.straight() && m.column == n.column && n.top() <= m.bottom() && m.top() <= n.bottom()
			}) {
				n.column++
			}
			ch.columns = max(ch.columns, n.column+1)
		}
		placed = append(placed, n)
	}
}
