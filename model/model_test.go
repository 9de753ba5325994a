// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/millrace-ml/millrace/model"
)

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
