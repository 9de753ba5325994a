// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/millrace-ml/millrace/gateway"
)

// drainLimit is how long the pipeline may take for what is left after the kills
// without any progress.
const drainLimit = time.Minute

// finish waits until nothing is left to do and stops the workers.
func finish(ctx context.Context, workers []*worker) error {
	if err := workers[0].Ready(ctx); err != nil {
		return err
	}
	client := &gateway.Client{Base: workers[0].address()}
	var before []gateway.Topic
	left := int64(-1)
	still := time.Now()
	for {
		topics, err := client.Topics(ctx)
		if err != nil {
			return fmt.Errorf("look whether all is answered: %w", err)
		}
		// Nobody had anything left to take, and nothing was written meanwhile that
		// somebody would have to take: it is over.
		unchanged := reflect.DeepEqual(topics, before)
		if unchanged && left == 0 {
			break
		}
		if !unchanged {
			before, still = topics, time.Now()
		} else if time.Since(still) > drainLimit {
			return fmt.Errorf("the pipeline stands still: %d records wait and nothing was written for %v", left, drainLimit)
		}
		if left, err = lag(ctx, client); err != nil {
			return fmt.Errorf("look whether all is answered: %w", err)
		}
		pause(ctx, 50*time.Millisecond)
	}
	for _, w := range workers {
		if err := w.stop(); err != nil {
			return err
		}
	}
	return nil
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
