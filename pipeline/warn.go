// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"slices"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/model"
)

// warn reports what is allowed but likely not meant. It is called for
// pipelines without errors.
func (c *checker) warn() {
	c.warnUnused()
	c.warnModels()
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

// warnModels says which models come from elsewhere, and looks for those that
// read what their topics do not have.
func (c *checker) warnModels() {
	for _, name := range c.g.services {
		m := c.p.Services[name].Model
		kind, known := c.options.kind(m.Kind)
		if !known {
			continue
		}
		if kind.Note != nil {
			c.notef(c.src.value(path("services", name, "model", m.Kind)), "%s", kind.Note(c.src.show(m.Argument)))
		}
		for i, topic := range c.p.Services[name].From {
			w, written := c.g.writer[topic]
			if !written || w.Gather {
				continue
			}
			has := c.shape(w.Name).Writes
			lacks := slices.DeleteFunc(slices.Clone(c.shape(name).Reads), func(field string) bool { return slices.Contains(has, field) })
			if has != nil && len(lacks) > 0 {
				c.warnf(c.src.value(c.itemPath(pathOf(User{Name: name}, "from"), i)), "read the topic of a service whose model writes it",
					"model %s of service %s reads field %s, but records of topic %s have %s", c.src.show(m.Argument), c.src.show(name),
					c.src.show(lacks[0]), c.src.show(topic), strings.Join(has, ", "))
			}
		}
	}
}

// shape is what the model of a service reads and writes.
func (c *checker) shape(service string) model.Shape {
	m := c.p.Services[service].Model
	kind, known := c.options.kind(m.Kind)
	if !known || kind.Shape == nil || m.unread {
		return model.Shape{}
	}
	return kind.Shape(model.Spec{Argument: m.Argument, Options: m.Options, Dir: c.p.Dir, Service: service})
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
