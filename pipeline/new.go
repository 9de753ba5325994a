// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"maps"
	"reflect"

	"github.com/millrace-ml/millrace/internal/settings"
)

// New makes a pipeline that does not come from a file. Fields that are zero get
// their defaults, and all is checked as [Load] checks a file. The error is
// [Problems], which name the service and field. What is given is not changed. A
// pipeline that was loaded without the kinds of its models is not one for New: that
// is what [Pipeline.Resolve] is for.
func New(p Pipeline, opts ...Option) (*Pipeline, error) {
	p.src = nil
	q := p.clone()
	r := newReport(q)
	q.fill()
	for _, w := range settings.Check(reflect.ValueOf(q).Elem()) {
		at := path(w.Path...)
		r.errorf(r.src.value(at), "", "%s %s", dotted(at), w.Message)
	}
	c := &checker{report: r, options: newOptions(opts), p: q, g: newGraph(q)}
	for name, s := range q.Services {
		if at := path("services", name, "model"); s.Model.unread {
			c.errorf(c.src.value(at), "load it with pipeline.WithKinds, or call Resolve on what Load returned", "%s was read from a file without knowing its kind", dotted(at))
		} else {
			c.completeModel(at, &s.Model)
		}
		q.Services[name] = s
	}
	c.check()
	if problems := r.sorted(); problems.Errors() > 0 {
		return nil, problems
	}
	q.fillPartitions()
	return q, nil
}

func (p *Pipeline) clone() *Pipeline {
	q := *p
	q.Topics, q.Services, q.Gather = maps.Clone(p.Topics), maps.Clone(p.Services), maps.Clone(p.Gather)
	return &q
}

// fill gives all that is zero its default.
func (p *Pipeline) fill() {
	settings.Fill(reflect.ValueOf(p).Elem())
	for name, s := range p.Services {
		s.Batch.Auto = s.Batch == Batch{} || s.Batch == Batch{Auto: true}
		settings.Fill(reflect.ValueOf(&s).Elem())
		p.Services[name] = s
	}
	for name, g := range p.Gather {
		settings.Fill(reflect.ValueOf(&g).Elem())
		p.Gather[name] = g
	}
}

// newReport collects problems of a pipeline: with lines and columns if it comes
// from a file, and named if it was built in Go.
func newReport(p *Pipeline) *report {
	if p.src != nil {
		return &report{src: p.src}
	}
	return &report{src: newSource("", nil)}
}
