// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace-ml/millrace/model"
)

func TestWrongOptionsAreRefused(t *testing.T) {
	for _, c := range []struct {
		model   string
		options any
		want    string
	}{
		{"taggr", nil, `model {builtin: taggr}: there is no such model; did you mean tagger?`},
		{"", nil, `model {builtin: }: the argument is missing`},
		{"tagger", KeywordsOptions{}, `model {builtin: tagger}: it takes options of the type builtin.TaggerOptions, not builtin.KeywordsOptions`},
		{"tagger", map[string]any{"field": "body"}, `model {builtin: tagger}: it takes options of the type builtin.TaggerOptions, not map[string]interface {}`},
		{"tagger", (*TaggerOptions)(nil), `model {builtin: tagger}: it takes options of the type builtin.TaggerOptions, not *builtin.TaggerOptions`},
		{"identity", TaggerOptions{}, `model {builtin: identity}: it takes no options`},
		{"keywords", KeywordsOptions{Max: 101}, `model {builtin: keywords}: option max: must be from 1 to 100, not 101`},
		{"keywords", KeywordsOptions{Products: []string{"X30", ""}}, `model {builtin: keywords}: option products: has an empty item, number 2`},
		{"nearest", nil, `model {builtin: nearest}: option items: is missing`},
		{"nearest", NearestOptions{Items: "x", Threshold: new(math.NaN())}, `model {builtin: nearest}: option threshold: must be from -1 to 1, not NaN`},
		{"nearest", NearestOptions{Items: "x", Threshold: new(-0.5), Examples: []string{"y"}}, `model {builtin: nearest}: option threshold: with examples it is a probability, from 0 to 1, not -0.5`},
	} {
		_, err := New(t.Context(), c.model, c.options, "")
		if err == nil || err.Error() != c.want {
			t.Errorf("%s %v:\ngot  %v\nwant %s", c.model, c.options, err, c.want)
		}
	}
}

func TestOptionsMayBeAStructOrAPointerToOne(t *testing.T) {
	given := &KeywordsOptions{Products: []string{"X30"}}
	a := newModel(t, "keywords", given)
	b := newModel(t, "keywords", *given)
	if a.Name() != b.Name() {
		t.Errorf("%s and %s", a.Name(), b.Name())
	}
	if given.Max != 0 {
		t.Error("what was given has changed")
	}
	if a.Name() != newModel(t, "keywords", KeywordsOptions{Products: []string{"X30"}, Max: 6}).Name() {
		t.Error("the default is not 6")
	}
}

func TestTheNameChangesWithTheSettings(t *testing.T) {
	plain := newModel(t, "keywords", nil).Name()
	if plain != newModel(t, "keywords", nil).Name() {
		t.Error("the same settings have two names")
	}
	if plain == newModel(t, "keywords", KeywordsOptions{Products: []string{"X30"}}).Name() {
		t.Error("another catalogue has the same name")
	}
}

func TestIdentityAnswersWithTheValue(t *testing.T) {
	if got := answer(t, newModel(t, "identity", nil), "any bytes \xff"); got != "any bytes \xff" {
		t.Errorf("%q", got)
	}
}

// What the table says that models read and write, they read and write.
func TestAnswersHaveTheFieldsThatTheShapeNames(t *testing.T) {
	texts := `{"text":"my mini is dead"}`
	tags := answer(t, newModel(t, "tagger", nil), texts)
	vector := answer(t, newModel(t, "embedder", nil), texts)
	kind := Kind()
	items := filepath.Join(t.TempDir(), "items.yaml")
	if err := os.WriteFile(items, []byte("- {id: a, title: the mini is dead}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		input   string
		options any
	}{
		"tagger": {texts, &TaggerOptions{Field: "text"}}, "embedder": {texts, &EmbedderOptions{Field: "text"}},
		"sentiment": {texts, &SentimentOptions{Field: "text"}}, "classifier": {tags, &ClassifierOptions{}},
		"keywords": {tags, &KeywordsOptions{}}, "nearest": {vector, &NearestOptions{Items: items}},
	} {
		shape := kind.Shape(model.Spec{Argument: name, Options: c.options})
		checkFields(t, name+" reads", c.input, shape.Reads)
		checkFields(t, name+" writes", answer(t, newModel(t, name, c.options), c.input), shape.Writes)
	}
}

func checkFields(t *testing.T, what, value string, names []string) {
	t.Helper()
	var found map[string]json.RawMessage
	if err := json.Unmarshal([]byte(value), &found); err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		t.Errorf("%s nothing that is known", what)
	}
	for _, name := range names {
		if _, ok := found[name]; !ok {
			t.Errorf("%s %s, which %s does not have", what, name, value)
		}
	}
}
