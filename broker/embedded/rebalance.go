// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"slices"
	"time"
)

// rebalance finds a new target after a member came or went, and starts the
// hand-over. The caller holds g.mu.
func (g *group) rebalance() {
	g.target = balance(g.target, g.members)
	g.handOver()
}

// balance assigns partitions to members: as many to each as to any other, give
// or take one, and as few as possible to others than before.
func balance(before, members []*member) []*member {
	after := make([]*member, len(before))
	if len(members) == 0 {
		return after
	}
	count := map[*member]int{}
	for _, m := range before {
		count[m]++
	}
	// Those who have most may keep the one more that cannot be shared out.
	order := slices.Clone(members)
	slices.SortStableFunc(order, func(x, y *member) int { return count[y] - count[x] })
	quota := map[*member]int{}
	for i, m := range order {
		quota[m] = len(before) / len(members)
		if i < len(before)%len(members) {
			quota[m]++
		}
	}
	for p, m := range before {
		if quota[m] > 0 {
			after[p] = m
			quota[m]--
		}
	}
	for p := range after {
		for after[p] == nil {
			if m := order[0]; quota[m] > 0 {
				after[p] = m
				quota[m]--
			} else {
				order = order[1:]
			}
		}
	}
	return after
}

// handOver wakes the members that have something to give or to take, and sees
// to it that what is not given in time is taken. The caller holds g.mu.
func (g *group) handOver() {
	now := time.Now()
	var due time.Time
	for p, owner := range g.owner {
		target := g.target[p]
		if owner == target {
			g.asked[p] = time.Time{}
			continue
		}
		if owner == nil {
			target.watcher.wake()
			continue
		}
		owner.askFor()
		if g.asked[p].IsZero() {
			g.asked[p] = now
		}
		if at := g.asked[p].Add(g.d.options.HandoverTimeout); due.IsZero() || at.Before(due) {
			due = at
		}
	}
	if g.timer != nil {
		g.timer.Stop()
		g.timer = nil
	}
	if !due.IsZero() && !g.stopped {
		g.timer = time.AfterFunc(due.Sub(now), g.force)
	}
}

// force takes the partitions whose hand-over is overdue. A settle that has begun
// is waited for: it ends by itself, and calls force again.
func (g *group) force() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return
	}
	g.takeOverdue()
	g.handOver()
}

func (g *group) takeOverdue() {
	now := time.Now()
	for p, owner := range g.owner {
		if owner == nil || owner == g.target[p] || now.Sub(g.asked[p]) < g.d.options.HandoverTimeout {
			continue
		}
		if owner.settling {
			owner.overdue = true
			continue
		}
		g.give(p)
		owner.fenced = true
	}
}

// give ends the ownership of a partition.
func (g *group) give(p int) {
	g.owner[p].lost = true
	g.owner[p] = nil
	g.asked[p] = time.Time{}
}

// release gives what the member shall not have and of which nothing is open. It
// reports whether there was any. The caller holds g.mu.
func (g *group) release(m *member) bool {
	m.mustGive.Store(false)
	any := false
	for p, owner := range g.owner {
		if owner == m && g.target[p] != m && !m.hasOpen(int32(p)) {
			g.give(p)
			any = true
		}
	}
	return any
}

// take takes what the member shall have and nobody owns.
func (g *group) take(m *member) bool {
	any := false
	for p, owner := range g.owner {
		if owner == nil && g.target[p] == m {
			g.owner[p], g.gained[p] = m, g.epoch+1
			any = true
		}
	}
	return any
}

// leave removes a member and gives its partitions to the others.
func (g *group) leave(c *member) {
	g.members = slices.DeleteFunc(g.members, func(m *member) bool { return m == c })
	for p, owner := range g.owner {
		if owner == c {
			g.give(p)
		}
	}
	if len(g.members) == 0 {
		g.topics, g.owner, g.target, g.gained, g.asked = nil, nil, nil, nil, nil
		if g.timer != nil {
			g.timer.Stop()
			g.timer = nil
		}
		return
	}
	g.rebalance()
}

// stop ends the group's timer, for good.
func (g *group) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopped = true
	if g.timer != nil {
		g.timer.Stop()
	}
}
