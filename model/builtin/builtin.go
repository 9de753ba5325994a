// SPDX-License-Identifier: Apache-2.0

// Package builtin makes the models that come with Millrace available to
// pipelines by name.
//
// The one idea: an adapter turns JSON into a text and a prediction into JSON,
// and nothing else. What a model does is in package text and its children,
// which know neither JSON nor records; what goes wrong with an item (no text,
// the wrong type, bytes that are not UTF-8) is said here, in the words of the
// record's owner, and marked with [model.Invalid], as trying again cannot help.
//
// Every model here may be used by several goroutines at once. A batch is
// answered with one buffer that all its values are slices of.
package builtin

import (
	"fmt"
	"maps"
	"slices"

	"github.com/millrace-ml/millrace/model"
)

// constructor makes a model of the options that a pipeline gives it. Relative
// paths among them start at dir, the pipeline file's folder.
type constructor func(o *options, dir string) (model.Model, error)

// constructors is the table of all models: one line each, never changed.
func constructors() map[string]constructor {
	return map[string]constructor{
		"classifier": newClassifier,
		"embedder":   newEmbedder,
		"identity":   newIdentity,
		"keywords":   newKeywords,
		"nearest":    newNearest,
		"sentiment":  newSentiment,
		"tagger":     newTagger,
	}
}

// Names lists the built-in models in alphabetical order.
func Names() []string {
	return slices.Sorted(maps.Keys(constructors()))
}

// New makes the built-in model of that name. Options come as YAML or JSON
// decodes them; relative paths in them start at dir, the folder of the pipeline
// file. An unknown name, an unknown option and an option of the wrong type are
// errors that name the nearest thing there is.
func New(name string, opts map[string]any, dir string) (model.Model, error) {
	construct, ok := constructors()[name]
	if !ok {
		return nil, fmt.Errorf("no built-in model is called %q%s", name, suggest(name, Names()))
	}
	o := newOptions(opts)
	m, err := construct(o, dir)
	// What is wrong with the options explains what is wrong with the model.
	if o.problem() != nil {
		err = o.problem()
	}
	if err != nil {
		return nil, fmt.Errorf("built-in model %s: %w", name, err)
	}
	return m, nil
}
