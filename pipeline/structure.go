// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/lineage"
)

// pathOf is the path of a field of a service or gather.
func pathOf(u User, keys ...string) string {
	section := "services"
	if u.Gather {
		section = "gather"
	}
	return path(append([]string{section, u.Name}, keys...)...)
}

// call is a user in messages: "service tagger".
func (c *checker) call(u User) string {
	if u.Gather {
		return "gather " + c.src.show(u.Name)
	}
	return "service " + c.src.show(u.Name)
}

// everyUser returns the services and then the gathers, in file order.
func (c *checker) everyUser() []User {
	var users []User
	for _, s := range c.g.services {
		users = append(users, User{Name: s})
	}
	for _, g := range c.g.gathers {
		users = append(users, User{Name: g, Gather: true})
	}
	return users
}

func (c *checker) to(u User) string {
	if u.Gather {
		return c.p.Gather[u.Name].To
	}
	return c.p.Services[u.Name].To
}

func (c *checker) checkWriters() {
	for _, u := range c.everyUser() {
		to, at := c.to(u), c.src.value(pathOf(u, "to"))
		if badName(to) {
			continue
		}
		if first := c.g.writer[to]; first != u {
			c.errorf(at, "write to another topic; a service or gather can read both",
				"topic %s has two writers: %s and %s", c.src.show(to), c.call(first), c.call(u))
		}
		if what := c.keptFor(to); what != "" {
			c.errorf(at, "write to another topic", "topic %s is kept for %s", c.src.show(to), what)
		}
	}
}

// keptFor is what Millrace itself keeps a topic of this name for, "" if nothing. By
// their names it knows dead letters of any service, as others' may be on the broker.
func (c *checker) keptFor(topic string) string {
	if service, is := lettersOf(topic); is {
		return "dead letters of service " + c.src.show(service)
	}
	if gather, is := c.g.notesOf(topic); is {
		return "notes of gather " + c.src.show(gather)
	}
	if topic == lineage.BatchOf(c.p.Name) {
		return "notes of millrace batch"
	}
	return ""
}

// checkDeclared refuses settings for topics that Millrace makes as it needs them.
// Those of dead letters may have others.
func (c *checker) checkDeclared() {
	for _, t := range c.g.declared {
		if _, dead := lineage.DeadOf(t); dead || badName(t) {
			continue
		}
		if what := c.keptFor(t); what != "" {
			c.errorf(c.src.key(path("topics", t)), "leave it out; call a topic of yours something else",
				"topic %s is kept for %s and made without settings", c.src.show(t), what)
		}
	}
}

// reading is one mention of a topic that a user reads.
type reading struct {
	topic string
	at    string // path
}

func (c *checker) readings(u User) []reading {
	var rs []reading
	from := []string(c.p.Services[u.Name].From)
	if u.Gather {
		rs = append(rs, reading{c.p.Gather[u.Name].Of, pathOf(u, "of")})
		from = c.p.Gather[u.Name].From
	}
	for i, t := range from {
		rs = append(rs, reading{t, c.itemPath(pathOf(u, "from"), i)})
	}
	return rs
}

func (c *checker) checkReaders() {
	for _, u := range c.everyUser() {
		seen := map[string]bool{}
		for _, r := range c.readings(u) {
			if badName(r.topic) {
				continue // was reported
			}
			if u.Gather && r.topic == c.p.Gather[u.Name].Of && len(seen) > 0 {
				c.errorf(c.src.value(r.at), "name results that descend from it", "topic %s is what %s answers; it is no part of the answer", c.src.show(r.topic), c.call(u))
				continue
			}
			if seen[r.topic] {
				c.errorf(c.src.value(r.at), "name each topic once", "%s reads topic %s twice", c.call(u), c.src.show(r.topic))
				continue
			}
			seen[r.topic] = true
			c.checkReading(u, r)
		}
	}
}

func (c *checker) checkReading(u User, r reading) {
	at, shown := c.src.value(r.at), c.src.show(r.topic)
	_, written := c.g.writer[r.topic]
	_, declared := c.p.Topics[r.topic]
	switch {
	case c.keptFor(r.topic) != "":
		c.errorf(at, "read another topic, such as what the service itself reads", "topic %s is kept for %s; %s cannot read it", shown, c.keptFor(r.topic), c.call(u))
	case !written && !declared:
		hint := ""
		if _, variable := c.src.variable[r.topic]; !variable {
			hint = didYouMean(r.topic, c.readable(), c.src.show)
		}
		if hint == "" {
			hint = fmt.Sprintf("if it is published to from outside, list it under topics: %s: {}", shown)
		}
		c.errorf(at, hint, "%s reads topic %s, which nobody writes and topics does not list", c.call(u), shown)
	}
}

// readable are the topics that somebody writes or that are declared.
func (c *checker) readable() []string {
	return slices.DeleteFunc(slices.Clone(c.g.topics), func(t string) bool {
		_, written := c.g.writer[t]
		_, declared := c.p.Topics[t]
		return !written && !declared || badName(t)
	})
}

// checkCycles looks for users that read what they lead to, depth first.
func (c *checker) checkCycles() {
	const (
		open = 1
		done = 2
	)
	state := map[User]int{}
	var trail []User
	var visit func(User)
	visit = func(u User) {
		state[u] = open
		trail = append(trail, u)
		for _, r := range c.readings(u) {
			w, ok := c.g.writer[r.topic]
			switch {
			case !ok:
			case state[w] == open:
				c.reportCycle(r, trail[slices.Index(trail, w):])
			case state[w] == 0:
				visit(w)
			}
		}
		trail = trail[:len(trail)-1]
		state[u] = done
	}
	for _, u := range c.everyUser() {
		if state[u] == 0 {
			visit(u)
		}
	}
}

// reportCycle names a cycle in the direction in which records would go round.
// Against that direction, the trail leads from a user to the reading that goes
// back to it.
func (c *checker) reportCycle(r reading, trail []User) {
	const most = 12
	var b strings.Builder
	b.WriteString(c.src.show(r.topic))
	for i := len(trail) - 1; i >= 0; i-- {
		if len(trail)-i > most {
			fmt.Fprintf(&b, " → … → %s", c.src.show(r.topic))
			break
		}
		fmt.Fprintf(&b, " → %s → %s", c.src.show(trail[i].Name), c.src.show(c.to(trail[i])))
	}
	c.errorf(c.src.value(r.at), "let one of them write to another topic", "records would go round for ever: %s", b.String())
}

func (c *checker) checkPartitions() {
	counts := map[string]int{}
	for _, t := range c.p.AllTopics() {
		counts[t.Name] = t.Partitions
	}
	for _, u := range c.everyUser() {
		readings := c.readings(u)
		if len(readings) == 0 {
			continue
		}
		first := readings[0].topic
		for _, r := range readings[1:] {
			c.checkSameCount(r.at, counts, first, r.topic,
				fmt.Sprintf("%s reads both", c.call(u)))
		}
		c.checkSameCount(pathOf(u, "to"), counts, first, c.to(u),
			fmt.Sprintf("%s answers each record in the partition it is read from", c.call(u)))
		if !u.Gather {
			c.checkSameCount(path("topics", lineage.DeadTopic(u.Name)), counts, first, lineage.DeadTopic(u.Name),
				"dead letters keep the partition of their record")
		}
	}
}

// checkSameCount reports a topic with other partitions than the first one, at
// its declaration if it has one.
func (c *checker) checkSameCount(at string, counts map[string]int, first, other, why string) {
	if counts[first] == counts[other] {
		return
	}
	declared := path("topics", other, "partitions")
	if !c.has(declared) {
		declared = path("topics", first, "partitions")
	}
	if c.has(declared) {
		at = declared
	}
	c.errorf(c.src.value(at), "give both the same number of partitions",
		"topic %s has %s partitions and topic %s has %s, but %s",
		c.src.show(first), c.src.figure(counts[first]), c.src.show(other), c.src.figure(counts[other]), why)
}

func (c *checker) checkGathers() {
	for _, name := range c.g.gathers {
		gather, u := c.p.Gather[name], User{Name: name, Gather: true}
		if w, ok := c.g.writer[gather.Of]; ok && !w.Gather {
			c.errorf(c.src.value(pathOf(u, "of")), c.sourceHint(w.Name),
				"%s cannot answer the records of topic %s, which are results of %s", c.call(u), c.src.show(gather.Of), c.call(w))
			continue
		}
		ways := c.g.ways(gather.Of)
		for i, topic := range gather.From {
			at := c.src.value(c.itemPath(pathOf(u, "from"), i))
			w, written := c.g.writer[topic]
			switch n := ways.to(topic); {
			case !written || w.Gather:
				c.errorf(at, "name topics that services write", "topic %s is no part for %s: no service writes it", c.src.show(topic), c.call(u))
			case n == 0:
				c.errorf(at, "leave it out, or let its service read what descends from "+c.src.show(gather.Of),
					"topic %s (of %s) does not descend from topic %s", c.src.show(topic), c.call(w), c.src.show(gather.Of))
			case n > 1:
				c.errorf(at, "split the service in two, one for each way",
					"topic %s (of %s) descends from topic %s in more than one way, so it would answer a record more than once",
					c.src.show(topic), c.call(w), c.src.show(gather.Of))
			}
		}
	}
}

// sourceHint names the sources that lead to a service.
func (c *checker) sourceHint(service string) string {
	above := map[string]bool{}
	c.g.climb(service, above)
	var sources []string
	for _, s := range c.g.services {
		if !above[s] {
			continue
		}
		for _, t := range c.g.reads(User{Name: s}) {
			if w, written := c.g.writer[t]; !written || w.Gather {
				sources = append(sources, c.src.show(t))
			}
		}
	}
	return "write of: " + strings.Join(distinct(sources), " or ")
}
