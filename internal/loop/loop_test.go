// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/millrace-ml/millrace/broker"
)

// What is too large stays so: it is not tried again unless there is less of it.
func TestASettleThatIsTooLargeIsTriedAgainOnlyWithLess(t *testing.T) {
	for name, c := range map[string]struct {
		shrink func(error) bool
		tries  int
		failed bool
	}{
		"there is less": {func(error) bool { return true }, 2, false},
		"there is not":  {func(error) bool { return false }, 1, true},
		"nobody knows":  {nil, 1, true},
	} {
		for _, large := range []error{&broker.TooLargeError{Index: 0, Size: 2, Limit: 1}, broker.ErrTooLarge} {
			tries := 0
			settled, err := Settling{
				Settle: func(context.Context, ...broker.Record) error {
					if tries++; tries == 1 || c.failed {
						return fmt.Errorf("settle: %w", large)
					}
					return nil
				},
				Results: func() []broker.Record { return nil },
				Shrink:  c.shrink,
				Logger:  slog.New(slog.DiscardHandler),
			}.Run(t.Context())
			if settled == c.failed || errors.Is(err, broker.ErrTooLarge) != c.failed || tries != c.tries {
				t.Errorf("%s: settled %v, %v, after %d tries", name, settled, err, tries)
			}
		}
	}
}

// In a bubble a minute takes no time.
func TestTroubleIsSaidOnceAMinuteAndWhenItIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		tries := 0
		err := Retry(t.Context(), slog.New(slog.NewTextHandler(&log, nil)), "poll", func(context.Context) error {
			if tries++; tries <= 60 {
				return errors.New("nobody there")
			}
			return nil
		})
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if err != nil || len(lines) < 3 || len(lines) > 4 ||
			!strings.Contains(lines[0], "poll failed, trying again") || !strings.Contains(lines[1], "poll still fails") ||
			!strings.Contains(lines[len(lines)-1], "poll works again") {
			t.Errorf("%v, after %d tries the log is\n%s", err, tries, log.String())
		}
	})
}

func TestWhatCannotHelpIsNotTriedAgain(t *testing.T) {
	for _, lasting := range []error{broker.ErrClosed, broker.ErrRefused, broker.ErrUnknownTopic, broker.ErrTopicConflict} {
		tries := 0
		err := Retry(t.Context(), slog.New(slog.DiscardHandler), "poll", func(context.Context) error {
			tries++
			return lasting
		})
		if !errors.Is(err, lasting) || tries != 1 {
			t.Errorf("%v after %d tries", err, tries)
		}
	}
}
