// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"testing"
)

func TestWrongOptionsAreRefusedWithASuggestion(t *testing.T) {
	for _, c := range []struct {
		model   string
		options map[string]any
		want    string
	}{
		{"taggr", nil, `no built-in model is called "taggr"; did you mean "tagger"?`},
		{"tagger", map[string]any{"feild": "body"}, `built-in model tagger: option feild is not known; did you mean "field"?`},
		{"tagger", map[string]any{"field": 7}, `built-in model tagger: option field must be a text, not the number 7`},
		{"tagger", map[string]any{"field": ""}, `built-in model tagger: option field must be a text, not an empty text`},
		{"identity", map[string]any{"x": 1}, `built-in model identity: option x is not known; this model has no options`},
		{"keywords", map[string]any{"max": 0}, `built-in model keywords: option max must be a whole number from 1 to 100, not the number 0`},
		{"keywords", map[string]any{"max": 2.5}, `built-in model keywords: option max must be a whole number from 1 to 100, not the number 2.5`},
		{"keywords", map[string]any{"products": "X30"}, `built-in model keywords: option products must be a list of texts, not the text "X30"`},
		{"keywords", map[string]any{"products": []any{"X30", 5}}, `built-in model keywords: option products: item 2 must be a text, not the number 5`},
		{"keywords", map[string]any{"colour": "red"}, `built-in model keywords: option colour is not known; there are catalogue, max, products`},
	} {
		_, err := New(c.model, c.options, "")
		if err == nil || err.Error() != c.want {
			t.Errorf("%s %v:\ngot  %v\nwant %s", c.model, c.options, err, c.want)
		}
	}
}

func TestNumbersMayComeFromAnyDecoder(t *testing.T) {
	for _, n := range []any{3, int64(3), uint64(3), 3.0} {
		if _, err := New("keywords", map[string]any{"max": n}, ""); err != nil {
			t.Errorf("%T: %v", n, err)
		}
	}
}

func TestTheNameChangesWithTheSettings(t *testing.T) {
	plain := newModel(t, "keywords", nil).Name()
	if plain != newModel(t, "keywords", nil).Name() {
		t.Error("the same settings have two names")
	}
	if plain == newModel(t, "keywords", map[string]any{"products": []any{"X30"}}).Name() {
		t.Error("another catalogue has the same name")
	}
}

func TestIdentityAnswersWithTheValue(t *testing.T) {
	if got := answer(t, newModel(t, "identity", nil), "any bytes \xff"); got != "any bytes \xff" {
		t.Errorf("%q", got)
	}
}
