// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"context"

	"github.com/millrace-ml/millrace/model"
)

// identity answers every item with its own value. It measures what the broker
// and the services cost without a model.
type identity struct{}

// identityEntry has no options, and its answers look like whatever it reads.
func identityEntry() entry {
	return entry{
		shape: func(model.Spec) model.Shape { return model.Shape{} },
		make:  func(context.Context, model.Spec) (model.Model, error) { return identity{}, nil },
	}
}

func (identity) Name() string { return "identity@1" }

func (identity) Predict(_ context.Context, items []model.Item) ([]model.Answer, error) {
	out := newOutput(len(items))
	for i := range items {
		out.buf = append(out.buf, items[i].Value...)
		out.end(nil)
	}
	return out.answers(), nil
}
