// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/millrace-ml/millrace/model"
)

func TestMakeChecksWhatItIsGiven(t *testing.T) {
	kind := greet()
	kind.Arguments = []string{"ann", "bob"}
	broken := greet()
	broken.New = func(context.Context, model.Spec) (model.Model, error) { return model.JSON[int, int]("", nil), nil }
	for want, c := range map[string]struct {
		kind model.Kind
		spec model.Spec
	}{
		"model {greet: }: the argument is missing":                                                                 {kind, model.Spec{}},
		"model {greet: anna}: there is no such model; did you mean ann?":                                           {kind, model.Spec{Argument: "anna"}},
		"model {greet: zoe}: there is no such model; there are ann, bob":                                           {kind, model.Spec{Argument: "zoe"}},
		"model {greet: ann}: option times: must be from 1 to 3, not 4":                                             {kind, model.Spec{Argument: "ann", Options: greetOptions{Times: 4}}},
		"model {greet: ann}: option word: is not polite":                                                           {kind, model.Spec{Argument: "ann", Options: &greetOptions{Word: "damn"}}},
		"model {greet: ann}: it takes options of the type model_test.greetOptions, not int":                        {kind, model.Spec{Argument: "ann", Options: 1}},
		"model {greet: ann}: model.JSON: the model's name is empty; give it one with a version, such as urgency@1": {broken, model.Spec{Argument: "ann"}},
	} {
		m, err := c.kind.Make(t.Context(), c.spec)
		if m != nil || err == nil || err.Error() != want {
			t.Errorf("got  %v, %v\nwant %s", m, err, want)
		}
	}
}

func TestMakeGivesNewAllItNeeds(t *testing.T) {
	kind := greet()
	var got model.Spec
	kind.New = func(_ context.Context, s model.Spec) (model.Model, error) { got = s; return doubler{}, nil }
	given := &greetOptions{Times: 3}
	if _, err := kind.Make(t.Context(), model.Spec{Argument: "ann", Options: given, Dir: "somewhere"}); err != nil {
		t.Fatal(err)
	}
	if o := got.Options.(*greetOptions); *o != (greetOptions{"hello", 3}) || given.Word != "" {
		t.Errorf("the options are %+v, given were %+v", o, given)
	}
	if got.Logger == nil {
		t.Error("the logger is nil")
	}
	if got.Path("a.yaml") != filepath.Join("somewhere", "a.yaml") || got.Path("/a.yaml") != "/a.yaml" || got.Path("") != "" {
		t.Errorf("paths are %q, %q, %q", got.Path("a.yaml"), got.Path("/a.yaml"), got.Path(""))
	}
}
