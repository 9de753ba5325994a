// SPDX-License-Identifier: Apache-2.0

// Package model is what a service runs.
//
// The one idea: a model is a function from a batch of items to as many answers,
// each with values or an error of its own. What the items mean is the model's
// business; the built-in ones read and write JSON.
package model

import (
	"context"
	"errors"

	"github.com/millrace-ml/millrace/broker"
)

// Model predicts on batches. Predict may be called by several goroutines at once.
type Model interface {
	// Name and version, such as "sentiment@1". It is written into every result
	// and changes whenever the same input may give another answer.
	Name() string

	// Predict answers every item, in the items' order. An error, a panic or
	// another number of answers is a failed call: the service tries again and then
	// halves the batch until the bad item stands alone. The items must not be
	// changed or kept; the answers belong to the caller. When ctx ends, the service's
	// timeout has passed or it stops: it does not wait for the answer any more, and
	// drops it.
	Predict(ctx context.Context, items []Item) ([]Answer, error)
}

// Item is what a model predicts on.
type Item struct {
	Key     []byte
	Value   []byte
	Headers []broker.Header
}

// Answer is a model's answer to one item. The zero value is [None].
type Answer struct {
	Values [][]byte
	Err    error
}

// One answers with a value.
func One(value []byte) Answer { return Answer{Values: [][]byte{value}} }

// Many answers with any number of values, each of which becomes a record.
func Many(values ...[]byte) Answer { return Answer{Values: values} }

// None answers with nothing: the item is filtered out, its part is "skipped".
func None() Answer { return Answer{} }

// Fail answers with an error. It is tried again unless it is [Invalid], and is the
// item's own: see docs/own-model.md for when the item is to blame, and when the
// model is.
func Fail(err error) Answer { return Answer{Err: err} }

// ErrInvalid marks errors that lie in the item: trying again cannot help.
var ErrInvalid = errors.New("invalid item")

// ErrUnavailable marks errors that lie in the model, or in what it needs: a server
// that refuses the connection or is overloaded (HTTP status 429, 503). No item is
// to blame: the service waits, with growing pauses, and tries again.
var ErrUnavailable = errors.New("the model is unavailable")

type unavailableError struct{ err error }

func (e unavailableError) Error() string        { return e.err.Error() }
func (e unavailableError) Unwrap() error        { return e.err }
func (e unavailableError) Is(target error) bool { return target == ErrUnavailable }

// Unavailable makes err match [ErrUnavailable], leaving its text as it is. Of nil
// it makes nil. It may be the error of a call or of an item.
func Unavailable(err error) error {
	if err == nil {
		return nil
	}
	return unavailableError{err}
}

type invalidError struct{ err error }

func (e invalidError) Error() string        { return e.err.Error() }
func (e invalidError) Unwrap() error        { return e.err }
func (e invalidError) Is(target error) bool { return target == ErrInvalid }

// Invalid makes err match [ErrInvalid], leaving its text as it is. Of nil it makes
// nil.
func Invalid(err error) error {
	if err == nil {
		return nil
	}
	return invalidError{err}
}
