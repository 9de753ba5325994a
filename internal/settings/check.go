// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Wrong is a setting that cannot be as it is.
type Wrong struct {
	Path    []string // names of fields, keys and indexes that lead to it
	Message string   // goes on from its name: "must be from 1 to 8, not 9"
}

// Check finds what is wrong with a struct whose defaults are filled in, and with
// the structs in it.
func Check(v reflect.Value) []Wrong {
	var c checker
	c.structs(nil, v)
	return c.wrong
}

type checker struct{ wrong []Wrong }

func (c *checker) add(at []string, format string, args ...any) {
	c.wrong = append(c.wrong, Wrong{at, fmt.Sprintf(format, args...)})
}

func (c *checker) structs(at []string, v reflect.Value) {
	for _, f := range Fields(v.Type()) {
		c.field(append(slices.Clip(at), f.Name), f, v.Field(f.Index))
	}
}

func (c *checker) field(at []string, f Field, v reflect.Value) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	if f.Required && (v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0) {
		c.add(at, "is missing")
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		c.structs(at, v)
	case reflect.Map:
		if v.Type().Elem().Kind() != reflect.Struct {
			return
		}
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, key := range keys {
			c.structs(append(slices.Clip(at), key.String()), v.MapIndex(key))
		}
	case reflect.Slice:
		for i := range v.Len() {
			if v.Index(i).IsZero() {
				c.add(at, "has an empty item, number %d", i+1)
			}
		}
	case reflect.Int:
		// Zero is "not said" where there is no default to fill in.
		if n := v.Int(); (n != 0 || f.Default != "") && !f.Within(float64(n)) {
			c.add(at, "must be %s, not %d", f.Range(), n)
		}
	case reflect.Float64:
		if n := v.Float(); !f.Within(n) {
			c.add(at, "must be %s, not %v", f.Range(), n)
		}
	case reflect.Int64:
		switch n := v.Int(); {
		case n < 0:
			c.add(at, "must be more than nothing, not %v", v.Interface())
		case n == Forever && !f.Forever:
			c.add(at, "cannot be forever")
		}
	}
}

// Complete makes settings ready for use: those that were given, as a struct or a
// pointer to one, or none (nil), with their defaults filled in and checked.
// Fresh is a pointer to a zero struct of the type that is wanted, into which
// they are written; nil means that there are no settings.
func Complete(fresh, given any) (any, []Wrong) {
	if fresh == nil {
		if given != nil {
			return nil, []Wrong{{nil, "takes no options"}}
		}
		return nil, nil
	}
	to := reflect.ValueOf(fresh).Elem()
	if given != nil {
		from := reflect.ValueOf(given)
		if from.Kind() == reflect.Pointer && !from.IsNil() {
			from = from.Elem()
		}
		if from.Type() != to.Type() {
			return nil, []Wrong{{nil, fmt.Sprintf("takes options of the type %v, not %T", to.Type(), given)}}
		}
		to.Set(from)
		Fill(to)
	} else {
		Default(to)
	}
	return fresh, Check(to)
}
