// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/brokertest"
)

var conformanceOptions = Options{MaxRecordBytes: 1 << 20, HandoverTimeout: 300 * time.Millisecond, Logger: quiet}

// shared is a broker that a harness opens again after a restart.
type shared struct {
	mu sync.Mutex
	b  *broker.Broker
}

func (s *shared) get() *broker.Broker {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b
}

func (s *shared) harness(t testing.TB) *brokertest.Harness {
	t.Cleanup(func() { s.get().Close() })
	return &brokertest.Harness{
		Open:            func(testing.TB) *broker.Broker { return s.get() },
		HandoverTimeout: conformanceOptions.HandoverTimeout,
		MaxRecordBytes:  conformanceOptions.MaxRecordBytes,
	}
}

// In memory a restart is a power cut.
func TestConformanceInMemory(t *testing.T) {
	brokertest.Run(t, func(t testing.TB) *brokertest.Harness {
		disk := newTestDisk()
		rng := rand.New(rand.NewPCG(1, 2))
		s := &shared{b: disk.open(t, conformanceOptions)}
		h := s.harness(t)
		h.Restart = func(t testing.TB) {
			s.mu.Lock()
			defer s.mu.Unlock()
			old := disk
			disk = old.cut(50, rng)
			s.b.Close()
			s.b = disk.open(t, conformanceOptions)
		}
		h.FillDisk = func(testing.TB) (heal func()) {
			// Less than is kept in reserve, as another program may leave it.
			before := disk.room.Swap(64 << 20)
			return func() { disk.room.Store(before) }
		}
		return h
	})
}

// On the disk a restart is a clean end; kill -9 is in kill_test.go.
func TestConformanceOnDisk(t *testing.T) {
	brokertest.Run(t, func(t testing.TB) *brokertest.Harness {
		dir := t.TempDir()
		open := func(t testing.TB) *broker.Broker {
			b, err := Open(dir, conformanceOptions)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		s := &shared{b: open(t)}
		h := s.harness(t)
		h.Restart = func(t testing.TB) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if err := s.b.Close(); err != nil {
				t.Fatal(err)
			}
			s.b = open(t)
		}
		return h
	})
}
