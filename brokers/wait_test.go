// SPDX-License-Identifier: Apache-2.0

package brokers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// tried is a scheme whose broker is out of reach for a number of tries.
func tried(tries *int, away int, then error) scheme {
	return scheme{open: func(_ context.Context, _ string, o Options) (*broker.Broker, error) {
		*tries++
		time.Sleep(5 * time.Second)
		if *tries <= away {
			o.Logger.Warn("the driver says so too")
			return nil, fmt.Errorf("open: %w: connection refused", broker.ErrUnreachable)
		}
		if then != nil {
			return nil, then
		}
		return broker.New(nil, broker.Options{Logger: o.Logger.With("driver", "d").WithGroup("g")}), nil
	}}
}

func TestABrokerThatIsOutOfReachIsWaitedFor(t *testing.T) {
	refused := errors.New("the password is wrong")
	for name, c := range map[string]struct {
		wait  time.Duration
		away  int
		then  error
		tries int
		err   error
	}{
		"it is there":         {0, 0, nil, 1, nil},
		"it refuses":          {-1, 0, refused, 1, refused},
		"it refuses later":    {-1, 3, refused, 4, refused},
		"nobody waits":        {0, 9, nil, 1, broker.ErrUnreachable},
		"it comes in time":    {time.Minute, 5, nil, 6, nil},
		"it comes too late":   {12 * time.Second, 9, nil, 3, broker.ErrUnreachable},
		"it comes after ever": {-1, 500, nil, 501, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				var log bytes.Buffer
				logger := slog.New(slog.NewTextHandler(&log, nil))
				b, err := tried(&tries, c.away, c.then).wait(t.Context(), "x", Options{Wait: c.wait, Logger: logger})
				if !errors.Is(err, c.err) || c.err == nil && err != nil || tries != c.tries {
					t.Errorf("%v after %d tries, want %v after %d", err, tries, c.err, c.tries)
				}
				if n := strings.Count(log.String(), "waiting for the broker"); n > 1 || strings.Count(log.String(), "so too") > 1 {
					t.Errorf("it is said more than once:\n%s", log.String())
				}
				if b == nil {
					return
				}
				log.Reset()
				if b.Options().Logger.Warn("heard"); !strings.Contains(log.String(), "heard") {
					t.Error("the broker's logger stays silent")
				}
			})
		})
	}
}

func TestWaitingForABrokerEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		tries := 0
		_, err := tried(&tries, 1<<30, nil).wait(ctx, "x", Options{Wait: -1, Logger: slog.New(slog.DiscardHandler)})
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, broker.ErrUnreachable) || tries < 100 {
			t.Errorf("%v after %d tries", err, tries)
		}
	})
}

// A server that nobody runs, as the drivers see it.
func TestDriversSayThatAServerIsOutOfReach(t *testing.T) {
	for _, url := range []string{"redis://127.0.0.1:1", "kafka://127.0.0.1:1"} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := find(url); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(ctx, url, Options{Logger: slog.New(slog.DiscardHandler)}); !errors.Is(err, broker.ErrUnreachable) {
			t.Errorf("%s: %v", url, err)
		}
	}
}
