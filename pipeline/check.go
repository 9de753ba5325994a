// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/lineage"
)

// CheckFile is [Check] of a file, with variables from the environment. The
// error tells that the file could not be read.
func CheckFile(path string, opts ...Option) (*Pipeline, Problems, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, nil, err
	}
	p, problems := Check(path, data, os.LookupEnv, opts...)
	return p, problems, nil
}

// Check reads the bytes of a pipeline file and returns all that is wrong with
// it, warnings too. The pipeline is nil when there are errors. Arguments are as
// in [Parse].
func Check(name string, data []byte, env func(string) (string, bool), opts ...Option) (*Pipeline, Problems) {
	if env == nil {
		env = func(string) (string, bool) { return "", false }
	}
	r := &report{src: newSource(name, append([]byte{}, data...))}
	r.src.env = env
	root := parseYAML(r, data)
	if root == nil {
		return nil, r.sorted()
	}
	p := &Pipeline{Broker: "embedded", Dir: dirOf(name), src: r.src}
	o := newOptions(opts)
	d := &decoder{report: r, options: o, env: env}
	d.decodeFile(root, p)
	c := &checker{report: r, options: o, p: p, g: newGraph(p)}
	c.check()
	problems := r.sorted()
	if problems.Errors() > 0 {
		return nil, problems
	}
	p.fillPartitions()
	return p, problems
}

// checker looks at what the pieces of a file mean together.
type checker struct {
	*report
	options *options
	p       *Pipeline
	g       *graph
}

func (c *checker) check() {
	c.checkNames()
	c.checkBroker()
	c.checkDurability()
	c.checkStarts()
	c.checkDeclared()
	c.checkWriters()
	c.checkReaders()
	c.checkCycles()
	if c.problems.Errors() > 0 {
		return // what follows would mostly repeat what was said
	}
	c.checkPartitions()
	c.checkGathers()
	if c.problems.Errors() == 0 {
		c.warn()
	}
}

func (c *checker) checkNames() {
	c.checkName("name", "a pipeline", c.p.Name)
	for _, t := range c.g.declared {
		c.checkKey(path("topics", t), "topic", t, 0)
	}
	for _, s := range c.g.services {
		c.checkKey(path("services", s), "service", s, lineage.MaxEnding)
	}
	for _, g := range c.g.gathers {
		c.checkKey(path("gather", g), "gather", g, 0)
		if _, both := c.p.Services[g]; both {
			c.errorf(c.src.key(path("gather", g)), "give one of them another name",
				"%s is a service and a gather", c.src.show(g))
		}
	}
	for _, u := range c.everyUser() {
		c.checkGroup(u)
		for _, r := range c.readings(u) {
			c.checkName(r.at, "a topic", r.topic)
		}
		c.checkName(pathOf(u, "to"), "a topic", c.to(u))
		if longest := maxName - lineage.MaxWindowEnding; u.Gather && !badName(c.to(u)) && len(c.to(u)) > longest {
			c.errorf(c.src.value(pathOf(u, "to")), nameHint(c.to(u), longest), "the topic of a gather cannot be called %s", quote(c.to(u)))
		}
	}
	if c.p.Services != nil && len(c.p.Services) == 0 {
		c.errorf(c.src.key("services"), "add one: NAME: {from: TOPIC, to: TOPIC, model: {builtin: MODEL}}", "there are no services")
	}
}

// has reports whether the file gives a value at the path.
func (c *checker) has(at string) bool {
	_, ok := c.src.values[at]
	return ok
}

// itemPath is the path of an item of a list, or of the one that needs no list.
func (c *checker) itemPath(at string, i int) string {
	if item := path(at, fmt.Sprint(i)); c.has(item) {
		return item
	}
	return at
}

func (c *checker) checkKey(at, what, name string, reserve int) {
	if badName(name) || len(name)+reserve > maxName {
		c.errorf(c.src.key(at), nameHint(name, maxName-reserve), "a %s cannot be called %s", what, quote(name))
	}
}

// checkGroup looks at the name of a service's or gather's consumer group, unless one
// of those that it is made of is bad itself.
func (c *checker) checkGroup(u User) {
	group := lineage.GroupOf(c.p.Name, u.Name)
	if badName(c.p.Name) || badName(u.Name) || len(group) <= maxName {
		return
	}
	c.errorf(c.src.key(pathOf(u)), fmt.Sprintf("shorten the one or the other by %d letters", len(group)-maxName),
		"%s and the pipeline's name are too long together: their consumer group is called by both", c.call(u))
}

// checkName looks at a name that stands as a value. An empty one is missing or
// could not be read, which the decoder has reported.
func (c *checker) checkName(at, what, name string) {
	if name == "" || !badName(name) {
		return
	}
	shown := quote(name)
	if written, ok := c.src.variable[name]; ok {
		shown = written
		name = written // its letters are not for the hint either
	}
	c.errorf(c.src.value(at), nameHint(name, maxName), "%s cannot be called %s", what, shown)
}

// maxName is the longest name that broker.ValidName allows.
const maxName = 200

func badName(name string) bool { return broker.ValidName(name) != nil }

func nameHint(name string, longest int) string {
	if len(name) > longest {
		return fmt.Sprintf("use at most %d letters", longest)
	}
	return "use letters a-z A-Z, digits, and . _ -"
}

func (c *checker) checkBroker() {
	b := c.p.Broker
	scheme, rest, isURL := strings.Cut(b, "://")
	switch {
	case b == "embedded":
		return
	case isURL && slices.Contains([]string{"kafka", "kafkas", "redis", "rediss"}, scheme):
		if rest == "" {
			c.errorf(c.src.value("broker"), "write "+scheme+"://host:port", "the broker's address is missing")
		}
		return
	}
	hint := didYouMean(b, []string{"embedded"}, quoteOdd)
	if _, variable := c.src.variable[b]; hint == "" || variable {
		hint = "write embedded, kafka://host:port or redis://host:port"
	}
	c.errorf(c.src.value("broker"), hint, "%s is not a broker", c.src.show(b))
}

func (c *checker) checkDurability() {
	at := c.src.value("durability")
	switch d := c.p.Durability; {
	case d == "":
	case d != "fsync" && d != "os":
		c.errorf(at, "write fsync or os", "durability cannot be %s", c.src.show(d))
	case c.p.Broker != "embedded":
		c.errorf(at, "leave it out, or write broker: embedded", "durability is a setting of the embedded broker, which this pipeline does not use")
	}
}

func (c *checker) checkStarts() {
	for _, s := range c.g.services {
		c.checkStart(path("services", s, "start"), c.p.Services[s].Start)
	}
	for _, g := range c.g.gathers {
		c.checkStart(path("gather", g, "start"), c.p.Gather[g].Start)
	}
}

func (c *checker) checkStart(at, start string) {
	if start == "" || start == "beginning" || start == "end" {
		return
	}
	if age, err := broker.ParseDuration(start); err == nil && age > 0 {
		return
	}
	c.errorf(c.src.value(at), "write beginning, end, or an age such as 24h or 7d",
		"%s is not a place to start", c.src.show(start))
}

// StartPosition is the position that a start field of the pipeline means.
func StartPosition(start string, now time.Time) (broker.Position, error) {
	if start == "" {
		return broker.Start(), nil
	}
	return broker.ParsePosition(start, now)
}
