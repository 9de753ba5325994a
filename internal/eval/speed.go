// SPDX-License-Identifier: Apache-2.0

package eval

import (
	"context"
	"runtime"
	"time"
)

// Speed is how fast a model answers on one core.
type Speed struct {
	Unit      string  `json:"unit"` // what is counted: texts, tokens
	PerSecond float64 `json:"per_second"`
	// Allocations is how often memory is allocated for a text, once the model is
	// warm.
	Allocations float64 `json:"allocations_per_text"`
	Of          string  `json:"of"` // what is timed
}

// maxTimed bounds the texts of one round, so that there are several.
const maxTimed = 2000

// chunk is how many texts are timed at once.
const chunk = 32

// clock has the model answer the texts again and again, in one goroutine.
// Answer answers texts from…to-1 and returns how many units that was. Of each
// chunk the fastest time counts: what makes others slower is not the model.
func clock(ctx context.Context, c *Config, n int, unit, of string, answer func(from, to int) int) (*Speed, error) {
	if c.Speed <= 0 || n == 0 {
		return nil, nil
	}
	c.stage("measuring the speed")
	n = min(n, maxTimed)
	units := answer(0, n) // and warm
	fastest := make([]time.Duration, (n+chunk-1)/chunk)
	var before, after runtime.MemStats
	rounds := 0
	runtime.ReadMemStats(&before)
	for begun := time.Now(); rounds == 0 || time.Since(begun) < c.Speed; rounds++ {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		for k := range fastest {
			start := time.Now()
			answer(k*chunk, min((k+1)*chunk, n))
			if took := time.Since(start); rounds == 0 || took < fastest[k] {
				fastest[k] = took
			}
		}
	}
	runtime.ReadMemStats(&after)
	var total time.Duration
	for _, took := range fastest {
		total += took
	}
	return &Speed{
		Unit: unit, Of: of,
		PerSecond:   float64(units) / total.Seconds(),
		Allocations: float64(after.Mallocs-before.Mallocs) / float64(n*rounds),
	}, nil
}
