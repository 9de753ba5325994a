// SPDX-License-Identifier: Apache-2.0

// Package gomodel describes models that a Go program brings: {go: NAME}.
//
// The one idea: the file names the model, and the program that runs the file has
// it under that name. A program without it, such as millrace itself, can check
// all else about the file, and says who has to run it.
package gomodel

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/millrace-ml/millrace/model"
)

// Name is the key that names the kind in a pipeline file.
const Name = "go"

// Kind describes the models of a program, by the names that files use. Without
// any, files may name whatever they like, and nothing of it can be made.
func Kind(models map[string]model.Model) model.Kind {
	k := model.Kind{
		Name:  Name,
		About: "Name of a model that the Go program brings which runs the file (millrace.Models)",
		New: func(_ context.Context, s model.Spec) (model.Model, error) {
			m, ok := models[s.Argument]
			if !ok {
				return nil, fmt.Errorf("it comes from Go, and this program brings no models; %s", where(s.Argument))
			}
			return m, nil
		},
	}
	if len(models) == 0 {
		k.Note = func(name string) string {
			return fmt.Sprintf("model %s comes from Go: %s", name, where(name))
		}
		return k
	}
	k.Arguments = slices.Sorted(maps.Keys(models))
	return k
}

func where(name string) string {
	return fmt.Sprintf("run the file with the program that has it in its millrace.Models, as %q", name)
}
