// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/model"
)

// doubler answers numbers with twice the number.
type doubler struct{}

func (doubler) Name() string { return "doubler@1" }

func (doubler) Predict(_ context.Context, items []model.Item) ([]model.Answer, error) {
	answers := make([]model.Answer, len(items))
	for i, item := range items {
		n, err := strconv.Atoi(string(item.Value))
		if err != nil {
			answers[i] = model.Fail(model.Invalid(err)) // trying again cannot help
			continue
		}
		answers[i] = model.One(strconv.AppendInt(nil, int64(2*n), 10))
	}
	return answers, nil
}

func Example() {
	var m model.Model = doubler{}
	answers, _ := m.Predict(context.Background(), []model.Item{{Value: []byte("21")}, {Value: []byte("x")}})
	fmt.Printf("%s\n", answers[0].Values[0])
	fmt.Println(answers[1].Err)
	// Output:
	// 42
	// strconv.Atoi: parsing "x": invalid syntax
}

// greetOptions are the options of a kind of model.
type greetOptions struct {
	Word  string `json:"word,omitempty" default:"hello" jsonschema:"What to say"`
	Times int    `json:"times,omitempty" default:"1" min:"1" max:"3" jsonschema:"How often to say it"`
}

// greet is the kind {greet: NAME, word: WORD, times: N}.
func greet() model.Kind {
	return model.Kind{
		Name:    "greet",
		About:   "Whom to greet",
		Options: func(string) any { return new(greetOptions) },
		New: func(_ context.Context, s model.Spec) (model.Model, error) {
			o := s.Options.(*greetOptions)
			if o.Word == "damn" {
				return nil, &model.OptionError{Option: "word", Err: errors.New("is not polite")}
			}
			return model.JSON("greet@1", func(_ context.Context, in []string) ([]string, error) {
				for i := range in {
					in[i] = fmt.Sprintf("%s %s, %s (x%d)", o.Word, s.Argument, in[i], o.Times)
				}
				return in, nil
			}), nil
		},
	}
}

func ExampleKind() {
	m, err := greet().Make(context.Background(), model.Spec{Argument: "ann", Options: greetOptions{Times: 2}})
	if err != nil {
		fmt.Println(err)
		return
	}
	answers, err := m.Predict(context.Background(), []model.Item{{Value: []byte(`"how are you?"`)}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s\n", answers[0].Values[0])
	// Output: "hello ann, how are you? (x2)"
}

func ExampleJSON() {
	type ticket struct{ Text string }
	type urgency struct{ Urgent bool }
	m := model.JSON("urgency@1", func(_ context.Context, tickets []ticket) ([]urgency, error) {
		out := make([]urgency, len(tickets))
		failed := model.Errors{}
		for i, t := range tickets {
			if t.Text == "" {
				failed[i] = model.Invalid(errors.New("there is no text"))
				continue
			}
			out[i].Urgent = strings.HasSuffix(t.Text, "!")
		}
		return out, failed
	})
	answers, err := m.Predict(context.Background(), []model.Item{
		{Value: []byte(`{"text":"help!"}`)}, {Value: []byte(`{}`)}, {Value: []byte(`{"text":[1]}`)},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s\n%v\n%v\n", answers[0].Values[0], answers[1].Err, answers[2].Err)
	// Output:
	// {"Urgent":true}
	// there is no text
	// text is a JSON array, expected string
}

func ExampleEach() {
	m := model.Each("shout@1", func(_ context.Context, text string) (string, error) {
		return strings.ToUpper(text), nil
	}, model.Concurrency(4))
	answers, err := m.Predict(context.Background(), []model.Item{{Value: []byte(`"hello"`)}, {Value: []byte(`"you"`)}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, a := range answers {
		fmt.Printf("%s\n", a.Values[0])
	}
	// Output:
	// "HELLO"
	// "YOU"
}
