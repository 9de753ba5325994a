// SPDX-License-Identifier: Apache-2.0

package kinds_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/internal/settings"
	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/model/kinds"
)

// A newcomer's kind passes this before it is used.
func TestEveryKindIsDescribed(t *testing.T) {
	var names []string
	for _, k := range kinds.All(nil) {
		if k.Name == "" || k.About == "" || k.New == nil {
			t.Errorf("kind %q lacks a name, what its argument is, or what makes it", k.Name)
		}
		if slices.Contains(names, k.Name) {
			t.Errorf("there are two kinds %s", k.Name)
		}
		names = append(names, k.Name)
		for _, argument := range append(slices.Clone(k.Arguments), "any") {
			options := k.FreshOptions(argument)
			if options == nil {
				continue
			}
			v := reflect.ValueOf(options)
			if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct || !v.Elem().IsZero() {
				t.Errorf("{%s: %s}: the options are a %T, not a pointer to a zero struct", k.Name, argument, options)
				continue
			}
			settings.Default(v.Elem()) // panics when a default is not of its field's type
			for _, f := range settings.Fields(v.Elem().Type()) {
				if v.Elem().Type().Field(f.Index).Tag.Get("jsonschema") == "" {
					t.Errorf("{%s: %s}: option %s has no description", k.Name, argument, f.Name)
				}
				if f.Name == k.Name {
					t.Errorf("{%s: %s}: an option is called like the kind", k.Name, argument)
				}
			}
		}
	}
}

func TestModelsOfTheProgramAreArgumentsOfGo(t *testing.T) {
	all := kinds.All(map[string]model.Model{"urgency": nil, "mood": nil})
	i := slices.IndexFunc(all, func(k model.Kind) bool { return k.Name == "go" })
	if i < 0 || !slices.Equal(all[i].Arguments, []string{"mood", "urgency"}) || all[i].Note != nil {
		t.Errorf("%+v", all[i])
	}
}
