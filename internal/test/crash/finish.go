// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/millrace-ml/millrace/gateway"
)

// drainLimit is how long the pipeline may take for what is left after the kills
// without any progress.
const drainLimit = time.Minute

// finish waits until nothing is left to do and stops the workers.
func finish(ctx context.Context, servers []Victim, workers []*worker) error {
	for _, s := range servers {
		if err := s.Ready(ctx); err != nil {
			return err
		}
	}
	for _, w := range workers {
		if err := w.Ready(ctx); err != nil {
			return err
		}
	}
	if err := drained(ctx, &gateway.Client{Base: workers[0].address()}); err != nil {
		for _, w := range workers {
			err = errors.Join(err, w.alive())
		}
		return fmt.Errorf("look whether all is answered: %w", err)
	}
	for _, w := range workers {
		if err := w.stop(); err != nil {
			return err
		}
	}
	return nil
}

// drained returns when nothing is left to do.
func drained(ctx context.Context, client *gateway.Client) error {
	var before []gateway.Topic
	left := int64(-1)
	still := time.Now()
	for {
		topics, err := client.Topics(ctx)
		if err != nil {
			return err
		}
		// Nobody had anything left to take, and nothing was written meanwhile that
		// somebody would have to take: it is over.
		unchanged := reflect.DeepEqual(topics, before)
		if unchanged && left == 0 {
			return nil
		}
		if !unchanged {
			before, still = topics, time.Now()
		} else if time.Since(still) > drainLimit {
			return fmt.Errorf("the pipeline stands still: %d records wait and nothing was written for %v", left, drainLimit)
		}
		if left, err = lag(ctx, client); err != nil {
			return err
		}
		pause(ctx, 50*time.Millisecond)
	}
}

// lag is how much the groups have still to take in all, or -1 while not all of
// them exist.
func lag(ctx context.Context, client *gateway.Client) (int64, error) {
	groups, err := client.Groups(ctx)
	if err != nil || len(groups) < len(services)+1 {
		return -1, err
	}
	var lag int64
	for _, g := range groups {
		lag += g.Lag
	}
	return lag, nil
}
