// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/millrace-ml/millrace/deadletter"
	"github.com/millrace-ml/millrace/timeline"
)

// shape is the schema of what a body holds.
type shape = *jsonschema.Schema

const components = "#/components/schemas/"

// of is the shape of a Go type, which is one of the wireTypes.
func of[T any]() shape {
	return &jsonschema.Schema{Ref: components + reflect.TypeFor[T]().Name()}
}

func listOf[T any]() shape {
	return &jsonschema.Schema{Type: "array", Items: of[T]()}
}

// wireTypes are the Go types that cross the wire. What clients send may have no
// other fields; what is answered may get more in time.
func wireTypes() (received, answered []reflect.Type) {
	received = []reflect.Type{reflect.TypeFor[Seek](), reflect.TypeFor[deadletter.Selection]()}
	answered = []reflect.Type{
		reflect.TypeFor[Record](), reflect.TypeFor[Published](), reflect.TypeFor[Topic](), reflect.TypeFor[Partition](),
		reflect.TypeFor[Group](), reflect.TypeFor[Place](), reflect.TypeFor[Move](), reflect.TypeFor[timeline.Event](),
		reflect.TypeFor[deadletter.Listing](), reflect.TypeFor[deadletter.Letter](), reflect.TypeFor[DeadLetter](),
		reflect.TypeFor[deadletter.Done](), reflect.TypeFor[Error](),
	}
	return received, answered
}

// shapes are the schemas of all types, by name. Their fields are described by
// the types' tags.
func shapes() (map[string]shape, error) {
	opaque := map[reflect.Type]shape{
		reflect.TypeFor[time.Time]():        {Type: "string", Format: "date-time"},
		reflect.TypeFor[int32]():            {Type: "integer", Format: "int32"},
		reflect.TypeFor[int64]():            {Type: "integer", Format: "int64"},
		reflect.TypeFor[json.RawMessage]():  {},
		reflect.TypeFor[deadletter.State](): {Type: "string", Enum: []any{deadletter.Open, deadletter.Retried, deadletter.Dropped}},
		reflect.TypeFor[Text]():             of[Text](),
		reflect.TypeFor[Headers]():          of[Headers](),
	}
	all := map[string]shape{"Text": textShape(), "Headers": headersShape()}
	received, answered := wireTypes()
	types := slices.Concat(received, answered)
	for _, t := range types {
		known := map[reflect.Type]shape{}
		for o, s := range opaque {
			known[o] = s
		}
		for _, other := range types {
			if other != t && !embeds(t, other) {
				known[other] = &jsonschema.Schema{Ref: components + other.Name()}
			}
		}
		s, err := jsonschema.ForType(t, &jsonschema.ForOptions{TypeSchemas: known})
		if err != nil {
			return nil, fmt.Errorf("describe %s: %w", t, err)
		}
		tidy(s, slices.Contains(received, t))
		all[t.Name()] = s
	}
	envelope := all["Record"].CloneSchemas()
	envelope.Description = "A record to publish, as it was read or made by hand. Topic, partition, offset and time are ignored, and so are headers that begin with `mr-`."
	envelope.Required = []string{"value"}
	envelope.AdditionalProperties = nothing()
	all["Envelope"] = envelope
	return all, nil
}

func embeds(t, field reflect.Type) bool {
	for i := range t.NumField() {
		if f := t.Field(i); f.Anonymous && f.Type == field {
			return true
		}
	}
	return false
}

// tidy takes out of a schema what a Go type allows and no body has: null in place
// of a list or of nothing.
func tidy(s shape, closed bool) {
	s.AdditionalProperties = nil
	if closed {
		s.AdditionalProperties = nothing()
	}
	for _, p := range s.Properties {
		if types := slices.DeleteFunc(p.Types, func(t string) bool { return t == "null" }); len(types) == 1 {
			p.Type, p.Types = types[0], nil
		}
	}
}

func nothing() shape { return &jsonschema.Schema{Not: &jsonschema.Schema{}} }

// textShape and headersShape are what the methods MarshalJSON write.
func textShape() shape {
	return &jsonschema.Schema{
		Description: "A text, or any bytes in base64.",
		AnyOf: []*jsonschema.Schema{{Type: "string"}, {
			Type:                 "object",
			Properties:           map[string]*jsonschema.Schema{"base64": {Type: "string", ContentEncoding: "base64"}},
			Required:             []string{"base64"},
			AdditionalProperties: nothing(),
		}},
	}
}

func headersShape() shape {
	return &jsonschema.Schema{
		Description: "Names and values; a name that repeats has a list of values.",
		Type:        "object",
		AdditionalProperties: &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
			of[Text](), {Type: "array", Items: of[Text]()},
		}},
	}
}
