// SPDX-License-Identifier: Apache-2.0

package brokertest

import (
	"flag"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	_ "pgregory.net/rapid" // its flags

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/brokertest/internal/memory"
)

func TestMain(m *testing.M) {
	// The model is run on brokers that break it: that is no find to keep, and
	// the shortest way to it does not matter.
	for name, value := range map[string]string{"rapid.nofailfile": "true", "rapid.shrinktime": "0s"} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

// newMemory is a harness of the broker in memory, broken or not.
func newMemory(t testing.TB, fault memory.Fault) *Harness {
	opts := memory.Options{HandoverTimeout: 300 * time.Millisecond, Fault: fault}
	limit := 1 << 20
	switch fault {
	case memory.LimitTooLow:
		limit--
	case memory.LimitTooHigh:
		limit++
	}
	var mu sync.Mutex
	b := memory.New(opts)
	current := func() *memory.Broker {
		mu.Lock()
		defer mu.Unlock()
		return b
	}
	t.Cleanup(func() { current().Unblock() })
	return &Harness{
		Open: func(t testing.TB) *broker.Broker {
			b := broker.New(current(), broker.Options{MaxRecordBytes: limit})
			t.Cleanup(func() { b.Close() })
			return b
		},
		Restart: func(testing.TB) {
			mu.Lock()
			defer mu.Unlock()
			b = b.Crash()
		},
		FillDisk: func(testing.TB) (heal func()) {
			current().SetFull(true)
			return func() { current().SetFull(false) }
		},
		HandoverTimeout: opts.HandoverTimeout,
		MaxRecordBytes:  1 << 20,
	}
}

func TestACorrectBrokerPasses(t *testing.T) {
	Run(t, func(t testing.TB) *Harness { return newMemory(t, "") })
}
