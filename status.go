// SPDX-License-Identifier: Apache-2.0

package millrace

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millrace-ml/millrace/gather"
	"github.com/millrace-ml/millrace/service"
)

// Status is what a service or gather has done since the start and how it is.
type Status struct {
	Name   string   `json:"name"`
	Gather bool     `json:"gather,omitempty"`
	From   []string `json:"from"`
	To     string   `json:"to"`
	Model  string   `json:"model,omitempty"`

	Records   int64         `json:"records"` // taken from its topics
	Batches   int64         `json:"batches"`
	Values    int64         `json:"values"` // answered; of a gather, complete answers
	Failed    int64         `json:"failed"` // dead letters; of a gather, partial answers
	Skipped   int64         `json:"skipped"`
	Retries   int64         `json:"retries"`
	Revisions int64         `json:"revisions,omitempty"`
	Calls     int64         `json:"calls,omitempty"`   // of the model, in flight
	Open      int64         `json:"open,omitempty"`    // records taken and not settled; of a gather, sources that wait for parts
	Waiting   int64         `json:"waiting,omitempty"` // of these, predicted: they settle, or wait for earlier ones to settle
	Predict   time.Duration `json:"predict_ns"`        // in the model, in all
	Settle    time.Duration `json:"settle_ns"`         // in the broker, in all
	Skew      time.Duration `json:"skew_ns,omitempty"` // of a gather: how far its broker's clock is ahead of this one, if it is apart
	Latency   time.Duration `json:"latency_ns"`        // lately, from a record's append to its result's

	Abandoned int64 `json:"abandoned,omitempty"` // calls of the model past their time that have not returned
	Late      int64 `json:"late,omitempty"`      // answers to such calls, which were dropped

	Lag       int64     `json:"lag"` // records it has not settled yet
	Paused    bool      `json:"paused,omitempty"`
	AwaySince time.Time `json:"away_since,omitzero"` // since when it waits for its model; zero: it does not
	Away      string    `json:"away,omitempty"`      // the model's last error then
	Stalled   string    `json:"stalled,omitempty"`   // why it counts as unhealthy
}

// counters are the parts of a Status that change, and what the watchdog needs.
type counters struct {
	Status
	progress time.Time // when it last settled or had no lag
	away     error     // why the broker was not reached at the last look; nil if it was
}

// smooth weighs the newest latency against those before.
const smooth = 0.2

func (c *counters) latency(d time.Duration) {
	if c.Latency == 0 {
		c.Latency = d
		return
	}
	c.Latency += time.Duration(smooth * float64(d-c.Latency))
}

func (u *unit) service(o service.Observation) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := &u.stat
	s.Records += int64(o.Records)
	s.Batches++
	s.Values += int64(o.Values)
	s.Failed += int64(o.Failed)
	s.Skipped += int64(o.Skipped)
	s.Retries += int64(o.Retries)
	s.Predict += o.Predict
	s.Settle += o.Settle
	s.latency(o.Queueing + o.Predict + o.Settle)
	s.progress = time.Now()
}

func (u *unit) gather(o gather.Observation) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := &u.stat
	s.Records += int64(o.Records)
	s.Batches++
	s.Values += int64(o.Complete)
	s.Failed += int64(o.Partial)
	s.Revisions += int64(o.Revisions)
	s.Open = int64(o.Open)
	s.Skew = o.Skew
	s.Settle += o.Settle
	for _, d := range o.Latency {
		s.latency(d + o.Settle)
	}
	s.progress = time.Now()
}

// Status tells how every service and gather is, in topological order.
func (a *App) Status() []Status {
	var all []Status
	for _, u := range a.units {
		u.mu.Lock()
		s := u.stat.Status
		u.mu.Unlock()
		s.Name, s.Gather, s.From, s.To, s.Model = u.Name, u.Gather, u.From, u.To, u.Model
		s.Paused = u.gate.isShut()
		if u.load != nil {
			l := u.load()
			s.Calls, s.Open, s.Waiting = int64(l.Calls), int64(l.Open), int64(l.Waiting)
			s.Abandoned, s.Late, s.AwaySince, s.Away = int64(l.Abandoned), l.Late, l.Away, l.Why
			if l.Stuck {
				s.Stalled = fmt.Sprintf("stuck: %d calls of the model are past their time and do not return", l.Abandoned)
			}
		}
		all = append(all, s)
	}
	return all
}

// Ready is nil once Run was called and as long as the broker can be reached and no
// service waits for its model.
func (a *App) Ready() error {
	select {
	case <-a.started:
	default:
		if !a.topics.Load() {
			return errors.New("the pipeline's topics are not made: the broker has not been reached yet")
		}
		return errors.New("the services are starting")
	}
	for _, u := range a.units {
		u.mu.Lock()
		seen, away := !u.stat.progress.IsZero(), u.stat.away
		u.mu.Unlock()
		if !seen {
			return fmt.Errorf("%s has not reached the broker yet", u.Name)
		}
		if away != nil {
			return fmt.Errorf("%s does not reach the broker: %w", u.Name, away)
		}
	}
	for _, s := range a.Status() {
		if !s.AwaySince.IsZero() {
			return fmt.Errorf("%s waits for its model since %s: %s", s.Name, s.AwaySince.Format(time.RFC3339), s.Away)
		}
	}
	return nil
}

// Healthy is nil unless a service or gather has lag and makes no progress, or is
// stuck in calls of its model that do not return, or something that is watched
// ([App.Watch]) is not healthy. A service that waits for a model which is away is
// healthy, and not ready: starting the process again would not help.
func (a *App) Healthy() error {
	for _, s := range a.Status() {
		if s.Stalled != "" {
			return fmt.Errorf("%s: %s", s.Name, s.Stalled)
		}
	}
	for _, healthy := range a.watched {
		if err := healthy(); err != nil {
			return err
		}
	}
	return nil
}

// monitor looks at every group's lag each second, for the metrics and as watchdog.
func (a *App) monitor(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		for _, u := range a.units {
			a.look(ctx, u)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// missed notes that the broker was not reached.
func (u *unit) missed(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.stat.away = err
}

func (a *App) look(ctx context.Context, u *unit) {
	look, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	lags, err := a.c.Broker.Lag(look, u.group)
	if err != nil {
		if ctx.Err() == nil {
			u.trouble.Note(err)
			u.missed(err)
		}
		return
	}
	u.trouble.Over()
	var lag int64
	for _, l := range lags {
		lag += l.Lag
	}
	a.metrics.lag.WithLabelValues(u.Name).Set(float64(lag))
	var load service.Load
	if u.load != nil {
		load = u.load()
		a.metrics.load(u.Name, load)
	}

	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	u.stat.Lag, u.stat.away = lag, nil
	if lag == 0 || u.stat.progress.IsZero() || u.gate.isShut() || !load.Away.IsZero() {
		u.stat.progress = now
	}
	was := u.stat.Stalled
	u.stat.Stalled = ""
	if still := now.Sub(u.stat.progress); still >= a.c.Stall {
		u.stat.Stalled = fmt.Sprintf("%d records wait and none was settled for %v", lag, still.Round(time.Second))
		if was == "" {
			a.c.Logger.Warn("no progress", "of", u.Name, "lag", lag, "for", still.Round(time.Second))
		}
	}
}
