// SPDX-License-Identifier: Apache-2.0

package builtin_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/model/builtin"
)

const deskDir = "../../examples/support-desk"

func newModel(t testing.TB, name string, options any) model.Model {
	t.Helper()
	m, err := builtin.New(t.Context(), name, options, deskDir)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// answer has the models predict one after the other, each on what the one
// before answered.
func answer(t testing.TB, ticket string, models ...model.Model) []byte {
	t.Helper()
	value := []byte(ticket)
	for _, m := range models {
		answers, err := m.Predict(context.Background(), []model.Item{{Value: value}})
		if err != nil {
			t.Fatalf("%s: %v", m.Name(), err)
		}
		if answers[0].Err != nil {
			t.Fatalf("%s: %v", m.Name(), answers[0].Err)
		}
		value = answers[0].Values[0]
	}
	return value
}

func decode[V any](t testing.TB, value []byte) (v V) {
	t.Helper()
	if err := json.Unmarshal(value, &v); err != nil {
		t.Fatalf("%v: %s", err, value)
	}
	return v
}

type labelled struct {
	Label  string             `json:"label"`
	Scores map[string]float64 `json:"scores"`
}

func checkLabelled(t *testing.T, value []byte, label string, labels int) {
	t.Helper()
	got := decode[labelled](t, value)
	if got.Label != label {
		t.Errorf("label is %s, want %s: %s", got.Label, label, value)
	}
	sum := 0.0
	for _, p := range got.Scores {
		sum += p
		if p > got.Scores[got.Label] {
			t.Errorf("the label is not the most probable: %s", value)
		}
	}
	if len(got.Scores) != labels || math.Abs(sum-1) > 0.001 {
		t.Errorf("%d scores sum to %v: %s", len(got.Scores), sum, value)
	}
}

func TestSentimentAnswersWithLabelAndScores(t *testing.T) {
	m := newModel(t, "sentiment", nil)
	checkLabelled(t, answer(t, `{"id":"1","text":"I am really angry, this is the worst machine I ever had. Useless!"}`, m), "negative", 3)
	checkLabelled(t, answer(t, `{"text":"Thank you so much, I love it, works wonderfully!"}`, m), "positive", 3)
}

func TestClassifierReadsTheTaggersAnswer(t *testing.T) {
	tagger, m := newModel(t, "tagger", nil), newModel(t, "classifier", nil)
	checkLabelled(t, answer(t, `{"text":"Where is my parcel? The tracking has not moved since Tuesday."}`, tagger, m), "delivery", 7)
	checkLabelled(t, answer(t, `{"text":"I would like to send the steamer back and get my money back"}`, tagger, m), "return_refund", 7)
}

type matches struct {
	Matches []struct {
		ID    string  `json:"id"`
		Title string  `json:"title"`
		Score float64 `json:"score"`
	} `json:"matches"`
}

func TestNearestFindsTheChecklistOfATicket(t *testing.T) {
	embedder := newModel(t, "embedder", nil)
	m := newModel(t, "nearest", builtin.NearestOptions{Items: "checklists.yaml"})
	got := decode[matches](t, answer(t, `{"text":"my robot sits on the dock all night but will not charge, the battery stays empty"}`, embedder, m))
	if len(got.Matches) == 0 || got.Matches[0].ID != "vac-wont-charge" || got.Matches[0].Title == "" {
		t.Fatalf("matches are %+v", got)
	}
	if len(got.Matches) > 3 {
		t.Errorf("%d matches, want 3 at most", len(got.Matches))
	}
	for i := 1; i < len(got.Matches); i++ {
		if got.Matches[i].Score > got.Matches[i-1].Score {
			t.Errorf("the matches are not in order: %+v", got)
		}
	}
}

func TestNearestAbstains(t *testing.T) {
	embedder := newModel(t, "embedder", nil)
	m := newModel(t, "nearest", builtin.NearestOptions{Items: "checklists.yaml"})
	value := answer(t, `{"text":"Dear hiring manager, please find my application as an accountant attached"}`, embedder, m)
	if string(value) != `{"matches":[]}` {
		t.Errorf("answered %s", value)
	}
}

func TestNearestHasNoThresholdWhenToldSo(t *testing.T) {
	embedder := newModel(t, "embedder", nil)
	m := newModel(t, "nearest", builtin.NearestOptions{Items: "checklists.yaml", Threshold: new(float64(-1)), Top: 5})
	if got := decode[matches](t, answer(t, `{"text":"hello"}`, embedder, m)); len(got.Matches) != 5 {
		t.Errorf("%d matches, want 5", len(got.Matches))
	}
}

func TestNearestLearnsFromExamples(t *testing.T) {
	embedder := newModel(t, "embedder", nil)
	m := newModel(t, "nearest", builtin.NearestOptions{Items: "checklists.yaml", Examples: []string{"training.jsonl", "training-2.jsonl", "training-3.jsonl"}})
	got := decode[matches](t, answer(t, `{"text":"the coffee machine leaks, there is a puddle under it every morning"}`, embedder, m))
	if len(got.Matches) == 0 || got.Matches[0].ID != "brew-leak" || got.Matches[0].Score > 1 {
		t.Errorf("matches are %+v", got)
	}
	if value := answer(t, `{"text":"Thank you so much for the quick delivery, I love it!"}`, embedder, m); string(value) != `{"matches":[]}` {
		t.Errorf("answered %s", value)
	}
}

func TestNearestExamplesThatAreWrongAreExplained(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"items.yaml":    "- {id: a, title: x}\n- {id: b, title: y}\n",
		"unknown.jsonl": `{"text":"x","checklist":"c"}`,
		"number.jsonl":  "\n" + `{"text":"x","checklist":7}`,
		"without.jsonl": `{"text":"x"}`,
		"garbage.jsonl": "nonsense",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for file, want := range map[string]string{
		"unknown.jsonl": `no item with the id "c"`,
		"number.jsonl":  "line 2",
		"without.jsonl": `no field "checklist"`,
		"garbage.jsonl": "not valid JSON",
		"absent.jsonl":  "absent.jsonl",
	} {
		_, err := builtin.New(t.Context(), "nearest", builtin.NearestOptions{Items: "items.yaml", Examples: []string{file}}, dir)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "option examples") {
			t.Errorf("%s: error is %v, want %s", file, err, want)
		}
	}
}

func TestNearestWithExamplesReadsTheText(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"items.yaml": "- {id: a, title: the coffee is cold}\n- {id: b, title: the robot is stuck}\n",
		"known.jsonl": `{"text":"cold coffee","checklist":"a","class":"help_needed"}
{"text":"stuck robot","checklist":"b"}
{"text":"thank you","checklist":null,"class":"compliment"}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	options := builtin.NearestOptions{Items: "items.yaml", Examples: []string{"known.jsonl"}}
	m, err := builtin.New(t.Context(), "nearest", options, dir)
	if err != nil {
		t.Fatal(err)
	}
	vector := strings.TrimSuffix(string(answer(t, `{"text":"x"}`, newModel(t, "embedder", nil))), `,"text":"x"}`)
	for value, want := range map[string]string{
		vector + `}`:                      `there is no field "text"`,
		vector + `,"text":7}`:             "a number",
		vector + `,"text":"x","text":""}`: "twice",
	} {
		answers, err := m.Predict(context.Background(), []model.Item{{Value: []byte(value)}})
		if err != nil {
			t.Fatal(err)
		}
		if got := answers[0].Err; !errors.Is(got, model.ErrInvalid) || !strings.Contains(got.Error(), want) {
			t.Errorf("%.20s…%s: error is %v, want an invalid item: %s", value, value[len(vector):], got, want)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "known.jsonl"), []byte(`{"text":"x","checklist":null,"class":7}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := builtin.New(t.Context(), "nearest", options, dir); err == nil || !strings.Contains(err.Error(), `field "class" is 7`) {
		t.Errorf("error is %v, want one about the class", err)
	}
}

func TestEmbedderAnswersWithAVectorOfLengthOne(t *testing.T) {
	type vector struct {
		Vector []float64
		Text   string
	}
	m := newModel(t, "embedder", builtin.EmbedderOptions{Field: "body"})
	if got := decode[vector](t, answer(t, `{"body":"\"cold\" ☕"}`, m)).Text; got != `"cold" ☕` {
		t.Errorf("the text is %q", got)
	}
	length := 0.0
	for _, x := range decode[vector](t, answer(t, `{"body":"the coffee is cold"}`, m)).Vector {
		length += x * x
	}
	if math.Abs(length-1) > 0.01 {
		t.Errorf("the vector's length is %v", length)
	}
	for _, x := range decode[vector](t, answer(t, `{"body":""}`, m)).Vector {
		if x != 0 {
			t.Fatal("the vector of an empty text is not zero")
		}
	}
}

func TestItemsThatAreWrongAreInvalid(t *testing.T) {
	for _, test := range []struct{ model, value, want string }{
		{"sentiment", `{"body":"x"}`, `there is no field "text"`},
		{"sentiment", `{"text":7}`, "a number"},
		{"embedder", `{`, "not valid JSON"},
		{"classifier", `{"text":"x"}`, "tokens"},
		{"nearest", `{"text":"x"}`, `there is no field "vector"`},
		{"nearest", `{"vector":[1,2]}`, "has 2 numbers"},
		{"nearest", `{"vector":"x"}`, "a string"},
		{"nearest", `{"vector":[],"vector":[]}`, "has 0 numbers"},
		{"nearest", `[1]`, "an array"},
		{"nearest", ``, "empty"},
	} {
		var options any
		if test.model == "nearest" {
			options = builtin.NearestOptions{Items: "checklists.yaml"}
		}
		answers, err := newModel(t, test.model, options).Predict(context.Background(), []model.Item{{Value: []byte(test.value)}})
		if err != nil {
			t.Fatal(err)
		}
		got := answers[0].Err
		if !errors.Is(got, model.ErrInvalid) || !strings.Contains(got.Error(), test.want) {
			t.Errorf("%s on %s: error is %v, want an invalid item: %s", test.model, test.value, got, test.want)
		}
	}
}

func TestOneBadItemLeavesItsBatchAlone(t *testing.T) {
	m := newModel(t, "sentiment", nil)
	answers, err := m.Predict(context.Background(), []model.Item{
		{Value: []byte(`{"text":"good"}`)}, {Value: []byte(`nonsense`)}, {Value: []byte(`{"text":"bad"}`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if answers[0].Err != nil || answers[1].Err == nil || answers[2].Err != nil {
		t.Errorf("errors are %v, %v, %v", answers[0].Err, answers[1].Err, answers[2].Err)
	}
}

func TestOptionsThatAreWrongAreExplained(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("twice.yaml", "- {id: a, title: x}\n- {id: a, title: y}\n")
	write("bare.yaml", "- {id: a}\n")
	write("none.yaml", "[]\n")
	write("bad.bin", "these are no weights")
	for _, test := range []struct {
		model   string
		options any
		want    string
	}{
		{"nearest", nil, "option items: is missing"},
		{"nearest", builtin.NearestOptions{Items: "absent.yaml"}, "absent.yaml"},
		{"nearest", builtin.NearestOptions{Items: "twice.yaml"}, `"a" is there twice`},
		{"nearest", builtin.NearestOptions{Items: "bare.yaml"}, "has no title"},
		{"nearest", builtin.NearestOptions{Items: "none.yaml"}, "no items"},
		{"sentiment", builtin.SentimentOptions{Weights: "bad.bin"}, "bad.bin"},
		{"classifier", builtin.ClassifierOptions{Weights: "bad.bin"}, "not usable as weights"},
	} {
		_, err := builtin.New(t.Context(), test.model, test.options, dir)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s %v: error is %v, want %s", test.model, test.options, err, test.want)
		}
	}
}

func benchmark(b *testing.B, m model.Model, value string) {
	items := make([]model.Item, 256)
	for i := range items {
		items[i].Value = []byte(value)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Predict(context.Background(), items); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(items)*b.N)/b.Elapsed().Seconds(), "items/s")
}

const ticket = `{"id":"T-1","text":"Hi, my RoboVac X30 does not find its dock any more since the last update. I have cleaned the contacts twice, what else can I do?"}`

func BenchmarkSentiment(b *testing.B) { benchmark(b, newModel(b, "sentiment", nil), ticket) }

func BenchmarkEmbedder(b *testing.B) { benchmark(b, newModel(b, "embedder", nil), ticket) }

func BenchmarkClassifier(b *testing.B) {
	benchmark(b, newModel(b, "classifier", nil), string(answer(b, ticket, newModel(b, "tagger", nil))))
}

func BenchmarkNearest(b *testing.B) {
	m := newModel(b, "nearest", builtin.NearestOptions{Items: "checklists.yaml", Examples: []string{"training.jsonl", "training-2.jsonl", "training-3.jsonl"}})
	benchmark(b, m, string(answer(b, ticket, newModel(b, "embedder", nil))))
}
