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
	"context"
	"maps"
	"slices"

	"github.com/millrace-ml/millrace/model"
)

// table is the one place that lists the models: a line each.
func table() map[string]entry {
	return map[string]entry{
		"classifier": describe(newClassifier, classifierShape),
		"embedder":   describe(newEmbedder, embedderShape),
		"identity":   identityEntry(),
		"keywords":   describe(newKeywords, keywordsShape),
		"nearest":    describe(newNearest, nearestShape),
		"sentiment":  describe(newSentiment, sentimentShape),
		"tagger":     describe(newTagger, taggerShape),
	}
}

// entry is what the table says about a model.
type entry struct {
	options func() any // a pointer to a zero struct; nil: there are no options
	shape   func(model.Spec) model.Shape
	make    func(context.Context, model.Spec) (model.Model, error)
}

// describe makes the entry of a model with options of type O.
func describe[O any](make func(context.Context, *O, model.Spec) (model.Model, error), shape func(*O) model.Shape) entry {
	return entry{
		options: func() any { return new(O) },
		shape:   func(s model.Spec) model.Shape { return shape(s.Options.(*O)) },
		make: func(ctx context.Context, s model.Spec) (model.Model, error) {
			return make(ctx, s.Options.(*O), s)
		},
	}
}

// Kind describes the built-in models to pipelines: {builtin: NAME, …}.
func Kind() model.Kind {
	entries := table()
	return model.Kind{
		Name:      "builtin",
		About:     "Name of a model that comes with Millrace",
		Arguments: slices.Sorted(maps.Keys(entries)),
		Options: func(name string) any {
			if e, ok := entries[name]; ok && e.options != nil {
				return e.options()
			}
			return nil
		},
		Shape: func(s model.Spec) model.Shape { return entries[s.Argument].shape(s) },
		New: func(ctx context.Context, s model.Spec) (model.Model, error) {
			return entries[s.Argument].make(ctx, s)
		},
	}
}

// New makes the built-in model of that name. Options are nil or of the type that
// is the model's, such as [NearestOptions], where zero fields mean the defaults;
// relative paths in them start at dir. Errors are those of [model.Kind.Make].
func New(ctx context.Context, name string, options any, dir string) (model.Model, error) {
	return Kind().Make(ctx, model.Spec{Argument: name, Options: options, Dir: dir})
}
