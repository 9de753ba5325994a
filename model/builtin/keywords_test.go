// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/model"
)

var products = []string{"RoboVac X30", "RoboVac Mini", "Rowan Home app"}

func TestKeywordsFollowTheTagger(t *testing.T) {
	text := "Hi,\n\nthe robovac x-30 left a “deep scratch” on my floor"
	ticket, err := json.Marshal(map[string]string{"text": text})
	if err != nil {
		t.Fatal(err)
	}
	tags := answer(t, newModel(t, "tagger", nil), string(ticket))
	var got struct {
		Keywords []struct {
			Text       string
			Score      float64
			Start, End int
		}
		Products []string
	}
	value := answer(t, newModel(t, "keywords", KeywordsOptions{Products: products}), tags)
	if err := json.Unmarshal([]byte(value), &got); err != nil {
		t.Fatalf("%s: %v", value, err)
	}
	found := map[string]bool{}
	for _, k := range got.Keywords {
		found[k.Text] = true
		if text[k.Start:k.End] != k.Text || k.Score <= 0 || k.Score > 1 {
			t.Errorf("keyword %+v, but the text has %q there", k, text[k.Start:k.End])
		}
	}
	if !found["deep scratch"] || !found["floor"] || len(found) != 2 {
		t.Errorf("keywords %v", found)
	}
	if fmt.Sprint(got.Products) != "[RoboVac X30]" {
		t.Errorf("products %q", got.Products)
	}
}

func TestKeywordsOfNoWordsAreNone(t *testing.T) {
	got := answer(t, newModel(t, "keywords", nil), `{"tokens":[]}`)
	if got != `{"keywords":[],"products":[]}` {
		t.Error(got)
	}
}

func TestATaggersAnswerIsChecked(t *testing.T) {
	m := newModel(t, "keywords", nil)
	good := `{"text":"ab","tag":"NOUN","start":0,"end":2}`
	for value, want := range map[string]string{
		`{"text":"hello"}`: `there is no field "tokens", which a tagger's answer has; it has "text"`,
		`"hello"`:          `the value is a string, expected a tagger's answer, {"tokens": […]}`,
		`{"tokens":{}}`:    `field "tokens" is an object, expected an array`,
		`{"tokens":[1]}`:   `token 1 is a number, expected an object`,
		`{"tokens":[` + good + `,{"text":"c","tag":"NOUN","start":1,"end":2}]}`:      `token 2 starts at byte 1, before the last one ends at 2`,
		`{"tokens":[{"text":"c","tag":"NOUN","start":0,"end":9}]}`:                   `token 1 goes from byte 0 to 9, but its text has 1`,
		`{"tokens":[{"text":"c","tag":"NN","start":0,"end":1}]}`:                     `token 1: "NN" is not a Universal POS tag`,
		`{"tokens":[{"text":"c","tag":"NOUN","start":0}]}`:                           `token 1: needs "text", "tag", "start" and "end"`,
		`{"tokens":[{"text":"c","tag":"X","start":99999999999,"end":100000000000}]}`: `token 1 ends at byte 100000000000; a text may have 16777216`,
	} {
		err := predict(t, m, value)[0].Err
		if !errors.Is(err, model.ErrInvalid) || err.Error() != want {
			t.Errorf("%s\ngot  %v\nwant %s", value, err, want)
		}
	}
}

func FuzzATaggersAnswerRebuildsItsText(f *testing.F) {
	f.Add("the X30 won't charge 😀")
	f.Add(" \n a\xff…")
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ToValidUTF8(text, "?")
		ticket, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		var tagged taggedText
		if err := tagged.read([]byte(answer(t, newModel(t, "tagger", nil), string(ticket)))); err != nil {
			t.Fatal(err)
		}
		for _, tok := range tagged.tokens {
			if string(tagged.text[tok.Start:tok.End]) != text[tok.Start:tok.End] {
				t.Fatalf("%q is rebuilt as %q", text, tagged.text)
			}
		}
	})
}

func TestTheCatalogueMayBeAFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("good.yaml", "company: Rowan\nproducts:\n  - name: RoboVac X30\n    description: a robot\n  - AirPure 500\n")
	write("none.yaml", "products: []\n")
	write("bare.yaml", "products: [{id: 1}]\n")
	m, err := New(t.Context(), "keywords", KeywordsOptions{Catalogue: "good.yaml"}, dir)
	if err != nil {
		t.Fatal(err)
	}
	got := answer(t, m, `{"tokens":[{"text":"x30","tag":"PROPN","start":0,"end":3},{"text":"airpure","tag":"PROPN","start":5,"end":12}]}`)
	if want := `{"keywords":[],"products":["RoboVac X30","AirPure 500"]}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for options, want := range map[string]string{
		"absent.yaml": "no such file",
		"none.yaml":   "there are no products",
		"bare.yaml":   "product 1 has no name",
	} {
		if _, err := New(t.Context(), "keywords", KeywordsOptions{Catalogue: options}, dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", options, err, want)
		}
	}
	if _, err := New(t.Context(), "keywords", KeywordsOptions{Catalogue: "good.yaml", Products: products}, dir); err == nil {
		t.Error("two catalogues were taken")
	}
}
