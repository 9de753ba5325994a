// SPDX-License-Identifier: Apache-2.0

package pipeline

import "time"

// warn reports what is allowed but likely not meant. It is called for
// pipelines without errors.
func (c *checker) warn() {
	c.warnUnused()
	c.warnIdle()
	c.warnDeadlines()
}

func (c *checker) warnUnused() {
	for _, t := range c.g.declared {
		_, written := c.g.writer[t]
		if !written && len(c.g.readers[t]) == 0 && !c.g.isDead(t) {
			hint := didYouMean(t, c.readable(), c.src.show)
			if hint == "" {
				hint = "leave it out, or let a service read it"
			}
			c.warnf(c.src.key(path("topics", t)), hint, "nobody reads or writes topic %s", c.src.show(t))
		}
	}
	if len(c.g.gathers) == 0 {
		return // then the results themselves are what is wanted
	}
	for _, s := range c.g.services {
		if to := c.p.Services[s].To; len(c.g.readers[to]) == 0 {
			c.warnf(c.src.value(path("services", s, "to")), "add the topic to a gather's from, or leave the service out",
				"nobody reads the results of service %s", c.src.show(s))
		}
	}
}

func (c *checker) warnIdle() {
	partitions := map[string]int{}
	for _, t := range c.p.AllTopics() {
		partitions[t.Name] = t.Partitions
	}
	for _, s := range c.g.services {
		service := c.p.Services[s]
		if n := partitions[service.From[0]]; service.Consumers > n {
			c.warnf(c.src.value(path("services", s, "consumers")), "take fewer consumers, or more partitions",
				"some of the %s consumers of service %s would be idle: topic %s has %s partitions",
				c.src.figure(service.Consumers), c.src.show(s), c.src.show(service.From[0]), c.src.figure(n))
		}
	}
}

// warnDeadlines looks for gathers whose deadline cannot be met or kept.
func (c *checker) warnDeadlines() {
	retention := map[string]time.Duration{}
	for _, t := range c.p.AllTopics() {
		retention[t.Name] = t.Retention
	}
	for _, name := range c.g.gathers {
		gather, u := c.p.Gather[name], User{Name: name, Gather: true}
		at := c.src.value(pathOf(u, "deadline"))
		for _, t := range c.g.reads(u) {
			if kept := retention[t]; kept > 0 && kept < gather.Deadline.Std() {
				c.warnf(at, "keep its records longer, or answer sooner",
					"gather %s waits up to %s, but topic %s keeps its records only %s",
					c.src.show(name), c.src.figure(gather.Deadline), c.src.show(t), c.src.figure(Duration(kept)))
			}
		}
		for _, part := range c.p.Parts(name) {
			var wait Duration
			for _, s := range part.Via {
				wait += c.p.Services[s].Batch.Wait
			}
			if wait >= gather.Deadline {
				c.warnf(at, "wait less for batches, or answer later",
					"part %s will mostly be late for gather %s: the batches on its way wait as long as the deadline of %s",
					c.src.show(part.Service), c.src.show(name), c.src.figure(gather.Deadline))
			}
		}
	}
}
