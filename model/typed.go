// SPDX-License-Identifier: Apache-2.0

package model

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
)

// Errors are the errors of single items of a batch, by their index in what the
// function was given; a nil one is none. A function of [JSON] returns it to answer
// the others.
type Errors map[int]error

// Error names the items, in their order.
func (e Errors) Error() string {
	var parts []string
	for _, i := range slices.Sorted(maps.Keys(e)) {
		if e[i] == nil {
			continue
		}
		parts = append(parts, fmt.Sprintf("item %d: %v", i, e[i]))
	}
	return strings.Join(parts, "; ")
}

// ErrSkip answers an item with nothing, as [None] does, when a function of
// [JSON] or [Each] gives it as the item's error.
var ErrSkip = errors.New("skip this item")

// JSON makes a model of a function from a batch of values to as many answers.
// Items are read into In and answers are written as encoding/json does. An item
// that cannot be read as In is [Invalid] and the function does not see it; what
// it sees is never empty.
//
// The name identifies the model in its results, best with a version:
// "urgency@1"; a name without one is fine for a model that never changes. The
// function may be called by several goroutines at once. The context ends when
// the service's timeout has passed or the service stops; what the function returns
// after that is dropped. When it returns an [Errors], its items have those errors
// ([Invalid] ones are not tried again, [ErrSkip] skips) and the other items their
// answers; any other error fails the call as a whole, and the service tries again.
//
// A name or function that is missing is an error of [Check], and so of
// millrace.New.
func JSON[In, Out any](name string, predict func(context.Context, []In) ([]Out, error)) Model {
	if err := checkTyped("model.JSON", name, predict == nil); err != nil {
		return broken{name, err}
	}
	return &typed[In, Out]{name, predict}
}

func checkTyped(maker, name string, isNil bool) error {
	switch {
	case name == "":
		return fmt.Errorf("%s: the model's name is empty; give it one with a version, such as urgency@1", maker)
	case isNil:
		return fmt.Errorf("%s %s: the function is nil", maker, name)
	}
	return nil
}

type typed[In, Out any] struct {
	name    string
	predict func(context.Context, []In) ([]Out, error)
}

func (m *typed[In, Out]) Name() string { return m.name }

func (m *typed[In, Out]) Predict(ctx context.Context, items []Item) ([]Answer, error) {
	answers := make([]Answer, len(items))
	values := make([]In, 0, len(items))
	places := make([]int, 0, len(items)) // of the values among the items
	for i := range items {
		var v In
		if err := decode(items[i].Value, &v); err != nil {
			answers[i] = Fail(Invalid(err))
			continue
		}
		values, places = append(values, v), append(places, i)
	}
	if len(values) == 0 {
		return answers, nil
	}
	outs, err := m.predict(ctx, values)
	var failed Errors
	if err != nil && !errors.As(err, &failed) {
		return nil, err
	}
	answered := len(values)
	for n, err := range failed {
		if err == nil {
			continue
		}
		if n < 0 || n >= len(values) {
			return nil, fmt.Errorf("%w: an error for item %d of %d, counted from 0: %w", ErrCount, n, len(values), err)
		}
		answered--
	}
	if len(outs) != len(values) && (len(outs) != 0 || answered > 0) {
		return nil, fmt.Errorf("%w: %d answers to %d items", ErrCount, len(outs), len(values))
	}
	for n, i := range places {
		if err := failed[n]; err != nil {
			answers[i] = failure(err)
			continue
		}
		answers[i] = encode(outs[n])
	}
	return answers, nil
}

// failure is the answer to an item that has an error.
func failure(err error) Answer {
	if errors.Is(err, ErrSkip) {
		return None()
	}
	return Fail(err)
}

func encode(v any) Answer {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return Fail(fmt.Errorf("write the answer as JSON: %w", err))
	}
	return One(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// DefaultConcurrency is how many items a model of [Each] predicts on at once
// unless [Concurrency] says otherwise.
const DefaultConcurrency = 8

// EachOption is a setting of [Each].
type EachOption func(*eachOptions)

type eachOptions struct{ concurrency int }

// Concurrency is how many items of one call are predicted on at once, at least
// 1. The service's own concurrency multiplies it.
func Concurrency(n int) EachOption { return func(o *eachOptions) { o.concurrency = n } }

// Each makes a model of a function that answers one value at a time, several at
// once. Names, values and errors are as in [JSON]; an error is the item's own. So
// are a panic, a [PanicError], and ending the goroutine, an [ErrExit]. When the
// context ends, items that have not begun are left, and the call fails with the
// context's error.
//
// A call ends with its last item: one that takes long keeps the answers of the
// others back, up to the service's timeout, which fails them all. Give the function
// a limit of its own that is shorter, or the service smaller batches.
func Each[In, Out any](name string, predict func(context.Context, In) (Out, error), options ...EachOption) Model {
	o := eachOptions{concurrency: DefaultConcurrency}
	err := checkTyped("model.Each", name, predict == nil)
	for i, option := range options {
		if option == nil {
			if err == nil {
				err = fmt.Errorf("model.Each %s: option %d is nil", name, i+1)
			}
			continue
		}
		option(&o)
	}
	if err == nil && o.concurrency < 1 {
		err = fmt.Errorf("model.Each %s: the concurrency must be at least 1, not %d", name, o.concurrency)
	}
	if err != nil {
		return broken{name, err}
	}
	return &typed[In, Out]{name, func(ctx context.Context, values []In) ([]Out, error) {
		return each(ctx, values, predict, o.concurrency)
	}}
}

func each[In, Out any](ctx context.Context, values []In, predict func(context.Context, In) (Out, error), concurrency int) ([]Out, error) {
	outs, errs := make([]Out, len(values)), make([]error, len(values))
	places := make(chan struct{}, concurrency)
	var running sync.WaitGroup
	for i := 0; i < len(values) && ctx.Err() == nil; i++ {
		select {
		case places <- struct{}{}:
			running.Go(func() {
				defer func() { <-places }()
				outs[i], errs[i] = contained(func() (Out, error) { return predict(ctx, values[i]) }, &errs[i])
			})
		case <-ctx.Done():
		}
	}
	running.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	failed := Errors{}
	for i, err := range errs {
		if err != nil {
			failed[i] = err
		}
	}
	if len(failed) > 0 {
		return outs, failed
	}
	return outs, nil
}

// PanicError is a panic of a model.
type PanicError struct {
	Value any // what it panicked with
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("the model panicked: %v", e.Value) }

// ErrCount is what a call of a model failed with that did not answer each of its
// items once. Like a panic it is taken for a fault of the model's code that an item
// brings about.
var ErrCount = errors.New("the model gave another number of answers than it was asked for")

// ErrExit is what a call of a model failed with that ended its goroutine, as
// runtime.Goexit does and with it testing's FailNow.
var ErrExit = errors.New("the model ended its goroutine and did not return")

// contained calls the function and makes an error of its panic, which would
// end the process: nobody else can recover it in a goroutine of ours. If it does
// not return at all, the error is left in exited.
func contained[Out any](predict func() (Out, error), exited *error) (out Out, err error) {
	*exited = ErrExit
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{p, debug.Stack()}
		}
	}()
	return predict()
}
