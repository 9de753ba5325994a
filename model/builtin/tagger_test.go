// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/model"
)

func newModel(t testing.TB, name string, options any) model.Model {
	t.Helper()
	m, err := New(t.Context(), name, options, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// predict answers values in one batch.
func predict(t testing.TB, m model.Model, values ...string) []model.Answer {
	t.Helper()
	items := make([]model.Item, len(values))
	for i, v := range values {
		items[i].Value = []byte(v)
	}
	answers, err := m.Predict(context.Background(), items)
	if err != nil {
		t.Fatal(err)
	}
	if len(answers) != len(values) {
		t.Fatalf("%d answers to %d items", len(answers), len(values))
	}
	return answers
}

// answer is the one value that m answers value with.
func answer(t testing.TB, m model.Model, value string) string {
	t.Helper()
	a := predict(t, m, value)[0]
	if a.Err != nil || len(a.Values) != 1 {
		t.Fatalf("%d values, error %v", len(a.Values), a.Err)
	}
	return string(a.Values[0])
}

func TestTaggerAnswersWithTokensTagsAndByteOffsets(t *testing.T) {
	m := newModel(t, "tagger", nil)
	got := answer(t, m, `{"id": 7, "text": "The caf\u00e9 \ud83d\ude00 didn't open"}`)
	want := `{"tokens":[{"text":"The","tag":"DET","start":0,"end":3},` +
		`{"text":"café","tag":"NOUN","start":4,"end":9},` +
		`{"text":"😀","tag":"SYM","start":10,"end":14},` +
		`{"text":"did","tag":"AUX","start":15,"end":18},` +
		`{"text":"n't","tag":"PART","start":18,"end":21},` +
		`{"text":"open","tag":"VERB","start":22,"end":26}]}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestTaggerTakesAPlainStringAndAnotherField(t *testing.T) {
	want := `{"tokens":[{"text":"Hello","tag":"INTJ","start":0,"end":5}]}`
	if got := answer(t, newModel(t, "tagger", nil), `"Hello"`); got != want {
		t.Errorf("plain string: %s", got)
	}
	m := newModel(t, "tagger", TaggerOptions{Field: "body"})
	if got := answer(t, m, `{"text": 1, "body": "Hello"}`); got != want {
		t.Errorf("field body: %s", got)
	}
}

func TestTaggerAnswersEmptyTextWithNoTokens(t *testing.T) {
	m := newModel(t, "tagger", nil)
	for _, value := range []string{`""`, `{"text":""}`, `{"text":" \n\t "}`} {
		if got := answer(t, m, value); got != `{"tokens":[]}` {
			t.Errorf("%s: %s", value, got)
		}
	}
}

func TestBadItemsFailAloneAndSayWhy(t *testing.T) {
	m := newModel(t, "tagger", nil)
	deep := strings.Repeat("[", 100_000)
	bad := map[string]string{
		``:                        `the value is empty, expected JSON`,
		`hello`:                   `not valid JSON: 'h' at byte 0, expected a number`,
		`{"text": "a`:             `not valid JSON: it ends at byte 11, expected '"'`,
		`{"text": "a"} x`:         `not valid JSON: 'x' at byte 14, expected the end`,
		`{"texts": "a", "n": 1}`:  `there is no field "text"; it has "texts", "n"`,
		`{}`:                      `there is no field "text"; the object has no fields`,
		`{"text": 12}`:            `field "text" is a number, expected a string`,
		`{"text": null}`:          `field "text" is null, expected a string`,
		`[1]`:                     `the value is an array, expected an object with a field "text" or a string`,
		"{\"text\": \"ab\xffc\"}": `not valid UTF-8: byte 0xff at byte 12`,
		`{"a":` + deep:            `nested deeper than 200 levels`,
		"{\"text\": \"a\nb\"}":    `not valid JSON: control character 0x0a at byte 11 must be escaped`,
		`{"text": "\ud8zz"}`:      `not valid JSON: 'z' at byte 14, expected four hexadecimal digits`,
	}
	for value, want := range bad {
		answers := predict(t, m, `"good"`, value, `"too"`)
		if answers[0].Err != nil || answers[2].Err != nil {
			t.Errorf("%.40s: its neighbours failed: %v, %v", value, answers[0].Err, answers[2].Err)
		}
		err := answers[1].Err
		if !errors.Is(err, model.ErrInvalid) || err.Error() != want {
			t.Errorf("%.40s:\ngot  %v\nwant %s", value, err, want)
		}
	}
}

func TestTaggerTakesAMegabyteOfText(t *testing.T) {
	m := newModel(t, "tagger", nil)
	for name, text := range map[string]string{
		// Long words and much space: what is tested is the size, not the patience
		// of the race detector.
		"prose":     strings.Repeat("unforeseeable misunderstandings notwithstanding, "+strings.Repeat(" ", 80), 1<<20/128),
		"one word":  strings.Repeat("a", 1<<20),
		"one chunk": strings.Repeat("a,b@", 1<<13) + strings.Repeat("b", 1<<20),
		"marks":     strings.Repeat("!'", 1<<14) + strings.Repeat(" ", 1<<20),
	} {
		value, err := json.Marshal(map[string]string{"text": text})
		if err != nil {
			t.Fatal(err)
		}
		got := answer(t, m, string(value))
		if n := strings.Count(got, `"tag":`); n == 0 || !strings.HasSuffix(got, "]}") {
			t.Errorf("%s: %d tokens", name, n)
		}
	}
}

func BenchmarkTagger(b *testing.B) {
	m := newModel(b, "tagger", nil)
	items := make([]model.Item, 64)
	for i := range items {
		items[i].Value = []byte(`{"id":"t-1","customer":"c-42","text":"hi, my robovac x-30 wont charge anymore since the last update. I've tried cleaning the contacts twice, what else can I do?"}`)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Predict(context.Background(), items); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*len(items))/b.Elapsed().Seconds(), "texts/s")
}

// The chain that the example runs: a ticket, its tags, its keywords.
func BenchmarkKeywords(b *testing.B) {
	tags := newModel(b, "tagger", nil)
	m := newModel(b, "keywords", KeywordsOptions{Products: []string{"RoboVac X30", "RoboVac Mini", "BrewMate Duo", "Rowan Home app"}})
	value := answer(b, tags, `{"text":"hi, my robovac x-30 wont charge anymore since the last update. I've tried cleaning the contacts twice, what else can I do?"}`)
	items := make([]model.Item, 64)
	for i := range items {
		items[i].Value = []byte(value)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Predict(context.Background(), items); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*len(items))/b.Elapsed().Seconds(), "texts/s")
}
