// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/internal/backoff"
)

// absence is that batches wait for a model which is away. It may be used by
// several goroutines.
type absence struct {
	log *slog.Logger

	mu     sync.Mutex
	waits  int // batches
	since  time.Time
	why    string
	answer chan struct{} // closed at the model's next answer
}

// begin counts a batch that waits.
func (a *absence) begin(why *fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waits++
	if a.waits > 1 {
		return
	}
	a.since, a.why = time.Now(), why.text
	a.log.Warn("waiting for the model", "error", why.text)
}

// end counts a batch that waits no longer.
func (a *absence) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waits--
	if a.waits == 0 {
		a.log.Info("no longer waiting for the model", "after", time.Since(a.since).Round(time.Millisecond))
		a.since, a.why = time.Time{}, ""
	}
}

// wait returns after the pause, or sooner when the model has answered anything to
// anyone; or with the error of ctx.
func (a *absence) wait(ctx context.Context, pause time.Duration, why *fault) error {
	if why.of == away { // it said that it is overloaded: the answers to others are no invitation
		calm := min(pause, time.Second)
		if err := backoff.Sleep(ctx, calm); err != nil {
			return err
		}
		pause -= calm
	}
	a.mu.Lock()
	a.why = why.text
	if a.answer == nil {
		a.answer = make(chan struct{})
	}
	answer := a.answer
	a.mu.Unlock()
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-answer:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// over wakes those that wait: the model has answered something.
func (a *absence) over() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.answer != nil {
		close(a.answer)
		a.answer = nil
	}
}

func (a *absence) state() (since time.Time, why string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.since, a.why
}

// hasAnswered counts what the model has answered.
func (s *Service) hasAnswered(n int) {
	if n == 0 {
		return
	}
	s.answered.Add(int64(n))
	s.absence.over()
}
