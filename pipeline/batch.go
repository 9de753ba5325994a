// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"reflect"

	"github.com/goccy/go-yaml/ast"
)

// Batch limits what one call of the model takes. A file may also say auto, which
// is the default.
type Batch struct {
	// Auto means that the file does not limit batches. Max, Bytes and Wait are
	// then the defaults. It is set by whoever reads or checks a pipeline.
	Auto bool `json:"-" default:"true"`

	Max   int      `json:"max,omitempty" example:"64" default:"256" min:"1" max:"65536" jsonschema:"At most this many records"`
	Bytes Size     `json:"bytes,omitempty" example:"1MiB" default:"16MiB" jsonschema:"At most about this many bytes, but at least one record"`
	Wait  Duration `json:"wait,omitempty" example:"20ms" default:"0s" jsonschema:"How long a batch may wait to grow. With 0 it is what has accumulated while the model was busy"`
}

// MarshalJSON writes the form that files have.
func (b Batch) MarshalJSON() ([]byte, error) {
	if b.Auto {
		return []byte(`"auto"`), nil
	}
	type plain Batch
	return marshal(plain(b))
}

func (d *decoder) decodeBatch(at string, n ast.Node, v reflect.Value) {
	const hint = "write auto, or its limits: {max: 64, bytes: 1MiB, wait: 20ms}"
	b := v.Addr().Interface().(*Batch)
	nodes, isMapping := pairs(n)
	_, null := n.(*ast.NullNode)
	_, isText := n.(*ast.StringNode)
	switch {
	case isMapping:
		b.Auto = false
		d.decodeFields(at, d.index(nodes), v)
	case null:
	case isText:
		if s, ok := d.scalar(at, n); ok && s.text != "auto" {
			d.errorf(d.src.value(at), hint, "%s must be auto or a mapping, not %s", dotted(at), s.shown())
		}
	default:
		d.wrongKind(at, n, "auto or a mapping", hint)
	}
}
