// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"errors"
	"fmt"
	"reflect"
)

const maxName = 1000 // bytes

// Check returns why a model cannot be run: it is nil, it has no name or one of more than 1,000 bytes, or what
// made it (such as [JSON]) was given something wrong. Whoever takes models,
// such as millrace.New, checks them.
func Check(m Model) error {
	if m == nil {
		return errors.New("the model is nil")
	}
	if v := reflect.ValueOf(m); v.Kind() == reflect.Pointer && v.IsNil() {
		return fmt.Errorf("the model is a nil %T", m)
	}
	if b, ok := m.(broken); ok {
		return b.err
	}
	switch n := len(m.Name()); {
	case n == 0:
		return fmt.Errorf("the model (a %T) has no name; give it one with a version, such as urgency@1", m)
	case n > maxName:
		return fmt.Errorf("the name of the model (a %T) has %d bytes; use at most %d, as it is written into every result", m, n, maxName)
	}
	return nil
}

// broken stands for a model that could not be made. It fails every call, so
// that nothing runs on in silence if nobody calls Check.
type broken struct {
	name string
	err  error
}

func (b broken) Name() string { return b.name }

func (b broken) Predict(context.Context, []Item) ([]Answer, error) { return nil, b.err }
