// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"math"
	"reflect"
	"strconv"

	"github.com/goccy/go-yaml/ast"

	"github.com/millrace-ml/millrace/internal/settings"
)

func (d *decoder) decodeInt(at string, n ast.Node, v reflect.Value, f settings.Field) {
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
	if !f.Within(float64(i)) {
		d.errorf(d.src.value(at), "", "%s must be %s, not %s", dotted(at), f.Range(), s.shown())
		return
	}
	v.SetInt(i)
	d.hide(s, int(i))
}

func (d *decoder) decodeFloat(at string, n ast.Node, v reflect.Value, f settings.Field) {
	s, ok := d.scalar(at, n)
	if !ok {
		return
	}
	x, isNumber := typed(s.text).(float64)
	if i, whole := typed(s.text).(int); whole {
		x, isNumber = float64(i), true
	}
	if _, isText := n.(*ast.StringNode); !isNumber || isText && !s.variable {
		d.wrongKind(at, n, "a number", "write it without quotes, such as 0.5")
		return
	}
	if !f.Within(x) {
		d.errorf(d.src.value(at), "", "%s must be %s, not %s", dotted(at), f.Range(), s.shown())
		return
	}
	v.SetFloat(x)
	d.hide(s, x)
}

func (d *decoder) decodeBool(at string, n ast.Node, v reflect.Value) {
	s, ok := d.scalar(at, n)
	if !ok {
		return
	}
	b, isBool := typed(s.text).(bool)
	if _, isText := n.(*ast.StringNode); !isBool || isText && !s.variable {
		d.wrongKind(at, n, "true or false", "write true or false, without quotes")
		return
	}
	v.SetBool(b)
}

func (d *decoder) decodeDuration(at string, n ast.Node, v reflect.Value, f settings.Field) {
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
	case duration == Forever && !f.Forever:
		d.errorf(d.src.value(at), hint, "%s cannot be forever", dotted(at))
	case duration < 0 || duration == 0 && f.Default != "0s":
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
