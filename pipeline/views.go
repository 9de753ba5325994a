// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"cmp"
	"maps"
	"slices"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/lineage"
)

// User is a service or a gather that reads or writes a topic.
type User struct {
	Name   string
	Gather bool
}

// Part is one of the results that a gather joins.
type Part struct {
	Service string // names the part
	Topic   string // where its results are
	// Via are the services between the gather's Of and the part, the part's
	// own last, each after those it reads from. If one of them fails a record
	// (which its dead letter tells), the part of that record cannot come.
	Via []string
}

// graph is a pipeline's structure, looked up once. It is made of any pipeline,
// also of one with errors: of two writers of a topic it knows the first.
type graph struct {
	p        *Pipeline
	declared []string // topics, in file order
	services []string // in file order
	gathers  []string // in file order
	topics   []string // all, in the order in which the file first names them as a source or a result
	writer   map[string]User
	readers  map[string][]User
}

func newGraph(p *Pipeline) *graph {
	g := &graph{
		p:        p,
		declared: inFileOrder(p.src, "topics", p.Topics),
		services: inFileOrder(p.src, "services", p.Services),
		gathers:  inFileOrder(p.src, "gather", p.Gather),
		writer:   map[string]User{},
		readers:  map[string][]User{},
	}
	write := func(topic string, u User) {
		if _, taken := g.writer[topic]; !taken && topic != "" {
			g.writer[topic] = u
		}
	}
	seen := map[string]bool{}
	note := func(topics ...string) {
		for _, t := range topics {
			if t != "" && !seen[t] {
				seen[t] = true
				g.topics = append(g.topics, t)
			}
		}
	}
	note(g.declared...)
	for _, s := range g.services {
		u, service := User{Name: s}, p.Services[s]
		for _, t := range distinct(service.From) {
			g.readers[t] = append(g.readers[t], u)
		}
		write(service.To, u)
		note(service.From...)
		note(service.To)
	}
	for _, name := range g.gathers {
		u, gather := User{Name: name, Gather: true}, p.Gather[name]
		for _, t := range distinct(append([]string{gather.Of}, gather.From...)) {
			g.readers[t] = append(g.readers[t], u)
		}
		write(gather.To, u)
		note(gather.Of)
		note(gather.From...)
		note(gather.To)
	}
	return g
}

// distinct returns the names once each, in their order, without empty ones.
func distinct(names []string) []string {
	var out []string
	seen := make(map[string]bool, len(names))
	for _, n := range names {
		if n != "" && !seen[n] {
			seen[n] = true
			out = append(out, n)
		}
	}
	return out
}

// reads are the topics that a user reads.
func (g *graph) reads(u User) []string {
	if u.Gather {
		gather := g.p.Gather[u.Name]
		return distinct(append([]string{gather.Of}, gather.From...))
	}
	return distinct(g.p.Services[u.Name].From)
}

// users are all services and gathers in topological order: each after those
// that write what it reads. Ties are in file order, services first. Those in a
// cycle come last.
func (g *graph) users() []User {
	all := make([]User, 0, len(g.services)+len(g.gathers))
	for _, s := range g.services {
		all = append(all, User{Name: s})
	}
	for _, name := range g.gathers {
		all = append(all, User{Name: name, Gather: true})
	}
	rank := make(map[User]int, len(all))
	waits := make(map[User]int, len(all)) // topics still to be written
	for i, u := range all {
		rank[u] = i
		for _, t := range g.reads(u) {
			if _, written := g.writer[t]; written {
				waits[u]++
			}
		}
	}
	var order []User
	var ready []User
	for _, u := range all {
		if waits[u] == 0 {
			ready = append(ready, u)
		}
	}
	done := map[User]bool{}
	for len(ready) > 0 {
		u := ready[0]
		ready = ready[1:]
		done[u] = true
		order = append(order, u)
		for _, t := range g.writtenBy(u) {
			for _, reader := range g.readers[t] {
				if waits[reader]--; waits[reader] == 0 {
					i, _ := slices.BinarySearchFunc(ready, rank[reader], func(r User, at int) int { return cmp.Compare(rank[r], at) })
					ready = slices.Insert(ready, i, reader)
				}
			}
		}
	}
	for _, u := range all {
		if !done[u] {
			order = append(order, u)
		}
	}
	return order
}

// writtenBy is the topic that the user is the (first) writer of.
func (g *graph) writtenBy(u User) []string {
	to := g.p.Services[u.Name].To
	if u.Gather {
		to = g.p.Gather[u.Name].To
	}
	if g.writer[to] != u || to == "" {
		return nil
	}
	return []string{to}
}

// Order returns the services in topological order: each after those that write
// what it reads, otherwise in the order of the file.
func (p *Pipeline) Order() []string {
	var names []string
	for _, u := range newGraph(p).users() {
		if !u.Gather {
			names = append(names, u.Name)
		}
	}
	return names
}

// Gathers returns the gathers in topological order.
func (p *Pipeline) Gathers() []string {
	var names []string
	for _, u := range newGraph(p).users() {
		if u.Gather {
			names = append(names, u.Name)
		}
	}
	return names
}

// TopicNames returns all topics but those of dead letters: the declared ones,
// then the others as the file names them.
func (p *Pipeline) TopicNames() []string {
	g := newGraph(p)
	return slices.DeleteFunc(g.topics, g.isDead)
}

// Sources returns the topics that nobody in the pipeline writes: their records
// are published from outside.
func (p *Pipeline) Sources() []string {
	g := newGraph(p)
	return slices.DeleteFunc(slices.Clone(g.topics), func(t string) bool {
		_, written := g.writer[t]
		return written || g.isDead(t)
	})
}

// lettersOf is the service whose dead letters, or what was decided on them, a topic
// holds by its name. There may be no such service in the pipeline.
func lettersOf(topic string) (service string, is bool) {
	if service, is = lineage.DeadOf(topic); is {
		return service, true
	}
	return lineage.DecisionsOf(topic)
}

// notesOf is the gather that a topic is kept for, to note where its windows begin.
func (g *graph) notesOf(topic string) (gather string, is bool) {
	for _, name := range g.gathers {
		if lineage.WindowTopic(g.p.Gather[name].To) == topic {
			return name, true
		}
	}
	return "", false
}

// isDead reports whether a topic is kept for letters of one of the services.
func (g *graph) isDead(topic string) bool {
	service, is := lettersOf(topic)
	_, known := g.p.Services[service]
	return is && known
}

// Writer returns who writes the topic; none writes a source.
func (p *Pipeline) Writer(topic string) (User, bool) {
	u, ok := newGraph(p).writer[topic]
	return u, ok
}

// Readers returns who reads the topic, in the order of the file.
func (p *Pipeline) Readers(topic string) []User { return newGraph(p).readers[topic] }

// Upstream returns the services whose results lead to what the service reads,
// in topological order, without itself. It does not look beyond a gather.
func (p *Pipeline) Upstream(service string) []string {
	g := newGraph(p)
	above := map[string]bool{}
	g.climb(service, above)
	delete(above, service)
	return slices.DeleteFunc(p.Order(), func(s string) bool { return !above[s] })
}

func (g *graph) climb(service string, above map[string]bool) {
	if above[service] {
		return
	}
	above[service] = true
	for _, t := range g.p.Services[service].From {
		if w, ok := g.writer[t]; ok && !w.Gather {
			g.climb(w.Name, above)
		}
	}
}

// Parts returns what a gather joins, in the order of its From.
func (p *Pipeline) Parts(gather string) []Part {
	g := newGraph(p)
	order := p.Order()
	var parts []Part
	for _, topic := range distinct(p.Gather[gather].From) {
		w, ok := g.writer[topic]
		if !ok || w.Gather {
			continue
		}
		ways := g.ways(p.Gather[gather].Of)
		ways.to(topic)
		parts = append(parts, Part{
			Service: w.Name,
			Topic:   topic,
			Via: slices.DeleteFunc(slices.Clone(order), func(s string) bool {
				return ways.count[p.Services[s].To] == 0
			}),
		})
	}
	return parts
}

// ways counts in how many ways records of a topic lead to others through
// services. Counts stop at 2.
type ways struct {
	g     *graph
	count map[string]int
}

func (g *graph) ways(from string) *ways {
	return &ways{g, map[string]int{from: 1}}
}

func (w *ways) to(topic string) int {
	if n, known := w.count[topic]; known {
		return n
	}
	w.count[topic] = 0 // and so it stays within a cycle
	n := 0
	if u, ok := w.g.writer[topic]; ok && !u.Gather {
		for _, t := range w.g.reads(u) {
			n = min(2, n+w.to(t))
		}
	}
	w.count[topic] = n
	return n
}

// AllTopics returns every topic of the pipeline as it is to be created, dead
// letters too, sorted by name. What the file does not say follows from the
// topic that the writer reads: as many partitions (otherwise 8), and the same
// retention, so that what is made of a record does not outlive it unasked.
// Of several topics the longest retention counts.
func (p *Pipeline) AllTopics() []broker.Topic {
	g := newGraph(p)
	all := map[string]broker.Topic{}
	add := func(name string, inherited broker.Topic) {
		t := broker.Topic{Name: name, Partitions: inherited.Partitions, Retention: inherited.Retention}
		said := p.Topics[name]
		if said.Partitions > 0 {
			t.Partitions = said.Partitions
		}
		switch {
		case said.Retention == Forever:
			t.Retention = 0
		case said.Retention > 0:
			t.Retention = said.Retention.Std()
		}
		t.RetentionBytes = int64(said.RetentionBytes)
		all[name] = t
	}
	for _, t := range p.Sources() {
		add(t, broker.Topic{Partitions: broker.DefaultPartitions})
	}
	for _, u := range g.users() {
		inherited := broker.Topic{Partitions: broker.DefaultPartitions}
		from := g.reads(u)
		if u.Gather {
			from = from[:min(1, len(from))] // what a gather emits descends from its Of
		}
		for i, t := range from {
			read, ok := all[t]
			switch {
			case !ok: // in a cycle
			case i == 0:
				inherited = read
			case read.Retention == 0 || inherited.Retention == 0:
				inherited.Retention = 0
			default:
				inherited.Retention = max(inherited.Retention, read.Retention)
			}
		}
		for _, t := range g.writtenBy(u) {
			add(t, inherited)
		}
		if !u.Gather {
			add(lineage.DeadTopic(u.Name), inherited)
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b broker.Topic) int { return cmp.Compare(a.Name, b.Name) })
}

// fillPartitions writes the numbers of partitions in force into Topics.
func (p *Pipeline) fillPartitions() {
	for _, t := range p.AllTopics() {
		if said, ok := p.Topics[t.Name]; ok {
			said.Partitions = t.Partitions
			p.Topics[t.Name] = said
		}
	}
}
