// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"reflect"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/model/kinds"
)

// models is the schema of a model: one of the forms that the kinds have.
func models() (*jsonschema.Schema, error) {
	var forms []*jsonschema.Schema
	for _, k := range kinds.All(nil) {
		if k.Arguments == nil {
			f, err := form(k, "", text("."))
			if err != nil {
				return nil, err
			}
			forms = append(forms, f)
			continue
		}
		for _, argument := range k.Arguments {
			f, err := form(k, argument, &jsonschema.Schema{Const: jsonschema.Ptr[any](argument)})
			if err != nil {
				return nil, err
			}
			forms = append(forms, f)
		}
		// An argument that is a variable may stand for any.
		forms = append(forms, &jsonschema.Schema{
			Type:       "object",
			Properties: map[string]*jsonschema.Schema{k.Name: {Type: "string", Description: k.About, Pattern: variable}},
			Required:   []string{k.Name},
		})
	}
	return &jsonschema.Schema{AnyOf: forms}, nil
}

// form is the schema of models of a kind with an argument.
func form(k model.Kind, argument string, argumentSchema *jsonschema.Schema) (*jsonschema.Schema, error) {
	s := &jsonschema.Schema{Properties: map[string]*jsonschema.Schema{}, AdditionalProperties: &jsonschema.Schema{Not: &jsonschema.Schema{}}}
	if options := k.FreshOptions(argument); options != nil {
		t := reflect.TypeOf(options).Elem()
		var err error
		s, err = jsonschema.ForType(t, &jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
			reflect.TypeFor[time.Duration](): text(durationPattern),
			reflect.TypeFor[[]string]():      {Type: "array", Items: text("."), MinItems: jsonschema.Ptr(1)},
		}})
		if err == nil {
			err = refine(s, t)
		}
		if err != nil {
			return nil, fmt.Errorf("make schema of model {%s: %s}: %w", k.Name, argument, err)
		}
	}
	s.Type, s.Types = "object", nil
	argumentSchema.Description = k.About
	s.Properties[k.Name] = argumentSchema
	s.PropertyOrder = append([]string{k.Name}, s.PropertyOrder...)
	s.Required = append([]string{k.Name}, s.Required...)
	return s, nil
}
