// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/millrace-ml/millrace/internal/settings"
	"github.com/millrace-ml/millrace/internal/spelling"
	"github.com/millrace-ml/millrace/model"
)

// Model names a model. A file writes {KIND: ARGUMENT}, with the options of the
// kind beside it.
type Model struct {
	Kind     string // such as "builtin" or "go"
	Argument string // what the kind calls for, such as a name

	// Options are a pointer to the struct that the kind reads them into, such as
	// *builtin.NearestOptions, with every default filled in, or nil when it has
	// none. A pipeline that is built in Go may have the struct itself here, or nil
	// for the defaults. In a file that was read without knowing the kind they are
	// a map[string]any.
	Options any

	unread bool // the file's options are not read yet, for want of the kind; see Pipeline.Resolve
}

// String is "argument (kind)".
func (m Model) String() string { return m.Argument + " (" + m.Kind + ")" }

// MarshalJSON writes the form that files have.
func (m Model) MarshalJSON() ([]byte, error) {
	named, err := marshal(map[string]string{m.Kind: m.Argument})
	if err != nil || m.Options == nil {
		return named, err
	}
	beside, err := marshal(m.Options)
	if err != nil || len(beside) <= len("{}") {
		return named, err
	}
	return append(append(named[:len(named)-1], ','), beside[1:]...), nil
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

func (d *decoder) decodeModel(at string, n ast.Node, m *Model) {
	nodes, ok := pairs(n)
	if !ok {
		hint := "write its kind and which one in braces: {KIND: NAME}"
		if s, isText := n.(*ast.StringNode); isText && len(d.options.kinds) > 0 {
			hint = fmt.Sprintf("write {%s: %s}", d.options.kinds[0].Name, quoteOdd(s.Value))
		}
		d.wrongKind(at, n, "a mapping", hint)
		return
	}
	given := d.index(nodes)
	for _, e := range given {
		d.src.keys[join(at, e.key)] = e.at
	}
	kind, named, ok := d.kindOf(at, given)
	if !ok {
		if d.options.open {
			d.leaveUnread(at, given, m)
		}
		return
	}
	m.Kind = kind.Name
	if m.Argument, ok = d.argument(join(at, named.key), named.value, kind); !ok {
		return
	}
	rest := slices.DeleteFunc(slices.Clone(given), func(e entry) bool { return e.key == named.key })
	fresh := kind.FreshOptions(m.Argument)
	if fresh == nil {
		for _, e := range rest {
			d.errorf(e.at, fmt.Sprintf("leave it out: {%s: %s} has no options", kind.Name, d.src.show(m.Argument)),
				"unknown field %s%s", quoteOdd(e.key), inside(at))
		}
		return
	}
	v := reflect.ValueOf(fresh).Elem()
	settings.Default(v)
	d.decodeFields(at, rest, v)
	m.Options = fresh
}

// kindOf finds the one entry that names the model's kind. One that is misspelled
// is reported and taken for the kind that was likely meant.
func (d *decoder) kindOf(at string, given []entry) (kind model.Kind, named entry, ok bool) {
	names := d.options.kindNames()
	for _, e := range given {
		k, known := d.options.kind(e.key)
		switch {
		case known && ok:
			d.errorf(e.at, "keep one of them", "%s is of two kinds, %s and %s", dotted(at), kind.Name, k.Name)
			return model.Kind{}, entry{}, false
		case known:
			kind, named, ok = k, e, true
		}
	}
	if ok || d.options.open && len(given) > 0 {
		return kind, named, ok
	}
	for _, e := range given {
		if guess, near := spelling.Nearest(e.key, names); near {
			d.errorf(e.at, didYouMean(e.key, names, quoteOdd), "there is no kind of model %s", quoteOdd(e.key))
			kind, _ = d.options.kind(guess)
			return kind, e, true
		}
	}
	d.errorf(d.src.value(at), "add one of "+strings.Join(names, ", ")+", such as {builtin: identity}", "%s does not name a kind of model", dotted(at))
	return model.Kind{}, entry{}, false
}

// argument reads a model's argument.
func (d *decoder) argument(at string, n ast.Node, kind model.Kind) (string, bool) {
	n, ok := d.enter(n)
	if !ok {
		return "", false
	}
	defer d.leave()
	d.src.values[at] = spotOf(n)
	s, ok := d.text(at, n, "text")
	if ok {
		ok = d.checkArgument(d.src.value(at), s, kind)
	}
	return s, ok
}

// checkArgument reports an argument that the kind does not know.
func (r *report) checkArgument(at spot, argument string, kind model.Kind) bool {
	if kind.Arguments == nil || slices.Contains(kind.Arguments, argument) {
		return true
	}
	hint := model.Suggest(argument, kind.Arguments)
	if _, variable := r.src.variable[argument]; variable {
		hint = "there are " + strings.Join(kind.Arguments, ", ") // the nearest would tell the variable's value
	}
	r.errorf(at, hint, "there is no %s model %s", kind.Name, r.src.show(argument))
	return false
}

// leaveUnread notes what a model looks like without its kind.
func (d *decoder) leaveUnread(at string, given []entry, m *Model) {
	m.unread = true
	for i, e := range given {
		value := d.freeChild(join(at, e.key), e.value)
		if i > 0 {
			if m.Options == nil {
				m.Options = map[string]any{}
			}
			m.Options.(map[string]any)[e.key] = value
			continue
		}
		m.Kind = e.key
		s, isText := value.(string)
		if !isText || s == "" {
			d.wrongKind(join(at, e.key), e.value, "text", "")
		}
		m.Argument = s
	}
}

// Resolve returns the pipeline with its models checked, and read where they were
// not yet for want of their kinds. The options are as in [Load]. The error is
// [Problems], with lines and columns where the pipeline came from a file. One that
// did not is checked as [New] does.
func (p *Pipeline) Resolve(opts ...Option) (*Pipeline, error) {
	if p.src == nil {
		return New(*p, opts...)
	}
	q := p.clone()
	c := &checker{report: newReport(p), options: newOptions(opts), p: q, g: newGraph(q)}
	var again *Pipeline
	for _, name := range c.g.services {
		s := q.Services[name]
		if s.Model.unread && again == nil && !c.options.open {
			var problems Problems
			if again, problems = Check(p.src.file, p.src.data, p.src.env, opts...); again == nil {
				return nil, problems
			}
		}
		if s.Model.unread && again != nil {
			s.Model = again.Services[name].Model
		}
		c.completeModel(path("services", name, "model"), &s.Model)
		q.Services[name] = s
	}
	if problems := c.sorted(); problems.Errors() > 0 {
		return nil, problems
	}
	return q, nil
}

// completeModel checks a model that does not come from a file, or once more one
// that does.
func (c *checker) completeModel(at string, m *Model) {
	switch {
	case m.unread || m.Kind == "" && m.Argument == "" && m.Options == nil:
		return // can be read later, or was reported
	case m.Kind == "":
		c.errorf(c.src.value(at), "it is one of "+strings.Join(c.options.kindNames(), ", "), "%s has no kind", dotted(at))
		return
	case m.Argument == "":
		c.errorf(c.src.value(at), "", "%s has no argument", dotted(at))
		return
	}
	kind, known := c.options.kind(m.Kind)
	switch {
	case !known && c.options.open:
		return
	case !known:
		c.errorf(c.src.value(at), model.Suggest(m.Kind, c.options.kindNames()), "there is no kind of model %s", quoteOdd(m.Kind))
		return
	}
	if !c.checkArgument(c.src.value(path(at, m.Kind)), m.Argument, kind) {
		return
	}
	options, wrong := settings.Complete(kind.FreshOptions(m.Argument), m.Options)
	for _, w := range wrong {
		if len(w.Path) == 0 {
			c.errorf(c.src.value(at), "", "model %s %s", m, w.Message)
			continue
		}
		place := path(append([]string{at}, w.Path...)...)
		c.errorf(c.src.value(place), "", "%s %s", dotted(place), w.Message)
	}
	m.Options = options
}

// ModelProblem is the problem that a service's model could not be made. It stands
// at the option that the error names ([model.OptionError]), or else at the model.
func (p *Pipeline) ModelProblem(service string, err error) Problem {
	r := newReport(p)
	at := path("services", service, "model", p.Services[service].Model.Kind)
	message := err
	if o, ok := errors.AsType[*model.OptionError](err); ok {
		at = path("services", service, "model", o.Option)
		message = o
	}
	r.errorf(r.src.value(at), "", "service %s: %s", r.src.show(service), r.src.withoutVariables(message.Error()))
	return r.problems[0]
}
