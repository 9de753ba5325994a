// SPDX-License-Identifier: Apache-2.0

package brokers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/backoff"
)

// wait opens the broker, trying again while it is out of reach.
func (s scheme) wait(ctx context.Context, address string, o Options) (*broker.Broker, error) {
	log := o.Logger
	if log == nil {
		log = slog.Default()
	}
	begun, pause := time.Now(), backoff.New(time.Second/2, backoff.Longest)
	for tries := 1; ; tries++ {
		b, err := s.open(ctx, address, o)
		switch {
		case err == nil:
			if tries > 1 {
				log.Info("the broker is within reach", "after", time.Since(begun).Round(time.Second))
			}
			o.unmute()
			return b, nil
		case !errors.Is(err, broker.ErrUnreachable):
			return nil, err
		case ctx.Err() != nil:
			return nil, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case o.Wait >= 0 && time.Since(begun) >= o.Wait:
			return nil, err
		}
		if tries == 1 {
			log.Warn("waiting for the broker", "error", err)
			o.mute(log) // each further try would say the same
		}
		_ = pause.Wait(ctx) // the next try ends with it
	}
}

// mute gives those that are opened from now on a logger that is silent until
// unmute is called.
func (o *Options) mute(log *slog.Logger) { o.Logger = slog.New(muted{log.Handler(), &atomic.Bool{}}) }

func (o *Options) unmute() {
	if o.Logger == nil {
		return
	}
	if m, is := o.Logger.Handler().(muted); is {
		m.loud.Store(true)
	}
}

// muted is a handler that drops what it is given until it is loud.
type muted struct {
	slog.Handler
	loud *atomic.Bool
}

func (m muted) Enabled(ctx context.Context, level slog.Level) bool {
	return m.loud.Load() && m.Handler.Enabled(ctx, level)
}

func (m muted) WithAttrs(attrs []slog.Attr) slog.Handler {
	return muted{m.Handler.WithAttrs(attrs), m.loud}
}

func (m muted) WithGroup(name string) slog.Handler { return muted{m.Handler.WithGroup(name), m.loud} }
