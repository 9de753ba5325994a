// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/model"
	"github.com/millrace-ml/millrace/model/builtin"
	"github.com/millrace-ml/millrace/model/kinds"
)

// testOptions has an option of every type.
type testOptions struct {
	Text   string            `json:"text,omitempty" default:"body"`
	Count  int               `json:"count,omitempty" default:"2" min:"1" max:"9"`
	Share  float64           `json:"share,omitempty" default:"0.5" min:"0" max:"1"`
	Cutoff *float64          `json:"cutoff,omitempty" max:"1"`
	On     bool              `json:"on,omitempty"`
	Wait   time.Duration     `json:"wait,omitempty" default:"1s"`
	List   []string          `json:"list,omitempty"`
	Env    map[string]string `json:"env,omitempty"`
	Extra  map[string]any    `json:"extra,omitempty"`
}

func testKind() model.Kind {
	return model.Kind{
		Name:    "test",
		Options: func(string) any { return new(testOptions) },
		New:     func(context.Context, model.Spec) (model.Model, error) { return nil, errors.New("not here") },
	}
}

func withModel(m string) []byte {
	return []byte("name: x\ntopics: {in: {}}\nservices:\n  a: {from: in, to: out, model: " + m + "}\n")
}

func TestOptionsOfEveryTypeAreRead(t *testing.T) {
	for text, want := range map[string]testOptions{
		`{test: it}`: {Text: "body", Count: 2, Share: 0.5, Wait: time.Second},
		`{text: t, test: it, count: 9, share: 1, cutoff: 0, on: true, wait: 1m, list: [a, b], env: {A: b, C: "1"}, extra: {n: 1, f: 2.5, l: [x, null], m: {k: true}}}`: {
			Text: "t", Count: 9, Share: 1, Cutoff: new(0.0), On: true, Wait: time.Minute, List: []string{"a", "b"},
			Env: map[string]string{"A": "b", "C": "1"}, Extra: map[string]any{"n": 1, "f": 2.5, "l": []any{"x", nil}, "m": map[string]any{"k": true}},
		},
		`{test: it, count: "${N:-3}", share: "${N:-1}", on: "${N:-true}", extra: "${N:-}"}`: {},
	} {
		p, err := Parse("p.yaml", withModel(text), nil, WithKinds(testKind()))
		if strings.Contains(text, `extra: "$`) {
			if err == nil || !strings.Contains(err.Error(), "services.a.model.extra must be a mapping") {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		equal(t, text, p.Services["a"].Model, Model{Kind: "test", Argument: "it", Options: &want})
	}
}

func TestOptionsThatCannotBeAreReportedWhereTheyStand(t *testing.T) {
	for option, want := range map[string]string{
		`count: 10`:       "services.a.model.count must be from 1 to 9, not 10",
		`count: "3"`:      `services.a.model.count must be a whole number, not "3"; write it without quotes, such as 8`,
		`share: 1.01`:     "services.a.model.share must be from 0 to 1, not 1.01",
		`share: .nan`:     "services.a.model.share must be a number, not the number .nan; write it without quotes, such as 0.5",
		`cutoff: 2`:       "services.a.model.cutoff must be at most 1, not 2",
		`on: yes`:         `services.a.model.on must be true or false, not "yes"; write true or false, without quotes`,
		`on: "true"`:      `services.a.model.on must be true or false, not "true"; write true or false, without quotes`,
		`wait: 5`:         "services.a.model.wait needs a unit; write 5s if you mean seconds",
		`wait: forever`:   "services.a.model.wait cannot be forever; write a number with ms, s, m, h or d, such as 500ms, 5s, 24h or 7d",
		`list: {a: b}`:    "services.a.model.list must be a list, not a mapping; write it in brackets: [a, b]",
		`env: {A: [b]}`:   "services.a.model.env.A must be text, not a list",
		`env: [A]`:        "services.a.model.env must be a mapping, not a list; write it in braces: {name: value}",
		`cuont: 3`:        "unknown field cuont in services.a.model; did you mean count?",
		`tezt: 3`:         "unknown field tezt in services.a.model; did you mean text?",
		`text: "${NONE}"`: "services.a.model.text: variable NONE is not set; set it in the environment, or give a default: ${NONE:-…}",
	} {
		_, problems := Check("p.yaml", withModel("{test: it, "+option+"}"), nil, WithKinds(testKind()))
		if len(problems) == 0 || problems[0].Line != 4 || problems[0].Column < 40 {
			t.Errorf("%s: %+v", option, problems)
			continue
		}
		if _, text, _ := strings.Cut(problems[0].String(), ": "); text != want {
			t.Errorf("%s:\ngot  %s\nwant %s", option, text, want)
		}
	}
}

func TestWithoutKindsAModelIsReadLater(t *testing.T) {
	p, err := Parse("p.yaml", withModel("{builtin: nearest, items: x.yaml, top: 7}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	m := p.Services["a"].Model
	if m.Kind != "builtin" || m.Argument != "nearest" {
		t.Errorf("%+v", m)
	}
	equal(t, "options", m.Options, map[string]any{"items": "x.yaml", "top": 7})

	resolved, err := p.Resolve(known()...)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "model", resolved.Services["a"].Model, Model{Kind: "builtin", Argument: "nearest", Options: &builtin.NearestOptions{
		Items: "x.yaml", Top: 7, Label: "checklist", Kind: "class", Field: "text",
	}})
	equal(t, "first", p.Services["a"].Model.Options, any(map[string]any{"items": "x.yaml", "top": 7})) // is not changed

	again, err := resolved.Resolve(known()...)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "model", again.Services["a"].Model, resolved.Services["a"].Model)
}

func TestWhatIsWrongWithAModelThatIsReadLaterHasALine(t *testing.T) {
	p, err := Parse("p.yaml", withModel("{builtin: nearest, items: x.yaml, top: 0}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Resolve(known()...)
	if err == nil || err.Error() != "p.yaml:4:72: services.a.model.top must be from 1 to 1000, not 0" {
		t.Errorf("%v", err)
	}
}

func TestAModelOfTheProgramIsKnownByItsName(t *testing.T) {
	p, err := Parse("p.yaml", withModel("{go: urgncy}"), nil)
	if err != nil {
		t.Fatalf("the names are not known, but %v", err)
	}
	const want = "p.yaml:4:38: there is no go model urgncy; did you mean urgency?"
	if _, err := Parse("p.yaml", withModel("{go: urgncy}"), nil, WithModels("urgency", "mood")); err == nil || err.Error() != want {
		t.Errorf("with the names: %v", err)
	}
	if _, err := p.Resolve(WithModels("urgency")); err == nil || err.Error() != want {
		t.Errorf("resolved with the names: %v", err)
	}
	if _, err := Parse("p.yaml", withModel("{go: urgency}"), nil, WithModels("urgency")); err != nil {
		t.Error(err)
	}
	if _, err := Parse("p.yaml", withModel("{go: urgency}"), nil, WithModels()); err == nil || !strings.Contains(err.Error(), "there are none") {
		t.Errorf("a program without models: %v", err)
	}
}

func TestAModelThatComesFromElsewhereIsNoted(t *testing.T) {
	_, problems := Check("p.yaml", withModel("{go: urgency}"), nil, WithKinds(kinds.All(nil)...))
	if len(problems) != 1 || problems[0].Severity != Note || problems.Errors()+problems.Warnings() != 0 ||
		!strings.HasPrefix(problems[0].String(), "p.yaml:4:38: note: model urgency comes from Go: run the file with the program") {
		t.Errorf("%+v", problems)
	}
	if _, problems := Check("p.yaml", withModel("{go: urgency}"), nil, known()...); len(problems) > 0 {
		t.Errorf("the program brings it, but %v", problems)
	}
}

func TestAliasesWithinOptionsDoNotGrowWithoutLimit(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("{test: it, extra: {a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9]")
	for i := range 8 {
		fmt.Fprintf(&bomb, ", a%d: &a%d [%s*a%d]", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d, ", i), 8), i)
	}
	bomb.WriteString("}}")
	for _, opts := range [][]Option{nil, {WithKinds(testKind())}} {
		_, err := Parse("p.yaml", withModel(bomb.String()), nil, opts...)
		if err == nil || !strings.Contains(err.Error(), "nested too deeply, or grows too large") {
			t.Errorf("error is %v", err)
		}
	}
}

func TestAModelIsWrittenAsFilesHaveIt(t *testing.T) {
	for _, c := range []struct {
		model Model
		want  string
	}{
		{Model{Kind: "go", Argument: "urgency"}, `{"go":"urgency"}`},
		{Model{Kind: "builtin", Argument: "classifier", Options: &builtin.ClassifierOptions{}}, `{"builtin":"classifier"}`},
		{Model{Kind: "builtin", Argument: "nearest", Options: builtin.NearestOptions{Items: "a<b", Top: 2}}, `{"builtin":"nearest","items":"a<b","top":2}`},
	} {
		got, err := marshal(c.model)
		if err != nil || string(got) != c.want {
			t.Errorf("%s, %v, want %s", got, err, c.want)
		}
		if _, err := json.Marshal(c.model); err != nil {
			t.Error(err)
		}
	}
}

func TestAModelThatCannotBeMadeIsShownWhereItStands(t *testing.T) {
	env := func(string) (string, bool) { return "/secret/place/items.yaml", true }
	p, err := Parse("p.yaml", withModel(`{builtin: nearest, items: "${ITEMS}"}`), env, known()...)
	if err != nil {
		t.Fatal(err)
	}
	cause := &model.OptionError{Option: "items", Err: errors.New("open /secret/place/items.yaml: no such file")}
	for _, c := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("model: %w", cause), "p.yaml:4:59: service a: option items: open ${ITEMS}: no such file"},
		{errors.New("no memory"), "p.yaml:4:43: service a: no memory"},
	} {
		if got := p.ModelProblem("a", c.err); got.String() != c.want || got.Source == "" {
			t.Errorf("%v, want %s", got, c.want)
		}
	}
}
