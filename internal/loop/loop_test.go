// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

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
