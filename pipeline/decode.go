// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/millrace-ml/millrace/internal/spelling"
)

// decoder fills the structs of a Pipeline from a YAML tree, by their tags. It
// reports whatever does not fit and goes on.
type decoder struct {
	*report
	env     func(string) (string, bool)
	anchors map[string]ast.Node
	nodes   int // visited, aliases counted each time
	depth   int
	spent   bool // too many nodes or too deep: reported once
}

func (d *decoder) decodeFile(root ast.Node, p *Pipeline) {
	d.anchors = map[string]ast.Node{}
	for _, n := range ast.Filter(ast.AnchorType, root) {
		a := n.(*ast.AnchorNode)
		if a.Name != nil && a.Value != nil {
			d.anchors[a.Name.GetToken().Value] = a.Value
		}
	}
	d.decode("", root, reflect.ValueOf(p).Elem(), field{})
}

var (
	durationType = reflect.TypeFor[Duration]()
	sizeType     = reflect.TypeFor[Size]()
	namesType    = reflect.TypeFor[Names]()
)

// decode fills v from the node at path at.
func (d *decoder) decode(at string, n ast.Node, v reflect.Value, f field) {
	n, ok := d.enter(n)
	if !ok {
		return
	}
	defer d.leave()
	if at != "" {
		d.src.values[at] = spotOf(n)
	}
	switch {
	case v.Type() == durationType:
		d.decodeDuration(at, n, v, f)
	case v.Type() == sizeType:
		d.decodeSize(at, n, v)
	case v.Type() == namesType:
		if _, list := n.(*ast.SequenceNode); list {
			d.decodeList(at, n, v)
		} else if s, ok := d.text(at, n, "a topic, or a list of topics"); ok {
			v.Set(reflect.ValueOf(Names{s}))
		}
	case v.Kind() == reflect.Slice:
		d.decodeList(at, n, v)
	case v.Kind() == reflect.Struct:
		d.decodeStruct(at, n, v)
	case v.Kind() == reflect.Map && v.Type().Elem().Kind() == reflect.Struct:
		d.decodeStructs(at, n, v)
	case v.Kind() == reflect.Map:
		d.decodeOptions(at, n, v)
	case v.Kind() == reflect.Int:
		d.decodeInt(at, n, v, f)
	case v.Kind() == reflect.String:
		if s, ok := d.text(at, n, "text"); ok {
			v.SetString(s)
		}
	default:
		panic("pipeline: no decoder for " + v.Type().String())
	}
}

// enter follows anchors and aliases to the node that is meant, and counts it
// against the limits. When it returns true, leave must be called.
func (d *decoder) enter(n ast.Node) (ast.Node, bool) {
	from := n
	for range maxDepth {
		switch node := n.(type) {
		case *ast.AnchorNode:
			n = node.Value
			continue
		case *ast.AliasNode:
			name := node.Value.GetToken().Value
			target, ok := d.anchors[name]
			if !ok {
				d.errorf(spotOf(from), fmt.Sprintf("mark the value meant with &%s", name), "alias *%s stands for nothing", name)
				return nil, false
			}
			n = target
			continue
		case *ast.TagNode:
			d.errorf(spotOf(from), "leave it out", "tag %s is not understood", quote(node.Start.Value))
			return nil, false
		case nil:
			d.errorf(spot{1, 1}, "", "a value is missing")
			return nil, false
		}
		break
	}
	d.nodes++
	if d.depth >= maxDepth || d.nodes > maxNodes || isReference(n) {
		if !d.spent {
			d.errorf(spotOf(from), "write the values out instead of using aliases", "this is nested too deeply, or grows too large")
		}
		d.spent = true
		return nil, false
	}
	d.depth++
	return n, true
}

func (d *decoder) leave() { d.depth-- }

func isReference(n ast.Node) bool {
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode:
		return true
	}
	return false
}

func (d *decoder) decodeStruct(at string, n ast.Node, v reflect.Value) {
	entries, ok := pairs(n)
	if _, null := n.(*ast.NullNode); !ok && !null {
		d.wrongKind(at, n, "a mapping", mappingHint(v.Type(), n))
		return
	}
	fields := fieldsOf(v.Type())
	given := d.index(entries)
	recovered := map[string]bool{}
	for _, e := range given {
		f, known := fields[e.key]
		if !known {
			// A misspelled field is read as the one that was likely meant, so
			// that it does not show up a second time as a missing one.
			guess, near := spelling.Nearest(e.key, fieldNames(v.Type()))
			hint := didYouMean(e.key, fieldNames(v.Type()), quoteOdd)
			if !near {
				hint = "the fields here are " + strings.Join(fieldNames(v.Type()), ", ")
			}
			d.errorf(e.at, hint, "unknown field %s%s", quoteOdd(e.key), inside(at))
			if near && !isGiven(given, guess) && !recovered[guess] {
				recovered[guess] = true
				d.decode(join(at, guess), e.value, v.Field(fields[guess].index), fields[guess])
			}
			continue
		}
		d.src.keys[join(at, e.key)] = e.at
		d.decode(join(at, e.key), e.value, v.Field(f.index), f)
	}
	for _, name := range fieldNames(v.Type()) {
		if f := fields[name]; f.required && !isGiven(given, name) && !recovered[name] {
			d.errorf(d.src.key(at), fmt.Sprintf("add %s: …", name), "%s is missing%s", name, inside(at))
		}
	}
}

// mappingHint says what to write instead of a node that should be a mapping. A
// word where only one field is needed is likely that field's value.
func mappingHint(t reflect.Type, n ast.Node) string {
	var required []string
	for _, name := range fieldNames(t) {
		if fieldsOf(t)[name].required {
			required = append(required, name)
		}
	}
	if s, ok := n.(*ast.StringNode); ok && len(required) == 1 {
		return fmt.Sprintf("write {%s: %s}", required[0], quoteOdd(s.Value))
	}
	return "write its fields: " + strings.Join(fieldNames(t), ", ")
}

// decodeStructs fills a map of name to struct.
func (d *decoder) decodeStructs(at string, n ast.Node, v reflect.Value) {
	entries, ok := pairs(n)
	if _, null := n.(*ast.NullNode); !ok && !null {
		d.wrongKind(at, n, "a mapping of names", "write a name, a colon, and its fields in braces")
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, e := range d.index(entries) {
		elem := reflect.New(v.Type().Elem()).Elem()
		setDefaults(elem)
		d.src.keys[join(at, e.key)] = e.at
		d.decode(join(at, e.key), e.value, elem, field{})
		v.SetMapIndex(reflect.ValueOf(e.key), elem)
	}
}

// entry is a pair of a mapping.
type entry struct {
	key   string
	at    spot
	value ast.Node
}

// index returns the entries of a mapping and reports keys that are given twice;
// the first one counts.
func (d *decoder) index(nodes []*ast.MappingValueNode) []entry {
	lines := make(map[string]int, len(nodes))
	entries := make([]entry, 0, len(nodes))
	for _, n := range nodes {
		at := spotOf(n.Key)
		key, err := keyText(n.Key)
		if err != nil {
			d.errorf(at, "", "%v", err)
			continue
		}
		if strings.Contains(key, "${") {
			d.errorf(at, "write the name out", "variables are not expanded in keys")
			continue
		}
		if line, twice := lines[key]; twice {
			d.errorf(at, "keep one of them", "%s is given twice, first in line %d", quoteOdd(key), line)
			continue
		}
		lines[key] = at.line
		entries = append(entries, entry{key, at, n.Value})
	}
	return entries
}

func isGiven(entries []entry, key string) bool {
	for _, e := range entries {
		if e.key == key {
			return true
		}
	}
	return false
}

func (d *decoder) decodeList(at string, n ast.Node, v reflect.Value) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		d.wrongKind(at, n, "a list", "write it in brackets: [a, b]")
		return
	}
	if len(list.Values) == 0 {
		d.errorf(d.src.value(at), "name at least one topic", "%s is an empty list", dotted(at))
		return
	}
	names := reflect.MakeSlice(v.Type(), 0, len(list.Values))
	for i, item := range list.Values {
		itemAt := join(at, strconv.Itoa(i))
		item, ok := d.enter(item)
		if !ok {
			continue
		}
		d.src.values[itemAt] = spotOf(item)
		if s, ok := d.text(itemAt, item, "text"); ok {
			names = reflect.Append(names, reflect.ValueOf(s))
		}
		d.leave()
	}
	v.Set(names)
}

func (d *decoder) decodeInt(at string, n ast.Node, v reflect.Value, f field) {
	s, ok := d.scalar(at, n)
	if !ok {
		return
	}
	i, err := strconv.ParseInt(s.text, 10, 64)
	if literal, plain := n.(*ast.IntegerNode); plain {
		if i64, fits := literal.Value.(int64); fits {
			i, err = i64, nil // 0x10 and 1_000 too
		} else if u64, fits := literal.Value.(uint64); fits && u64 <= math.MaxInt64 {
			i, err = int64(u64), nil
		}
	} else if _, isText := n.(*ast.StringNode); !isText || !s.variable {
		err = strconv.ErrSyntax
	}
	if err != nil {
		d.wrongKind(at, n, "a whole number", "write it without quotes, such as 8")
		return
	}
	if i < f.min || i > f.max {
		d.errorf(d.src.value(at), "", "%s must be from %d to %d, not %s", dotted(at), f.min, f.max, s.shown())
		return
	}
	v.SetInt(i)
	d.hide(s, int(i))
}

func (d *decoder) decodeDuration(at string, n ast.Node, v reflect.Value, f field) {
	s, ok := d.scalar(at, n)
	if !ok {
		return
	}
	const hint = "write a number with ms, s, m, h or d, such as 500ms, 5s, 24h or 7d"
	if s.isNumber() && s.text != "0" {
		d.errorf(d.src.value(at), fmt.Sprintf("write %ss if you mean seconds", s.shown()), "%s needs a unit", dotted(at))
		return
	}
	duration, err := ParseDuration(s.text)
	switch {
	case err != nil:
		d.errorf(d.src.value(at), hint, "%s must be a length of time, not %s", dotted(at), s.shown())
	case duration == Forever && !f.forever:
		d.errorf(d.src.value(at), hint, "%s cannot be forever", dotted(at))
	case duration < 0 || duration == 0 && f.def != "0s":
		d.errorf(d.src.value(at), "", "%s must be longer than nothing, not %s", dotted(at), s.shown())
	default:
		v.SetInt(int64(duration))
		d.hide(s, duration)
	}
}

func (d *decoder) decodeSize(at string, n ast.Node, v reflect.Value) {
	s, ok := d.scalar(at, n)
	if !ok {
		return
	}
	size, err := ParseSize(s.text)
	switch {
	case err != nil:
		d.errorf(d.src.value(at), "write a number of bytes, or one with a unit such as 64KiB, 8MiB or 1GB",
			"%s must be a size, not %s", dotted(at), s.shown())
	case size <= 0:
		d.errorf(d.src.value(at), "", "%s must be more than nothing, not %s", dotted(at), s.shown())
	default:
		v.SetInt(int64(size))
		d.hide(s, size)
	}
}

// text reads a scalar that must be text. Numbers and the like are refused, for
// what they look like is not always what they are: 1e3, 0777, true.
func (d *decoder) text(at string, n ast.Node, want string) (string, bool) {
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		s, ok := d.scalar(at, n)
		if ok && s.text == "" {
			d.errorf(d.src.value(at), "", "%s is empty", dotted(at))
			ok = false
		}
		if ok {
			d.hide(s, s.text)
		}
		return s.text, ok
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		d.wrongKind(at, n, want, fmt.Sprintf("write it in quotes: %q", n.GetToken().Value))
	default:
		d.wrongKind(at, n, want, "")
	}
	return "", false
}

// hide makes messages show a value that came from a variable as it is written.
func (d *decoder) hide(s scalar, value any) {
	if s.variable {
		d.src.variable[fmt.Sprint(value)] = s.written
	}
}

// scalar is a value that is not a list or mapping, with variables expanded.
type scalar struct {
	node     ast.Node
	text     string
	written  string // as the file writes it
	variable bool
}

func (d *decoder) scalar(at string, n ast.Node) (scalar, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return d.expand(at, n, n.Value)
	case *ast.LiteralNode:
		return d.expand(at, n, n.Value.Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		text := n.GetToken().Value
		return scalar{node: n, text: text, written: text}, true
	}
	d.wrongKind(at, n, "a single value", "")
	return scalar{}, false
}

func (d *decoder) expand(at string, n ast.Node, written string) (scalar, bool) {
	text, variable, wrong := expand(written, d.env)
	for _, w := range wrong {
		d.errorf(d.src.value(at), w.hint, "%s: %s", dotted(at), w.message)
	}
	return scalar{n, text, written, variable}, len(wrong) == 0
}

// shown is the scalar in a message.
func (s scalar) shown() string {
	if s.variable || s.isNumber() {
		return s.written
	}
	return quote(s.written)
}

func (s scalar) isNumber() bool {
	switch s.node.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		return true
	}
	return false
}

func (d *decoder) wrongKind(at string, n ast.Node, want, hint string) {
	if at == "" {
		d.errorf(spotOf(n), "begin with: name: my-pipeline", "a pipeline file is a mapping, not %s", kindOf(n))
		return
	}
	d.errorf(d.src.value(at), hint, "%s must be %s, not %s", dotted(at), want, kindOf(n))
}

func join(at, key string) string {
	if at == "" {
		return key
	}
	return path(at, key)
}

// inside tells where a field is, for messages.
func inside(at string) string {
	if at == "" {
		return ""
	}
	return " in " + dotted(at)
}
