// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// field is what the struct tags say about a field of the file format:
//
//	json:"name"            its name; with omitempty or omitzero it is optional
//	default:"…"            what it is when the file does not say
//	min:"…" max:"…"        the range of a whole number
//	forever:"true"         a duration that may be without end
//
// Durations and sizes are positive, unless the default is 0s.
type field struct {
	index    int
	required bool
	def      string
	min, max int64
	forever  bool
}

// fieldNames returns the names of a struct's fields, in their order.
func fieldNames(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		if name, _, ok := fileName(t.Field(i)); ok {
			names = append(names, name)
		}
	}
	return names
}

func fieldsOf(t reflect.Type) map[string]field {
	fields := map[string]field{}
	for i := range t.NumField() {
		sf := t.Field(i)
		name, required, ok := fileName(sf)
		if !ok {
			continue
		}
		fields[name] = field{
			index:    i,
			required: required,
			def:      sf.Tag.Get("default"),
			min:      bound(sf, "min", math.MinInt64),
			max:      bound(sf, "max", math.MaxInt64),
			forever:  sf.Tag.Get("forever") == "true",
		}
	}
	return fields
}

func fileName(sf reflect.StructField) (name string, required, ok bool) {
	name, options, _ := strings.Cut(sf.Tag.Get("json"), ",")
	if !sf.IsExported() || name == "" || name == "-" {
		return "", false, false
	}
	return name, options == "", true
}

func bound(sf reflect.StructField, tag string, otherwise int64) int64 {
	text, ok := sf.Tag.Lookup(tag)
	if !ok {
		return otherwise
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		panic(fmt.Sprintf("pipeline: tag %s of field %s: %v", tag, sf.Name, err))
	}
	return n
}

// setDefaults gives the fields of a struct, and of structs in it, the values of
// their default tags.
func setDefaults(v reflect.Value) {
	t := v.Type()
	for i := range t.NumField() {
		sf, fv := t.Field(i), v.Field(i)
		if sf.Type.Kind() == reflect.Struct {
			setDefaults(fv)
			continue
		}
		text, ok := sf.Tag.Lookup("default")
		if !ok {
			continue
		}
		if err := setText(fv, text); err != nil {
			panic(fmt.Sprintf("pipeline: default of field %s: %v", sf.Name, err))
		}
	}
}

func setText(v reflect.Value, text string) error {
	switch v.Type() {
	case durationType:
		d, err := ParseDuration(text)
		v.SetInt(int64(d))
		return err
	case sizeType:
		s, err := ParseSize(text)
		v.SetInt(int64(s))
		return err
	}
	if v.Kind() == reflect.Int {
		n, err := strconv.Atoi(text)
		v.SetInt(int64(n))
		return err
	}
	v.SetString(text)
	return nil
}
