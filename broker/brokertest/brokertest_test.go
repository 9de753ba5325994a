// SPDX-License-Identifier: Apache-2.0

package brokertest

import (
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/brokertest/internal/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newMemory is a harness of the broker in memory, broken or not.
func newMemory(t testing.TB, fault memory.Fault) *Harness {
	opts := memory.Options{MaxRecordBytes: 1 << 20, HandoverTimeout: 300 * time.Millisecond, Fault: fault}
	var mu sync.Mutex
	b := memory.New(opts)
	current := func() *memory.Broker {
		mu.Lock()
		defer mu.Unlock()
		return b
	}
	t.Cleanup(func() { current().Unblock() })
	return &Harness{
		Open: func(testing.TB) broker.Broker { return current() },
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
		MaxRecordBytes:  opts.MaxRecordBytes,
	}
}

func TestACorrectBrokerPasses(t *testing.T) {
	Run(t, func(t testing.TB) *Harness { return newMemory(t, "") })
}
