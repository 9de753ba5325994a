// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/millrace-ml/millrace/pipeline"
)

// A text that contains a variable may be anything once it is expanded, so every
// pattern lets it pass.
const (
	variable        = `\$\{`
	namePattern     = `^[a-zA-Z0-9._-]{1,200}$`
	durationPattern = `^(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h|d))+$`
	sizePattern     = `^[0-9.]+ ?([kKMGT]?B|[KMGT]iB)?$`
	startPattern    = `^(beginning|end)$|` + durationPattern
	brokerPattern   = `^embedded$|^(kafkas?|rediss?)://.+`
)

func generate() ([]byte, error) {
	schema, err := build()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(schema); err != nil {
		return nil, fmt.Errorf("encode schema: %w", err)
	}
	return b.Bytes(), nil
}

func build() (*jsonschema.Schema, error) {
	name := text(namePattern)
	model, err := models()
	if err != nil {
		return nil, err
	}
	s, err := jsonschema.For[pipeline.Pipeline](&jsonschema.ForOptions{
		TypeSchemas: map[reflect.Type]*jsonschema.Schema{
			reflect.TypeFor[pipeline.Duration](): text(durationPattern),
			reflect.TypeFor[pipeline.Size](): {AnyOf: []*jsonschema.Schema{
				{Type: "integer", Minimum: jsonschema.Ptr(1.0)}, text(sizePattern),
			}},
			reflect.TypeFor[pipeline.Names](): {AnyOf: []*jsonschema.Schema{name, list(name)}},
			reflect.TypeFor[[]string]():       list(name),
			reflect.TypeFor[pipeline.Model](): model,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("make schema of pipeline.Pipeline: %w", err)
	}
	if err := refine(s, reflect.TypeFor[pipeline.Pipeline]()); err != nil {
		return nil, err
	}
	s.Schema = "https://json-schema.org/draft/2020-12/schema"
	s.Title = "Millrace pipeline"
	s.Description = "A graph of topics, services that run models on them, and gathers that join their results."
	s.Properties["services"].MinProperties = jsonschema.Ptr(1)
	for at, pattern := range map[string]string{"broker": brokerPattern, "name": namePattern, "durability": `^(fsync|os)$`} {
		replace(s.Properties[at], text(pattern))
	}
	service, gather := s.Properties["services"].AdditionalProperties, s.Properties["gather"].AdditionalProperties
	replace(service.Properties["start"], text(startPattern))
	limits := *service.Properties["batch"]
	limits.Description = ""
	replace(service.Properties["batch"], &jsonschema.Schema{AnyOf: []*jsonschema.Schema{text("^auto$"), &limits}})
	replace(gather.Properties["start"], text(startPattern))
	for _, topic := range []*jsonschema.Schema{service.Properties["to"], gather.Properties["to"], gather.Properties["of"]} {
		replace(topic, text(namePattern))
	}
	return s, nil
}

// text is a text of that pattern, or one with a variable.
func text(pattern string) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: pattern + "|" + variable}
}

func list(of *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "array", Items: of, MinItems: jsonschema.Ptr(1), UniqueItems: true}
}

// replace puts what a value must be in place of what the Go type said, and
// keeps what describes it.
func replace(s, by *jsonschema.Schema) {
	description, def := s.Description, s.Default
	*s = *by
	s.Description, s.Default = description, def
}

// refine adds to a struct's schema what the tags say and jsonschema does not
// read: defaults, ranges, and what may be left empty.
func refine(s *jsonschema.Schema, t reflect.Type) error {
	if len(s.Required) == 0 {
		s.Type, s.Types = "", []string{"object", "null"} // "tickets:" alone is enough
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		property := s.Properties[name]
		if property == nil {
			continue
		}
		if err := refineField(property, f); err != nil {
			return fmt.Errorf("field %s of %s: %w", f.Name, t, err)
		}
	}
	return nil
}

func refineField(s *jsonschema.Schema, f reflect.StructField) error {
	switch {
	case f.Type == reflect.TypeFor[pipeline.Model]():
		return nil
	case f.Type.Kind() == reflect.Struct:
		return refine(s, f.Type)
	case f.Type.Kind() == reflect.Map && f.Type.Elem().Kind() == reflect.Struct:
		if name := f.Tag.Get("json"); strings.HasSuffix(name, ",omitempty") {
			s.Type, s.Types = "", []string{"object", "null"}
		}
		s.PropertyNames = &jsonschema.Schema{Pattern: namePattern}
		return refine(s.AdditionalProperties, f.Type.Elem())
	case f.Type.Kind() == reflect.Map:
		s.Type, s.Types = "", []string{"object", "null"}
	case f.Type == reflect.TypeFor[pipeline.Duration]():
		pattern := durationPattern
		if f.Tag.Get("forever") == "true" {
			pattern += "|^forever$"
		}
		replace(s, text(pattern))
		if f.Tag.Get("default") == "0s" {
			replace(s, &jsonschema.Schema{AnyOf: []*jsonschema.Schema{text(pattern), {Enum: []any{0}}}})
		}
	default:
		if err := refineNumber(s, f); err != nil {
			return err
		}
	}
	return setDefault(s, f)
}

// refineNumber gives a number its range, and lets a variable stand for it.
func refineNumber(s *jsonschema.Schema, f reflect.StructField) error {
	kind := f.Type.Kind()
	if kind == reflect.Pointer {
		kind = f.Type.Elem().Kind()
	}
	names := map[reflect.Kind]string{reflect.Int: "integer", reflect.Float64: "number", reflect.Bool: "boolean"}
	if names[kind] == "" {
		return nil
	}
	value := &jsonschema.Schema{Type: names[kind]}
	for tag, bound := range map[string]**float64{"min": &value.Minimum, "max": &value.Maximum} {
		text, ok := f.Tag.Lookup(tag)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("tag %s: %w", tag, err)
		}
		*bound = &n
	}
	replace(s, &jsonschema.Schema{AnyOf: []*jsonschema.Schema{value, {Type: "string", Pattern: variable}}})
	return nil
}

func setDefault(s *jsonschema.Schema, f reflect.StructField) error {
	def, ok := f.Tag.Lookup("default")
	if !ok {
		return nil
	}
	var value any = def
	switch f.Type.Kind() {
	case reflect.Int, reflect.Float64, reflect.Bool:
		value = json.RawMessage(def)
	}
	data, err := json.Marshal(value)
	s.Default = data
	return err
}
