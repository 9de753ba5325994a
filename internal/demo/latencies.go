// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"math"
	"time"
)

// Latencies is a distribution of durations in bounded memory. A quantile is
// exact to 3 %. The zero value is empty.
type Latencies struct {
	n       int64
	buckets [bucketsAll]int64
}

// Buckets grow by 2^(1/12), 6 %, from 10 µs to more than an hour.
const (
	bucketsAnOctave = 12
	bucketsAll      = 30 * bucketsAnOctave
	smallest        = 10 * time.Microsecond
)

func (l *Latencies) add(d time.Duration) {
	at := 0
	if d > smallest {
		at = int(math.Log2(float64(d)/float64(smallest)) * bucketsAnOctave)
	}
	l.buckets[min(at, bucketsAll-1)]++
	l.n++
}

// Quantile is the duration that a share q of all does not exceed, or 0 if there
// are none.
func (l *Latencies) Quantile(q float64) time.Duration {
	rank := int64(math.Ceil(q * float64(l.n)))
	for at, n := range l.buckets {
		if rank -= n; rank <= 0 && l.n > 0 {
			middle := math.Exp2((float64(at) + 0.5) / bucketsAnOctave)
			return time.Duration(float64(smallest) * middle)
		}
	}
	return 0
}
