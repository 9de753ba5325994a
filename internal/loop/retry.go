// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"context"
	"log/slog"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/backoff"
)

// Retry tries until it succeeds, and returns the error of ctx when that ends, or
// the last one when trying again cannot help ([broker.Lasting]). It waits longer
// from try to try. What names it in the log, such as "poll".
func Retry(ctx context.Context, log *slog.Logger, what string, try func(context.Context) error) error {
	pause, trouble := backoff.New(50*time.Millisecond, backoff.Longest), Trouble{Logger: log, What: what}
	for {
		err := try(ctx)
		switch {
		case err == nil:
			trouble.Over()
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case broker.Lasting(err):
			return err
		}
		trouble.Note(err)
		_ = pause.Wait(ctx) // the next try ends with ctx
	}
}

// Trouble says in the log that something fails: when that begins, each minute as
// long as it lasts, and when it is over, however often it is tried. It is not for
// several goroutines.
type Trouble struct {
	Logger *slog.Logger // nil means slog.Default()
	What   string       // such as "poll"

	since, said time.Time
	tries       int
}

// again is how long after a line of the log there is the next one.
const again = time.Minute

// Note says that a try has failed.
func (t *Trouble) Note(err error) {
	now := time.Now()
	t.tries++
	switch {
	case t.tries == 1:
		t.since = now
		orDefault(t.Logger).Warn(t.What+" failed, trying again", "error", err)
	case now.Sub(t.said) >= again:
		orDefault(t.Logger).Warn(t.What+" still fails, trying again", "error", err, "tries", t.tries, "for", now.Sub(t.since).Round(time.Second))
	default:
		return
	}
	t.said = now
}

// Over says that a try has succeeded.
func (t *Trouble) Over() {
	if t.tries == 0 {
		return
	}
	orDefault(t.Logger).Info(t.What+" works again", "failed", t.tries, "for", time.Since(t.since).Round(time.Millisecond))
	t.tries = 0
}

// orDefault is the logger, for which nil means slog.Default().
func orDefault(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.Default()
	}
	return log
}
