// SPDX-License-Identifier: Apache-2.0

// Package kinds lists the kinds of model that pipeline files can name. To add
// one, write a package that describes it as a [model.Kind], and add its line
// here.
package kinds

import (
	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/model/builtin"
	"github.com/millrace-ml/millrace/model/gomodel"
)

// All returns the kinds there are, in the order in which people read of them.
// The models are those that the program brings, by name; nil when it brings none.
func All(models map[string]model.Model) []model.Kind {
	return []model.Kind{
		builtin.Kind(),
		gomodel.Kind(models),
	}
}
