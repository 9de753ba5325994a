// SPDX-License-Identifier: Apache-2.0

package gomodel_test

import (
	"context"
	"fmt"

	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/model/gomodel"
)

// The kind {go: NAME} of a program that brings the model shout.
func ExampleKind() {
	kind := gomodel.Kind(map[string]model.Model{
		"shout": model.Each("shout@1", func(_ context.Context, text string) (string, error) { return text + "!", nil }),
	})
	m, err := kind.Make(context.Background(), model.Spec{Argument: "shout"})
	fmt.Println(m.Name(), err)
	_, err = kind.Make(context.Background(), model.Spec{Argument: "shuot"})
	fmt.Println(err)
	// Output:
	// shout@1 <nil>
	// model {go: shuot}: there is no such model; did you mean shout?
}
