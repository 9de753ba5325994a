// SPDX-License-Identifier: Apache-2.0

package deadletter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/lineage"
	"github.com/millrace-ml/millrace/service"
)

// Done is what was done with the letters of a service.
type Done struct {
	Service  string `json:"service" jsonschema:"whose letters"`
	Letters  int    `json:"letters" jsonschema:"how many were decided on"`
	Answered int    `json:"answered,omitempty" jsonschema:"of those tried again: the topic has their answer now"`
	Failed   int    `json:"failed,omitempty" jsonschema:"of those tried again: there is another letter now"`
	Lost     int    `json:"lost,omitempty" jsonschema:"left open: too large for a letter, and no longer kept where they stood"`
}

// Retry tries the open letters of a selection again and publishes what the
// service would have: the answer, from which gathers make revisions, or another
// letter. Letters that come while it runs are left for the next time. It returns
// what was done before an error, too, and can be called again after any. A nil retry
// is an error.
func (st *Store) Retry(ctx context.Context, s Selection, retry Retry) ([]Done, error) {
	if retry == nil {
		return nil, errors.New("deadletter: Retry without a function that predicts again: take millrace.App.Retry or what millrace.Retrier returns")
	}
	return st.decide(ctx, s, Retried, retry)
}

// Drop marks the open letters of a selection as dropped. They stay where they
// are until the topic's retention deletes them.
func (st *Store) Drop(ctx context.Context, s Selection) ([]Done, error) {
	return st.decide(ctx, s, Dropped, nil)
}

func (st *Store) decide(ctx context.Context, s Selection, what State, retry Retry) ([]Done, error) {
	services, err := st.selected(ctx, s)
	if err != nil {
		return nil, err
	}
	all := []Done{}
	for _, service := range services {
		d := &decider{st: st, service: service, s: s, what: what, retry: retry, done: Done{Service: service}}
		err := d.run(ctx)
		if d.done.Letters+d.done.Lost > 0 {
			all = append(all, d.done)
		}
		if err != nil {
			return all, fmt.Errorf("dead letters of %s: %w", service, err)
		}
	}
	return all, nil
}

// decider decides on the letters of one service.
type decider struct {
	st      *Store
	service string
	s       Selection
	what    State
	retry   Retry   // nil unless what is Retried
	ends    []int64 // of the letters that there are when it begins
	wrote   int     // decisions in this round
	done    Done
}

func (d *decider) run(ctx context.Context) (err error) {
	topic := lineage.DecisionsTopic(d.service)
	if d.ends, err = d.st.ends(ctx, lineage.DeadTopic(d.service)); err != nil {
		return err
	}
	if any, err := d.any(ctx); err != nil || !any {
		return err
	}
	// Decisions are few, and must not be deleted before the letters are.
	if err := d.st.b.CreateTopics(ctx, broker.Topic{Name: topic, Partitions: 1}); err != nil {
		return err
	}
	c, err := d.st.b.Join(ctx, topic, broker.Start(), topic)
	if err != nil {
		return err
	}
	defer func() {
		leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, c.Close(leave))
	}()
	for {
		err := d.round(ctx, c)
		if !errors.Is(err, broker.ErrFenced) {
			return err
		}
	}
}

// round decides on what is open. What was decided before is known for certain
// once the consumer owns the partition: nobody else can decide from then on
// without this one being fenced.
func (d *decider) round(ctx context.Context, c *broker.Consumer) error {
	d.wrote = 0
	if err := own(ctx, c); err != nil {
		return err
	}
	known, err := d.st.Decisions(ctx, d.service)
	if err != nil {
		return err
	}
	if err := d.pass(ctx, c, known); err != nil {
		return err
	}
	d.moveOn(ctx, c)
	return nil
}

// any reports whether a letter is open. Another command may decide on it before
// this one can, but none that was decided on is ever open again.
func (d *decider) any(ctx context.Context) (bool, error) {
	decided, err := d.st.Decisions(ctx, d.service)
	if err != nil {
		return false, err
	}
	for l, err := range d.st.lettersOf(ctx, d.service, d.s, decided, d.ends) {
		if err != nil || l.State == Open {
			return err == nil, err
		}
	}
	return false, nil
}

// own waits until the group's partition is the consumer's. What it polls, and
// settles with the next decision, is not of interest: the group is there to have
// one member at a time that can settle.
func own(ctx context.Context, c *broker.Consumer) error {
	for {
		n, err := poll(ctx, c, 100*time.Millisecond)
		if err != nil || n > 0 || len(c.Assignment().Partitions) > 0 {
			return err
		}
	}
}

// poll tells how many records it polled within a time.
func poll(ctx context.Context, c *broker.Consumer, limit time.Duration) (int, error) {
	wait, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	batch, err := c.Poll(wait, broker.Want{})
	switch {
	case err == nil:
		return len(batch.Records), nil
	case wait.Err() != nil && ctx.Err() == nil && !errors.Is(err, broker.ErrClosed):
		return 0, nil
	}
	return 0, err
}

// moveOn moves the group past what it wrote, so that it has no lag, which people
// watch. Nothing depends on it.
func (d *decider) moveOn(ctx context.Context, c *broker.Consumer) {
	for d.wrote > 0 {
		n, err := poll(ctx, c, time.Second)
		if err != nil || n == 0 || c.Settle(ctx) != nil {
			return
		}
		d.wrote -= n
	}
}

// pass decides on each open letter.
func (d *decider) pass(ctx context.Context, c *broker.Consumer, known Decisions) error {
	d.done.Lost = 0
	var now chunk
	row := false // no letter was left out since the last one taken
	for l, err := range d.st.lettersOf(ctx, d.service, d.s, known, d.ends) {
		if err != nil {
			return err
		}
		row = row && l.after
		if l.State != Open {
			row = false
			continue
		}
		if d.what == Retried {
			if err := d.st.complete(ctx, &l.inner); err != nil {
				return err
			}
			if l.inner.Cut {
				d.done.Lost++
				row = false
				continue
			}
		}
		now.add(l, row)
		row = true
		if now.full() {
			if err := d.settle(ctx, c, &now); err != nil {
				return err
			}
		}
	}
	return d.settle(ctx, c, &now)
}

// settle publishes what follows from the letters of a chunk and that it was
// decided, as one unit.
func (d *decider) settle(ctx context.Context, c *broker.Consumer, now *chunk) error {
	if len(now.letters) == 0 {
		return nil
	}
	value, err := json.Marshal(decision{now.runs})
	if err != nil {
		return err
	}
	settle := func(results []broker.Record) error {
		return c.Settle(ctx, append(results[:len(results):len(results)], d.record(value))...)
	}
	var seen service.Observation
	if d.what == Retried {
		seen, err = d.retry(ctx, d.service, now.letters, settle)
	} else {
		err = settle(nil)
	}
	if err != nil {
		return err
	}
	d.wrote++
	d.done.Letters += len(now.letters)
	if d.what == Retried {
		d.done.Failed += seen.Failed
		d.done.Answered += len(now.letters) - seen.Failed
	}
	d.st.o.Logger.Debug("dead letters "+string(d.what), "service", d.service, "letters", d.done.Letters)
	*now = chunk{}
	return nil
}

func (d *decider) record(value []byte) broker.Record {
	return broker.Record{
		Topic: lineage.DecisionsTopic(d.service), Pinned: true, Value: value,
		Headers: []broker.Header{{Key: lineage.Decision, Value: []byte(d.what)}},
	}
}

// chunk is some letters that are decided on as one unit.
type chunk struct {
	letters []service.Letter
	runs    []run
	bytes   int
}

// add takes a letter; in a row means right after the last one.
func (k *chunk) add(l found, inARow bool) {
	k.letters = append(k.letters, l.inner)
	k.bytes += l.inner.Record.Size()
	if n := len(k.runs); inARow && n > 0 && k.runs[n-1].Partition == l.Partition {
		k.runs[n-1].Last = l.Offset
	} else {
		k.runs = append(k.runs, run{l.Partition, l.Offset, l.Offset})
	}
}

func (k *chunk) full() bool { return len(k.letters) >= 256 || k.bytes >= 4<<20 }
