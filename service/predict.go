// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/millrace-ml/millrace/internal/backoff"
	"github.com/millrace-ml/millrace/model"
)

// outcome is what became of an item.
type outcome struct {
	values   [][]byte
	err      error // set when it is out of tries
	attempts int
}

// predictor answers items, whatever the model does.
type predictor struct {
	s       *Service
	items   []model.Item
	out     []outcome
	scratch []model.Item
	calls   int
}

// run fills out for every item. It returns an error only when ctx ends.
func (p *predictor) run(ctx context.Context) error {
	// Letters that are tried again may be more than the model takes at once.
	for from, most := 0, p.s.c.Batch.Records; from < len(p.items); from += most {
		if err := p.answer(ctx, from, min(from+most, len(p.items))); err != nil {
			return err
		}
	}
	return nil
}

// answer fills out for the items in [from, to).
func (p *predictor) answer(ctx context.Context, from, to int) error {
	// The common case has no failure and needs no list of what is left.
	all, err := p.call(ctx, p.items[from:to])
	if err == nil {
		p.calls++
		var left []int
		for n := range all {
			if again := p.take(from+n, all[n]); again {
				left = append(left, from+n)
			}
		}
		return p.again(ctx, left, nil, 1)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	left := make([]int, to-from)
	for n := range left {
		left[n] = from + n
		p.out[from+n].attempts++
	}
	p.calls++
	return p.again(ctx, left, err, 1)
}

// again tries the items that are left until they are answered or out of tries.
// failed is the error of the last call as a whole, or nil when each item has
// its own.
func (p *predictor) again(ctx context.Context, left []int, failed error, tries int) error {
	pause := backoff.New(p.s.c.Backoff, backoff.Longest)
	for ; len(left) > 0 && tries < p.s.c.Attempts; tries++ {
		p.s.c.Logger.Debug("predicting again", "items", len(left), "attempt", tries+1, "error", failed)
		err := pause.Wait(ctx)
		if err != nil {
			return err
		}
		if left, failed, err = p.attempt(ctx, left); err != nil {
			return err
		}
	}
	if failed == nil || len(left) == 0 {
		return nil
	}
	return p.bisect(ctx, left, failed)
}

// bisect halves the items of a call that keeps failing until each bad one
// stands alone.
func (p *predictor) bisect(ctx context.Context, left []int, failed error) error {
	if len(left) == 1 {
		p.out[left[0]].err = failed
		return nil
	}
	for _, half := range [][]int{left[:len(left)/2], left[len(left)/2:]} {
		rest, failed, err := p.attempt(ctx, half)
		if err != nil {
			return err
		}
		if failed != nil {
			if err := p.bisect(ctx, rest, failed); err != nil {
				return err
			}
		}
	}
	return nil
}

// attempt calls the model once for the given items. It returns those that are
// not answered, and the call's error if it failed as a whole.
func (p *predictor) attempt(ctx context.Context, which []int) (left []int, failed, ended error) {
	p.scratch = p.scratch[:0]
	for _, i := range which {
		p.scratch = append(p.scratch, p.items[i])
	}
	answers, err := p.call(ctx, p.scratch)
	p.calls++
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	if err != nil {
		for _, i := range which {
			p.out[i].attempts++
		}
		return which, err, nil
	}
	for n, i := range which {
		if p.take(i, answers[n]) {
			left = append(left, i)
		}
	}
	return left, nil, nil
}

// take notes an item's answer and reports whether to try again.
func (p *predictor) take(i int, a model.Answer) bool {
	o := &p.out[i]
	o.attempts++
	o.values, o.err = a.Values, readable(a.Err)
	return o.err != nil && !errors.Is(o.err, model.ErrInvalid)
}

// call calls the model, with its time limit, and contains its panics.
func (p *predictor) call(ctx context.Context, items []model.Item) (answers []model.Answer, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.s.c.Timeout, fmt.Errorf("the model took longer than %v", p.s.c.Timeout))
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			answers, err = nil, &model.PanicError{Value: v, Stack: debug.Stack()}
		} else if err != nil && errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}()
	answers, err = p.s.c.Model.Predict(ctx, items)
	err = readable(err)
	if err == nil && len(answers) != len(items) {
		return nil, fmt.Errorf("the model gave %d answers to %d items", len(answers), len(items))
	}
	return answers, err
}

// readable is the error, or a panic in its place: a model's error may be a nil
// pointer of its own type, which panics when it is asked for its text or compared,
// outside of where the model's panics are contained.
func readable(err error) (same error) {
	if err == nil {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			same = &model.PanicError{Value: fmt.Sprintf("the error of type %T: %v", err, v), Stack: debug.Stack()}
		}
	}()
	_ = err.Error()
	_ = errors.Is(err, model.ErrInvalid)
	return err
}
