// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-ml/millrace/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type ticket struct {
	Text  string `json:"text"`
	Lines []struct {
		Price float64 `json:"price"`
		Tags  []int   `json:"tags"`
	} `json:"lines"`
	Customer struct {
		Age int `json:"age"`
	} `json:"customer"`
}

type urgency struct {
	Urgent bool `json:"urgent"`
}

func items(values ...string) []model.Item {
	items := make([]model.Item, len(values))
	for i, v := range values {
		items[i].Value = []byte(v)
	}
	return items
}

// shown is an answer as the tests compare it.
func shown(a model.Answer) string {
	switch {
	case errors.Is(a.Err, model.ErrInvalid):
		return "invalid: " + a.Err.Error()
	case a.Err != nil:
		return "error: " + a.Err.Error()
	case len(a.Values) == 0:
		return "nothing"
	}
	return string(a.Values[0])
}

func predict(t *testing.T, m model.Model, values ...string) []string {
	t.Helper()
	answers, err := m.Predict(t.Context(), items(values...))
	if err != nil {
		t.Fatal(err)
	}
	if len(answers) != len(values) {
		t.Fatalf("%d answers to %d items", len(answers), len(values))
	}
	texts := make([]string, len(answers))
	for i, a := range answers {
		texts[i] = shown(a)
	}
	return texts
}

func judge(_ context.Context, tickets []ticket) ([]urgency, error) {
	out := make([]urgency, len(tickets))
	for i, t := range tickets {
		out[i].Urgent = strings.Contains(t.Text, "!")
	}
	return out, nil
}

func TestAnItemThatDoesNotFitNamesThePathAndTheProblem(t *testing.T) {
	m := model.JSON("urgency@1", judge)
	for value, want := range map[string]string{
		`{"text":"now!"}`:                        `{"urgent":true}`,
		`{"text":"later","else":[1]}`:            `{"urgent":false}`,
		`null`:                                   `{"urgent":false}`,
		``:                                       `invalid: the value is empty, expected JSON`,
		" \n":                                    `invalid: the value is empty, expected JSON`,
		`{"text":7}`:                             `invalid: text is a JSON number, expected string`,
		`{"customer":{"age":"old"}}`:             `invalid: customer.age is a JSON string, expected int`,
		`{"text":"a","customer":[]}`:             `invalid: customer is a JSON array, expected object`,
		`{"lines":[{"price":1},{"price":true}]}`: `invalid: lines[1].price is a JSON bool, expected float64`,
		`{"lines":[{"tags":[1,2,{"a":[3]}]}]}`:   `invalid: lines[0].tags[2] is a JSON object, expected int`,
		`{"lines":[{},{"tags":[[1],"x"]}]}`:      `invalid: lines[1].tags[0] is a JSON array, expected int`,
		`{"customer":{"age":1.5}}`:               `invalid: customer.age is a JSON number 1.5, expected int`,
		`[1,2]`:                                  `invalid: the value is a JSON array, expected object`,
		`"now!"`:                                 `invalid: the value is a JSON string, expected object`,
		`{"lines":[{"price":1},{"price":x}]}`:    `invalid: lines[1].price is not JSON: invalid character 'x' looking for beginning of value at byte 32`,
		`{"text":"a"`:                            `invalid: text is not JSON: unexpected end of JSON input at byte 11`,
		`{"text":"a"} x`:                         `invalid: the value is not JSON: invalid character 'x' after top-level value at byte 14`,
	} {
		if got := predict(t, m, value); got[0] != want {
			t.Errorf("%s\ngot  %s\nwant %s", value, got[0], want)
		}
	}
}

func TestTheFunctionSeesOnlyWhatCanBeRead(t *testing.T) {
	var seen []int
	m := model.JSON("count@1", func(_ context.Context, in []int) ([]int, error) {
		seen = append(seen, len(in))
		return in, nil
	})
	got := predict(t, m, `1`, `"x"`, `3`)
	if got[0] != "1" || !strings.HasPrefix(got[1], "invalid: ") || got[2] != "3" {
		t.Errorf("%q", got)
	}
	predict(t, m, `"x"`, `"y"`)
	if fmt.Sprint(seen) != "[2]" {
		t.Errorf("it saw %v items in its calls", seen)
	}
}

func TestErrorsBelongToSingleItems(t *testing.T) {
	none := errors.New("none left")
	for name, c := range map[string]struct {
		outs []int
		err  error
		want string // of three items, 1 to 3; "failed: " for a failed call
	}{
		"none":                       {[]int{1, 2, 3}, nil, "1 2 3"},
		"an empty Errors":            {[]int{1, 2, 3}, model.Errors{}, "1 2 3"},
		"a nil Errors":               {[]int{1, 2, 3}, model.Errors(nil), "1 2 3"},
		"one":                        {[]int{1, 0, 3}, model.Errors{1: none}, "1 error: none left 3"},
		"a nil one":                  {[]int{1, 2, 3}, model.Errors{1: nil}, "1 2 3"},
		"an invalid one":             {[]int{1, 0, 3}, model.Errors{1: model.Invalid(none)}, "1 invalid: none left 3"},
		"one to skip":                {[]int{1, 0, 3}, model.Errors{1: fmt.Errorf("no: %w", model.ErrSkip)}, "1 nothing 3"},
		"all":                        {nil, model.Errors{0: none, 1: none, 2: none}, "error: none left error: none left error: none left"},
		"wrapped":                    {[]int{1, 0, 3}, fmt.Errorf("call: %w", model.Errors{1: none}), "1 error: none left 3"},
		"another":                    {[]int{1, 2, 3}, none, "failed: none left"},
		"too few":                    {[]int{1, 2}, nil, "failed: " + model.ErrCount.Error() + ": 2 answers to 3 items"},
		"too many":                   {[]int{1, 2, 3, 4}, nil, "failed: " + model.ErrCount.Error() + ": 4 answers to 3 items"},
		"no answers to those left":   {nil, model.Errors{1: none}, "failed: " + model.ErrCount.Error() + ": 0 answers to 3 items"},
		"nil ones without answers":   {nil, model.Errors{0: none, 1: nil, 2: none}, "failed: " + model.ErrCount.Error() + ": 0 answers to 3 items"},
		"for an item that is not":    {[]int{1, 2, 3}, model.Errors{3: none}, "failed: " + model.ErrCount.Error() + ": an error for item 3 of 3, counted from 0: none left"},
		"for an item below the rest": {[]int{1, 2, 3}, model.Errors{-1: none}, "failed: " + model.ErrCount.Error() + ": an error for item -1 of 3, counted from 0: none left"},
	} {
		m := model.JSON("test@1", func(context.Context, []int) ([]int, error) { return c.outs, c.err })
		answers, err := m.Predict(t.Context(), items("1", "2", "3"))
		var got []string
		for _, a := range answers {
			got = append(got, shown(a))
		}
		text := strings.Join(got, " ")
		if err != nil {
			text = "failed: " + err.Error()
		}
		if text != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, text, c.want)
		}
	}
}

func TestErrorsNameTheirItemsInOrder(t *testing.T) {
	err := model.Errors{7: errors.New("b"), 2: errors.New("a")}
	if err.Error() != "item 2: a; item 7: b" {
		t.Error(err)
	}
}

func TestAnswersAreWrittenAsTheyAre(t *testing.T) {
	m := model.JSON("echo@1", func(_ context.Context, in []json.RawMessage) ([]json.RawMessage, error) { return in, nil })
	if got := predict(t, m, `{"a":"<b> & ü"}`); got[0] != `{"a":"<b> & ü"}` {
		t.Errorf("%s", got[0])
	}
	bad := model.JSON("nan@1", func(_ context.Context, in []float64) ([]float64, error) { return []float64{math.NaN(), 1}, nil })
	if got := predict(t, bad, "1", "2"); !strings.HasPrefix(got[0], "error: write the answer as JSON: ") || got[1] != "1" {
		t.Errorf("%q", got)
	}
}

func TestAModelThatIsWrongSaysSoAndFailsEveryCall(t *testing.T) {
	one := func(context.Context, int) (int, error) { return 1, nil }
	for want, m := range map[string]model.Model{
		"model.JSON: the model's name is empty; give it one with a version, such as urgency@1": model.JSON("", judge),
		"model.JSON urgency@1: the function is nil":                                            model.JSON[ticket, urgency]("urgency@1", nil),
		"model.Each: the model's name is empty; give it one with a version, such as urgency@1": model.Each("", one),
		"model.Each a@1: the function is nil":                                                  model.Each[int, int]("a@1", nil),
		"model.Each a@1: the concurrency must be at least 1, not 0":                            model.Each("a@1", one, model.Concurrency(0)),
		"the model is nil":                       nil,
		"the model is a nil *model_test.pointer": (*pointer)(nil),
		"the model (a model_test.nameless) has no name; give it one with a version, such as urgency@1": nameless{},
	} {
		if err := model.Check(m); err == nil || err.Error() != want {
			t.Errorf("Check: %v, want %s", err, want)
		}
		if !strings.HasPrefix(want, "model.") {
			continue
		}
		if _, err := m.Predict(t.Context(), items("1")); err == nil || err.Error() != want {
			t.Errorf("Predict: %v, want %s", err, want)
		}
	}
	for _, m := range []model.Model{model.JSON("urgency", judge), model.Each("a@1", one), doubler{}} {
		if err := model.Check(m); err != nil {
			t.Error(err)
		}
	}
}

type nameless struct{ doubler }

func (nameless) Name() string { return "" }

type pointer struct{ doubler }

func (p *pointer) Name() string { return "pointer@1" }

func TestEachPredictsOnAsManyAsItsConcurrency(t *testing.T) {
	for _, c := range []struct {
		options []model.EachOption
		items   int
		most    int64
	}{
		{nil, 20, model.DefaultConcurrency}, {nil, 3, 3}, {[]model.EachOption{model.Concurrency(1)}, 5, 1}, {[]model.EachOption{model.Concurrency(16)}, 20, 16},
	} {
		synctest.Test(t, func(t *testing.T) {
			var now, most atomic.Int64
			m := model.Each("slow@1", func(_ context.Context, n int) (int, error) {
				most.Store(max(most.Load(), now.Add(1)))
				time.Sleep(time.Second)
				now.Add(-1)
				return 2 * n, nil
			}, c.options...)
			var values, want []string
			for n := range c.items {
				values, want = append(values, fmt.Sprint(n)), append(want, fmt.Sprint(2*n))
			}
			begun := time.Now()
			if got := predict(t, m, values...); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%v, want %v", got, want)
			}
			if most.Load() != c.most {
				t.Errorf("%d at once, want %d", most.Load(), c.most)
			}
			rounds := (c.items + int(c.most) - 1) / int(c.most)
			if took := time.Since(begun); took != time.Duration(rounds)*time.Second {
				t.Errorf("%d rounds took %v", rounds, took)
			}
		})
	}
}

func TestEachGivesAnItemItsOwnErrorAndPanic(t *testing.T) {
	m := model.Each("odd@1", func(_ context.Context, n int) (int, error) {
		switch n {
		case 1:
			return 0, errors.New("odd")
		case 2:
			panic("boom")
		case 3:
			return 0, model.ErrSkip
		}
		return n, nil
	})
	got := predict(t, m, "0", "1", "2", "3", "4")
	if fmt.Sprint(got) != "[0 error: odd error: the model panicked: boom nothing 4]" {
		t.Errorf("%q", got)
	}
	answers, err := m.Predict(t.Context(), items("2"))
	if err != nil {
		t.Fatal(err)
	}
	var panicked *model.PanicError
	if !errors.As(answers[0].Err, &panicked) || panicked.Value != "boom" || !strings.Contains(string(panicked.Stack), "typed_test.go") {
		t.Errorf("%v", answers[0].Err)
	}
}

// Whatever becomes of the goroutine that an item runs in, it has an error and the
// others have their answers.
func TestEachGoesOnWithoutAGoroutineThatEnds(t *testing.T) {
	m := model.Each("odd@1", func(_ context.Context, n int) (int, error) {
		if n%2 == 1 {
			runtime.Goexit()
		}
		return n, nil
	}, model.Concurrency(2))
	got := predict(t, m, "0", "1", "2", "3", "5", "7", "9", "4")
	const exit = " error: the model ended its goroutine and did not return"
	if want := "[0" + exit + " 2" + strings.Repeat(exit, 4) + " 4]"; fmt.Sprint(got) != want {
		t.Errorf("%q", got)
	}
}

func TestANilErrorOfAnItemIsNone(t *testing.T) {
	m := model.JSON("nil@1", func(_ context.Context, values []int) ([]int, error) {
		return values, model.Errors{0: nil, 1: errors.New("odd"), 5: nil}
	})
	if got := predict(t, m, "0", "1", "2"); fmt.Sprint(got) != "[0 error: odd 2]" {
		t.Errorf("%q", got)
	}
	if got := (model.Errors{1: errors.New("odd"), 5: nil}).Error(); got != "item 1: odd" {
		t.Errorf("it says %q", got)
	}
}

func TestANilOptionOfEachIsAnErrorOfCheck(t *testing.T) {
	m := model.Each("a@1", func(_ context.Context, n int) (int, error) { return n, nil }, model.Concurrency(2), nil)
	if err := model.Check(m); err == nil || err.Error() != "model.Each a@1: option 2 is nil" {
		t.Errorf("got %v", err)
	}
}

func TestEachEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var begun atomic.Int64
		m := model.Each("slow@1", func(ctx context.Context, n int) (int, error) {
			begun.Add(1)
			<-ctx.Done()
			return 0, ctx.Err()
		}, model.Concurrency(2))
		_, err := m.Predict(ctx, items("1", "2", "3", "4", "5"))
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the error is %v", err)
		}
		if n := begun.Load(); n != 2 {
			t.Errorf("%d items were begun", n)
		}
	})
}

func TestInvalidOfNilIsNoError(t *testing.T) {
	if err := model.Invalid(nil); err != nil {
		t.Errorf("got %v", err)
	}
}
