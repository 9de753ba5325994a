// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/millrace-ml/millrace/model"
)

// encoding/json is the judge of what is JSON and what a text says.
func FuzzTextIsReadAsEncodingJSONDoes(f *testing.F) {
	for _, s := range []string{
		`{"text":"a\u00e9\ud83d\ude00\n"}`, `"plain"`, `{"a":[1,-2.5e3,{"b":null}],"text":"x","text":"y"}`,
		`{"text":1}`, `{"text":"\ud800x"}`, `[]`, `{"text":"a"`, `{"text":"a"}}`, "{\"text\":\"\xff\"}", ` { } `, `01`, `"\u12"`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		got, err := appendText([]byte("before"), value, "text")
		if !bytes.HasPrefix(got, []byte("before")) {
			t.Fatalf("what stood before is %q", got)
		}
		if err != nil && !errors.Is(err, model.ErrInvalid) {
			t.Fatalf("%q: the error %v is not the item's", value, err)
		}
		want, ok := judge(value)
		if ok != (err == nil) {
			t.Fatalf("%q: error %v, encoding/json finds a text: %v", value, err, ok)
		}
		if ok && string(got[len("before"):]) != want {
			t.Fatalf("%q: text %q, want %q", value, got, want)
		}
	})
}

// judge is the text that a value holds.
func judge(value []byte) (string, bool) {
	if !json.Valid(value) || !utf8.Valid(value) {
		return "", false
	}
	depth, most := 0, 0
	quoted := false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == '{' || c == '['):
			depth++
			most = max(most, depth)
		case !quoted && (c == '}' || c == ']'):
			depth--
		}
	}
	if most > maxDepth {
		return "", false
	}
	var s string
	if json.Unmarshal(value, &s) == nil && value[bytes.IndexAny(value, `"n`)] == '"' {
		return s, true
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(value, &fields) != nil || !bytes.HasPrefix(fields["text"], []byte{'"'}) {
		return "", false
	}
	return s, json.Unmarshal(fields["text"], &s) == nil
}

func TestFloatsAreWrittenShort(t *testing.T) {
	for want, f := range map[string]float64{"0.5": 0.5, "1": 1, "0.3333": 1.0 / 3, "0": -0.00001, "-2.25": -2.25, "100": 100} {
		if got := string(appendFloat(nil, f, 4)); got != want {
			t.Errorf("%v is written %s, want %s", f, got, want)
		}
	}
}
