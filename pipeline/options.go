// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"slices"

	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/model/gomodel"
)

// Option says what the caller knows about the models that a pipeline may name.
type Option func(*options)

// options are what the caller knows and this package does not.
type options struct {
	kinds  []model.Kind // those there are
	open   bool         // there may be others
	models []string     // that the program brings; nil: not known
}

// WithKinds says which kinds of model there are, most often all those of package
// model/kinds. Models are then checked, and their options read. Without it a
// model's first key counts as its kind, and the rest is read when the kinds are
// known, by [Pipeline.Resolve], which millrace.New calls.
func WithKinds(kinds ...model.Kind) Option {
	return func(o *options) { o.kinds, o.open = slices.Clone(kinds), false }
}

// WithModels says which models the program brings for {go: NAME}, so that other
// names are errors.
func WithModels(names ...string) Option {
	return func(o *options) { o.models = append([]string{}, names...) }
}

func newOptions(opts []Option) *options {
	o := &options{kinds: []model.Kind{gomodel.Kind(nil)}, open: true}
	for _, opt := range opts {
		opt(o)
	}
	if o.models == nil {
		return o
	}
	for i := range o.kinds {
		if o.kinds[i].Name == gomodel.Name {
			o.kinds[i].Arguments, o.kinds[i].Note = o.models, nil
		}
	}
	return o
}

// kind finds a kind by its name.
func (o *options) kind(name string) (model.Kind, bool) {
	i := slices.IndexFunc(o.kinds, func(k model.Kind) bool { return k.Name == name })
	if i < 0 {
		return model.Kind{}, false
	}
	return o.kinds[i], true
}

func (o *options) kindNames() []string {
	names := make([]string, len(o.kinds))
	for i, k := range o.kinds {
		names[i] = k.Name
	}
	return names
}
