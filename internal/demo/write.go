// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

const (
	// maxOpen bounds the messages that are not answered yet.
	maxOpen = 8192
	// maxPublish is how many messages are published at once.
	maxPublish = 512
	// tooSoon is a pause that is not worth setting a timer for.
	tooSoon = time.Millisecond
)

// Hold stops the customers from writing, or lets them go on.
func (d *Demo) Hold(held bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held = held
}

// Burst lets n customers write at once. It reports false, and does nothing, when
// too many messages wait already.
func (d *Demo) Burst(n int) bool {
	if d.open()+n > maxOpen {
		return false
	}
	select {
	case d.bursts <- n:
		return true
	default:
		return false
	}
}

// Pause pauses a service, see [millrace.App.Pause].
func (d *Demo) Pause(ctx context.Context, service string) error { return d.app.Pause(ctx, service) }

// Resume lets a paused service go on.
func (d *Demo) Resume(service string) error { return d.app.Resume(service) }

// write publishes samples at the pace of people until ctx ends or, with Once,
// the samples do.
func (d *Demo) write(ctx context.Context) error {
	p := &player{samples: d.samples, topic: d.source, once: d.c.Once}
	timer := time.NewTimer(0)
	defer timer.Stop()
	due := time.Now()
	for {
		n := 0
		select {
		case <-ctx.Done():
			return nil
		case n = <-d.bursts:
		case <-timer.C:
			now := time.Now()
			if late := now.Add(-time.Second); due.Before(late) {
				due = late // what could not be written in time is not made up for
			}
			for ; !due.After(now.Add(tooSoon)); n++ {
				due = due.Add(d.pause())
			}
			timer.Reset(time.Until(due))
			if d.isHeld() || d.open() > maxOpen {
				n = 0
			}
		}
		if err := d.publish(ctx, p, n); err != nil {
			return err
		}
		if p.over() {
			return nil
		}
	}
}

// pause is the time to the next message: irregular, as people are.
func (d *Demo) pause() time.Duration {
	return time.Duration((0.4 + 1.2*rand.Float64()) / d.c.Rate * float64(time.Second))
}

func (d *Demo) isHeld() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.held
}

// player goes through the samples, round after round.
type player struct {
	samples []sample
	topic   string
	once    bool
	at      int
	round   int
}

// next is the next message and its id, or false when there is none.
func (p *player) next() (id string, r broker.Record, ok bool) {
	if p.over() {
		return "", r, false
	}
	if p.at == len(p.samples) {
		p.at = 0
		p.round++
	}
	id, r = p.samples[p.at].record(p.topic, p.round)
	p.at++
	return id, r, true
}

// over reports whether there is no next message.
func (p *player) over() bool { return p.once && p.at == len(p.samples) }

// publish publishes the next n messages.
func (d *Demo) publish(ctx context.Context, p *player, n int) error {
	for n > 0 && ctx.Err() == nil && !p.over() {
		var ids []string
		var records []broker.Record
		for ; n > 0 && len(records) < maxPublish; n-- {
			id, r, ok := p.next()
			if !ok {
				break
			}
			ids, records = append(ids, id), append(records, r)
		}
		// Answers may come before Publish returns.
		d.mu.Lock()
		d.book.send(ids, time.Now())
		d.mu.Unlock()
		if _, err := d.broker.Publish(context.WithoutCancel(ctx), records...); err != nil {
			return fmt.Errorf("publish messages: %w", err)
		}
	}
	return nil
}
