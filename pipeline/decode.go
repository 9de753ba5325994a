// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/millrace-ml/millrace/internal/settings"
)

// decoder fills the structs of a Pipeline from a YAML tree, by their tags. It
// reports whatever does not fit and goes on.
type decoder struct {
	*report
	options *options
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
	d.decode("", root, reflect.ValueOf(p).Elem(), settings.Field{})
}

var (
	durationType = reflect.TypeFor[Duration]()
	sizeType     = reflect.TypeFor[Size]()
	namesType    = reflect.TypeFor[Names]()
	batchType    = reflect.TypeFor[Batch]()
	modelType    = reflect.TypeFor[Model]()
	stdDuration  = reflect.TypeFor[time.Duration]() // in the options of models
)

// decode fills v from the node at path at.
func (d *decoder) decode(at string, n ast.Node, v reflect.Value, f settings.Field) {
	n, ok := d.enter(n)
	if !ok {
		return
	}
	defer d.leave()
	if at != "" {
		d.src.values[at] = spotOf(n)
	}
	switch v.Type() {
	case durationType, stdDuration:
		d.decodeDuration(at, n, v, f)
	case sizeType:
		d.decodeSize(at, n, v)
	case namesType:
		if _, list := n.(*ast.SequenceNode); list {
			d.decodeList(at, n, v)
		} else if s, ok := d.text(at, n, "a topic, or a list of topics"); ok {
			v.Set(reflect.ValueOf(Names{s}))
		}
	case batchType:
		d.decodeBatch(at, n, v)
	case modelType:
		d.decodeModel(at, n, v.Addr().Interface().(*Model))
	default:
		d.decodeKind(at, n, v, f)
	}
}

// decodeKind is decode for types that need no rules of their own.
func (d *decoder) decodeKind(at string, n ast.Node, v reflect.Value, f settings.Field) {
	switch v.Kind() {
	case reflect.Slice:
		d.decodeList(at, n, v)
	case reflect.Struct:
		d.decodeStruct(at, n, v)
	case reflect.Map:
		d.decodeMap(at, n, v)
	case reflect.Int:
		d.decodeInt(at, n, v, f)
	case reflect.Float64:
		d.decodeFloat(at, n, v, f)
	case reflect.Bool:
		d.decodeBool(at, n, v)
	case reflect.String:
		if s, ok := d.text(at, n, "text"); ok {
			v.SetString(s)
		}
	case reflect.Pointer:
		to := reflect.New(v.Type().Elem())
		d.leave() // it is the same node, not one within it
		d.decode(at, n, to.Elem(), f)
		d.depth++
		v.Set(to)
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
			d.errorf(spot{line: 1, column: 1}, "", "a value is missing")
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
		d.wrongKind(at, n, "a mapping", mappingHint(v.Type()))
		return
	}
	d.decodeFields(at, d.index(entries), v)
}

// decodeFields fills a struct from the entries of a mapping.
func (d *decoder) decodeFields(at string, given []entry, v reflect.Value) {
	fields := settings.Fields(v.Type())
	names := settings.Names(fields)
	recovered := map[string]bool{}
	for _, e := range given {
		i := slices.Index(names, e.key)
		if i >= 0 {
			d.src.keys[join(at, e.key)] = e.at
			d.decode(join(at, e.key), e.value, v.Field(fields[i].Index), fields[i])
			continue
		}
		// A misspelled field is read as the one that was likely meant, so
		// that it does not show up a second time as a missing one.
		guess, near := nearest(e.key, names)
		hint := didYouMean(e.key, names, quoteOdd)
		if !near {
			hint = "the fields here are " + strings.Join(names, ", ")
		}
		d.errorf(e.at, hint, "unknown field %s%s", quoteOdd(e.key), inside(at))
		if near && !isGiven(given, guess) && !recovered[guess] {
			recovered[guess] = true
			f := fields[slices.Index(names, guess)]
			d.decode(join(at, guess), e.value, v.Field(f.Index), f)
		}
	}
	for _, f := range fields {
		if f.Required && !isGiven(given, f.Name) && !recovered[f.Name] {
			d.errorf(d.src.key(at), fmt.Sprintf("add %s: …", f.Name), "%s is missing%s", f.Name, inside(at))
		}
	}
}

// mappingHint says what to write instead of a node that should be a mapping.
func mappingHint(t reflect.Type) string {
	return "write its fields: " + strings.Join(settings.Names(settings.Fields(t)), ", ")
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
		settings.Default(elem)
		d.src.keys[join(at, e.key)] = e.at
		d.decode(join(at, e.key), e.value, elem, settings.Field{})
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
		d.errorf(d.src.value(at), "name at least one", "%s is an empty list", dotted(at))
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
