// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"

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

func TestInvalidKeepsTheErrorAndItsText(t *testing.T) {
	cause := errors.New("no text")
	err := fmt.Errorf("item: %w", model.Invalid(cause))
	if !errors.Is(err, model.ErrInvalid) || !errors.Is(err, cause) || err.Error() != "item: no text" {
		t.Errorf("got %v", err)
	}
	if errors.Is(cause, model.ErrInvalid) {
		t.Error("the cause itself is invalid")
	}
}
