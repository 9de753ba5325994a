// SPDX-License-Identifier: Apache-2.0

// Package settings reads what the tags of a struct say about the settings that
// its fields hold, gives them their defaults and checks their values.
//
// The one idea: a struct is the one place that describes a group of settings.
// The pipeline file, its JSON Schema, its reference (docs/pipeline.md) and
// settings that are filled in by a Go program all follow from the same tags:
//
//	json:"name"            its name; with omitempty or omitzero it is optional
//	jsonschema:"…"         what it is, for people
//	default:"…"            what it is when nothing is said
//	min:"…" max:"…"        the range of a number
//	forever:"true"         a length of time that may be without end
//	example:"…"            a value as files write it, for the reference
//
// Whole numbers of 64 bits are lengths of time and sizes: they are positive,
// unless the default is 0s. A tag that cannot be read is a fault of the program
// and panics.
package settings

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Forever is a length of time without end.
const Forever = math.MaxInt64

// Field is what the tags say about a field.
type Field struct {
	Name     string // as files write it
	Index    int    // in the struct
	Required bool
	About    string  // what it is, for people
	Default  string  // empty: none
	Example  string  // as files write it
	Min, Max float64 // infinite: no bound
	Forever  bool
}

// Fields returns those of a struct that have a name in files, in their order.
func Fields(t reflect.Type) []Field {
	var fields []Field
	for i := range t.NumField() {
		sf := t.Field(i)
		name, options, _ := strings.Cut(sf.Tag.Get("json"), ",")
		if !sf.IsExported() || name == "" || name == "-" {
			continue
		}
		fields = append(fields, Field{
			Name:     name,
			Index:    i,
			Required: options == "",
			About:    sf.Tag.Get("jsonschema"),
			Default:  sf.Tag.Get("default"),
			Example:  sf.Tag.Get("example"),
			Min:      bound(sf, "min", math.Inf(-1)),
			Max:      bound(sf, "max", math.Inf(1)),
			Forever:  sf.Tag.Get("forever") == "true",
		})
	}
	return fields
}

// Names returns the names of the fields, in their order.
func Names(fields []Field) []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	return names
}

func bound(sf reflect.StructField, tag string, otherwise float64) float64 {
	text, ok := sf.Tag.Lookup(tag)
	if !ok {
		return otherwise
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		panic(fmt.Sprintf("settings: tag %s of field %s: %v", tag, sf.Name, err))
	}
	return n
}

// Range says which numbers the field takes: "from 1 to 8".
func (f Field) Range() string {
	switch {
	case math.IsInf(f.Max, 1):
		return fmt.Sprintf("at least %v", f.Min)
	case math.IsInf(f.Min, -1):
		return fmt.Sprintf("at most %v", f.Max)
	}
	return fmt.Sprintf("from %v to %v", f.Min, f.Max)
}

// Within reports whether a number is in the field's range.
func (f Field) Within(n float64) bool { return n >= f.Min && n <= f.Max }

// Default gives the fields of a struct, and of structs in it, the values of
// their default tags.
func Default(v reflect.Value) { walk(v, func(reflect.Value) bool { return true }) }

// Fill is [Default] for the fields that are zero. Booleans stay as they are,
// for false may be meant.
func Fill(v reflect.Value) {
	walk(v, func(fv reflect.Value) bool { return fv.IsZero() && fv.Kind() != reflect.Bool })
}

func walk(v reflect.Value, wanted func(reflect.Value) bool) {
	t := v.Type()
	for i := range t.NumField() {
		sf, fv := t.Field(i), v.Field(i)
		if sf.IsExported() && sf.Type.Kind() == reflect.Struct {
			walk(fv, wanted)
			continue
		}
		text, ok := sf.Tag.Lookup("default")
		if !ok || !wanted(fv) {
			continue
		}
		if err := setText(fv, text); err != nil {
			panic(fmt.Sprintf("settings: default of field %s: %v", sf.Name, err))
		}
	}
}

func setText(v reflect.Value, text string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	if v.Type() == reflect.TypeFor[time.Duration]() {
		d, err := time.ParseDuration(text)
		v.SetInt(int64(d))
		return err
	}
	switch v.Kind() {
	case reflect.Int:
		n, err := strconv.Atoi(text)
		v.SetInt(int64(n))
		return err
	case reflect.Float64:
		n, err := strconv.ParseFloat(text, 64)
		v.SetFloat(n)
		return err
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		v.SetBool(b)
		return err
	}
	v.SetString(text)
	return nil
}
