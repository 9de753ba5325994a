// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/millrace-ml/millrace/internal/backoff"
	"github.com/millrace-ml/millrace/model"
)

// outcome is what became of an item.
type outcome struct {
	values   [][]byte
	err      *fault // set when it is a dead letter
	attempts int    // predictions

	last  *fault // as long as it is neither answered nor guilty
	fails int    // predictions that failed for it alone, or with an error of its own
	mark  int64  // what the model had answered after the first of these
	seen  int64  // and before the last one
}

// failed notes an error: of its own, or of a call with others.
func (o *outcome) failed(f *fault, own bool, answered int64) {
	o.last = f
	if own && f.of != away {
		o.fails++
		o.seen = answered
	}
}

func (o *outcome) marked(answered int64) {
	if o.fails == 1 {
		o.mark = max(o.mark, answered)
	}
}

// guilty is the rule for who is to blame (docs/adr/0018): the item, if the model
// breaks on it again and again, or if it failed again after the model has answered
// something else. Else it is the model, and nothing becomes a dead letter.
func (o *outcome) guilty(attempts int) bool {
	switch o.last.of {
	case away:
		return false
	case unknown:
		return o.fails >= enough(attempts) && o.seen > o.mark
	}
	return o.fails >= attempts
}

// enough is how often an item fails for no known reason before it can be guilty:
// the model has to answer something else between two failures.
func enough(attempts int) int { return max(attempts, 2) }

// lacks reports whether nothing but proof that the model is there would make it
// guilty, after as many more failures.
func (o *outcome) lacks(attempts, more int, answered int64) bool {
	return o.last != nil && o.last.of == unknown && o.fails > 0 && o.fails+more >= enough(attempts) && answered <= o.mark
}

// trial is what a predictor goes through with the items of a batch.
type trial struct {
	p       *predictor
	began   int64 // what the model had answered before
	rounds  int
	last    *fault
	pause   *backoff.Backoff // between rounds
	away    *backoff.Backoff // while the model is to blame; nil while it is not
	since   time.Time        // it is
	blocked bool             // without proof that the model is there, nothing more can be said
}

// round tries what is left once more, and returns what is left then.
func (t *trial) round(ctx context.Context, left []int) ([]int, error) {
	t.rounds++
	t.blocked = false
	if t.needsProof(left) {
		there, err := t.p.probe(ctx)
		if err != nil {
			return nil, err
		}
		if !there {
			t.blocked = true
			return left, nil
		}
	}
	left, err := t.p.pass(ctx, left, t.halve(), t.rounds)
	if err != nil {
		return nil, err
	}
	left = slices.DeleteFunc(slices.Clone(left), func(i int) bool {
		o := &t.p.out[i]
		t.last = o.last
		if o.guilty(t.p.s.c.Attempts) {
			o.err = o.last
		}
		return o.err != nil
	})
	if len(left) > 0 && t.p.out[left[0]].last.of == away {
		t.rounds-- // it says nothing about the items
	}
	return left, nil
}

// answered reports whether the model has answered anything since the trial began.
func (t *trial) answered() bool { return t.p.s.answered.Load() > t.began }

// halve tells what to do with what fails as a whole now.
func (t *trial) halve() halving {
	switch attempts := t.p.s.c.Attempts; {
	case t.rounds < attempts:
		return never
	case t.rounds == attempts || t.answered() || t.last != nil && t.last.of == broken:
		return all
	}
	return one
}

// needsProof reports whether what comes next is worth more, or only worth it, when
// it is known that the model is there.
func (t *trial) needsProof(left []int) bool {
	if t.away != nil && t.last != nil && t.last.of == away {
		return false // it is asked anyway
	}
	if t.rounds > 1 && t.rounds >= t.p.s.c.Attempts && len(left) > 1 && !t.answered() {
		return true
	}
	answered := t.p.s.answered.Load()
	return slices.ContainsFunc(left, func(i int) bool { return t.p.out[i].lacks(t.p.s.c.Attempts, 1, answered) })
}

// isAway reports whether the model is to blame, as far as is known.
func (t *trial) isAway(left []int) bool {
	if t.blocked || t.rounds >= t.p.s.c.Attempts && !t.answered() && t.last.of == unknown {
		return true
	}
	answered := t.p.s.answered.Load()
	return slices.ContainsFunc(left, func(i int) bool {
		o := &t.p.out[i]
		return o.last.of == away || o.lacks(t.p.s.c.Attempts, 0, answered)
	})
}

// rest waits between two rounds, and returns what is still left then.
func (t *trial) rest(ctx context.Context, left []int) ([]int, error) {
	s := t.p.s
	if !t.isAway(left) {
		t.end()
		s.c.Logger.Debug("predicting again", "items", len(left), "round", t.rounds+1, "error", t.last.text)
		return left, t.pause.Wait(ctx)
	}
	why := t.p.out[left[0]].last
	if t.p.hasty {
		return nil, fmt.Errorf("the model answers nothing: %w", model.Unavailable(errors.New(why.text)))
	}
	if t.away == nil {
		t.away, t.since = backoff.New(s.c.Backoff, longestAway), time.Now()
		s.absence.begin(why)
	}
	if most := s.c.Patience; most > 0 && time.Since(t.since) >= most {
		t.giveUp(left)
		return nil, nil
	}
	t.p.slot.give() // others may bring the proof
	if err := s.absence.wait(ctx, t.away.Next(), why); err != nil {
		return nil, err
	}
	return left, t.p.slot.take(ctx)
}

// longestAway is the longest pause between two tries of a model that is away, so
// that work resumes soon after it has come back.
const longestAway = 10 * time.Second

// giveUp makes dead letters of what a model has not answered that is away for too
// long.
func (t *trial) giveUp(left []int) {
	for _, i := range left {
		o := &t.p.out[i]
		o.err = &fault{of: away, text: fmt.Sprintf("the model answered nothing for %v: %s", t.p.s.c.Patience, o.last.text)}
	}
}

// end ends the waiting, if there was any.
func (t *trial) end() {
	if t.away != nil {
		t.away = nil
		t.p.s.absence.end()
	}
}

// probe asks the model for something that it has answered before. It reports
// whether the model is there, as far as that can be known: it is given the benefit
// of the doubt when it has not answered anything yet.
func (p *predictor) probe(ctx context.Context) (there bool, err error) {
	item := p.s.known.item.Load()
	if item == nil {
		return true, nil
	}
	r, _, err := p.s.caller.call(ctx, []model.Item{item.Item})
	if err != nil {
		return false, err
	}
	p.calls++
	if r.failed != nil || r.fault(0) != nil && r.fault(0).of != invalid {
		return false, nil
	}
	p.s.hasAnswered(1)
	return true, nil
}

// known is an item that the model has answered lately.
type known struct{ item atomic.Pointer[knownItem] }

type knownItem struct {
	model.Item
	at time.Time
}

const (
	knownFor   = time.Minute // then another one is taken
	knownBytes = 64 << 10    // of what is kept
)

// keep takes one of the items that were answered.
func (k *known) keep(p *predictor, which []int, r *reply) {
	if has := k.item.Load(); has != nil && time.Since(has.at) < knownFor {
		return
	}
	for n, i := range which {
		item := p.items[i]
		if r.fault(n) != nil || sizeOf(item) > knownBytes {
			continue
		}
		// It may be a small part of what the broker holds in memory.
		item.Key, item.Value, item.Headers = slices.Clone(item.Key), slices.Clone(item.Value), slices.Clone(item.Headers)
		for h := range item.Headers {
			item.Headers[h].Value = slices.Clone(item.Headers[h].Value)
		}
		k.item.Store(&knownItem{item, time.Now()})
		return
	}
}

func sizeOf(item model.Item) int {
	n := len(item.Key) + len(item.Value)
	for i := range item.Headers {
		n += len(item.Headers[i].Key) + len(item.Headers[i].Value)
	}
	return n
}
