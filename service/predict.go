// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"slices"

	"github.com/millrace-ml/millrace/internal/backoff"
	"github.com/millrace-ml/millrace/model"
)

// predictor answers items, whatever the model does.
type predictor struct {
	s       *Service
	slot    slot
	hasty   bool // does not wait for a model that is away
	items   []model.Item
	out     []outcome
	which   []int
	scratch []model.Item
	calls   int
}

// slot is the right to call the model, of which a member has as many as calls may
// be in flight. The zero value is of no use and needed by nobody.
type slot struct {
	all  chan struct{}
	held bool
}

func (s *slot) take(ctx context.Context) error {
	if s.all == nil || s.held {
		return nil
	}
	select {
	case s.all <- struct{}{}:
		s.held = true
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *slot) give() {
	if s.held {
		s.held = false
		<-s.all
	}
}

// run fills out for every item. It returns an error only when ctx ends, or when
// it is hasty and the model is away.
func (p *predictor) run(ctx context.Context) error {
	// Letters that are tried again may be more than the model takes at once.
	for from, most := 0, p.s.c.Batch.Records; from < len(p.items); from += most {
		p.which = p.which[:0]
		for i := from; i < min(from+most, len(p.items)); i++ {
			p.which = append(p.which, i)
		}
		if err := p.answer(ctx, p.which); err != nil {
			return err
		}
	}
	return nil
}

// answer fills out for some items: it calls the model for all of them, and again
// for what is left, as one batch until it has failed often enough and then halved,
// until each of them is answered or found guilty. While the blame is the model's,
// it waits.
func (p *predictor) answer(ctx context.Context, left []int) error {
	t := trial{p: p, began: p.s.answered.Load(), pause: backoff.New(p.s.c.Backoff, backoff.Longest)}
	defer t.end()
	for {
		var err error
		if left, err = t.round(ctx, left); err != nil || len(left) == 0 {
			return err
		}
		if left, err = t.rest(ctx, left); err != nil || len(left) == 0 {
			return err
		}
	}
}

// halving says what to do with a batch whose call has failed as a whole.
type halving uint8

const (
	never halving = iota // it is tried again as it is
	one                  // a single item is tried: is the model there at all?
	all                  // until each item that fails stands alone
)

// pass calls the model for the items, and returns those that are not answered.
func (p *predictor) pass(ctx context.Context, which []int, halve halving, turn int) (left []int, err error) {
	left, failed, err := p.attempt(ctx, which)
	if err != nil || failed == nil || failed.of == away || len(which) == 1 || halve == never {
		return left, err
	}
	if halve == one {
		n := turn % len(which)
		left, _, err := p.attempt(ctx, which[n:n+1])
		if err != nil || len(left) > 0 {
			return which, err
		}
		return p.pass(ctx, slices.Concat(which[:n], which[n+1:]), all, turn)
	}
	left = nil
	for _, half := range [][]int{which[:len(which)/2], which[len(which)/2:]} {
		rest, err := p.pass(ctx, half, all, turn)
		if err != nil {
			return nil, err
		}
		left = append(left, rest...)
	}
	return left, nil
}

// attempt calls the model once for the items. It returns those that are not
// answered, and the call's error if it failed as a whole.
func (p *predictor) attempt(ctx context.Context, which []int) (left []int, failed *fault, err error) {
	before := p.s.answered.Load()
	r, err := p.call(ctx, which)
	if err != nil {
		return nil, nil, err
	}
	p.calls++
	alone := len(which) == 1
	answered := 0
	for n, i := range which {
		o, f := &p.out[i], r.failed
		o.attempts++
		if f == nil {
			f = r.fault(n)
		}
		switch own := r.failed == nil || alone; {
		case f == nil:
			o.values = r.answers[n].Values
			answered++
		case own && f.of == invalid:
			o.err = f
			answered++
		default:
			o.failed(f, own, before)
			left = append(left, i)
		}
	}
	p.s.hasAnswered(answered)
	for _, i := range left {
		p.out[i].marked(p.s.answered.Load())
	}
	if answered > 0 {
		p.s.known.keep(p, which, &r)
	}
	return left, r.failed, nil
}

// call calls the model once for the items.
func (p *predictor) call(ctx context.Context, which []int) (reply, error) {
	items := p.scratch[:0]
	if first, last := which[0], which[len(which)-1]; last-first == len(which)-1 {
		items = p.items[first : last+1]
	} else {
		for _, i := range which {
			items = append(items, p.items[i])
		}
		p.scratch = items
	}
	r, abandoned, err := p.s.caller.call(ctx, items)
	if abandoned { // the memory is the call's
		p.items, p.scratch = slices.Clone(p.items), nil
	}
	return r, err
}
