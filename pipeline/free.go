// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"math"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/millrace-ml/millrace/internal/settings"
)

// decodeMap fills a map: of structs by name, of texts, or of anything. Values of
// the last are what encoding/json would make of them, but for whole numbers,
// which are int.
func (d *decoder) decodeMap(at string, n ast.Node, v reflect.Value) {
	of := v.Type().Elem().Kind()
	if of == reflect.Struct {
		d.decodeStructs(at, n, v)
		return
	}
	if _, null := n.(*ast.NullNode); null {
		return
	}
	nodes, ok := pairs(n)
	if !ok {
		d.wrongKind(at, n, "a mapping", "write it in braces: {name: value}")
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, e := range d.index(nodes) {
		if of == reflect.Interface {
			elem := reflect.Zero(v.Type().Elem())
			if value := d.freeChild(join(at, e.key), e.value); value != nil {
				elem = reflect.ValueOf(value)
			}
			v.SetMapIndex(reflect.ValueOf(e.key), elem)
			continue
		}
		elem := reflect.New(v.Type().Elem()).Elem()
		d.decode(join(at, e.key), e.value, elem, settings.Field{})
		v.SetMapIndex(reflect.ValueOf(e.key), elem)
	}
}

// free decodes a node that may be anything.
func (d *decoder) free(at string, n ast.Node) any {
	switch n := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		nodes, _ := pairs(n)
		m := make(map[string]any, len(nodes))
		for _, e := range d.index(nodes) {
			m[e.key] = d.freeChild(join(at, e.key), e.value)
		}
		return m
	case *ast.SequenceNode:
		list := make([]any, 0, len(n.Values))
		for i, item := range n.Values {
			list = append(list, d.freeChild(join(at, strconv.Itoa(i)), item))
		}
		return list
	case *ast.NullNode:
		return nil
	case *ast.BoolNode:
		return n.Value
	case *ast.IntegerNode:
		switch i := n.Value.(type) {
		case int64:
			return int(i)
		case uint64:
			if i <= math.MaxInt {
				return int(i)
			}
		}
		d.errorf(d.src.value(at), "", "%s: the number is too large", dotted(at))
	case *ast.FloatNode:
		return n.Value
	case *ast.StringNode:
		s, ok := d.expand(at, n, n.Value)
		if ok && s.variable && isPlain(n) {
			return typed(s.text)
		}
		return s.text
	case *ast.LiteralNode:
		s, _ := d.expand(at, n, n.Value.Value)
		return s.text
	default:
		d.errorf(d.src.value(at), "", "%s cannot be %s", dotted(at), kindOf(n))
	}
	return nil
}

func (d *decoder) freeChild(at string, n ast.Node) any {
	n, ok := d.enter(n)
	if !ok {
		return nil
	}
	defer d.leave()
	d.src.values[at] = spotOf(n)
	return d.free(at, n)
}

func isPlain(n *ast.StringNode) bool {
	return n.Token.Type != token.DoubleQuoteType && n.Token.Type != token.SingleQuoteType
}

// typed gives what a variable stands for the type that it would have if it were
// written in the file without quotes.
func typed(s string) any {
	switch s {
	case "true":
		return true
	case "false":
		return false
	}
	if i, err := strconv.Atoi(s); err == nil {
		return i
	}
	// Only what looks like a number: ParseFloat also takes "inf" and "nan".
	if strings.Trim(s, "0123456789+-.eE") == "" {
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			return f
		}
	}
	return s
}
