// SPDX-License-Identifier: Apache-2.0

// Package brokertest is the conformance suite of the broker contract: what a
// driver must do so that everything above it holds.
//
// The one idea: there is one suite and it has no capability flags. A driver
// describes in a [Harness] how to reach its broker and how to make it fail, and
// passes every property of [Run], or it is not a driver. The suite itself is
// tested on a broker that breaks one promise at a time.
package brokertest

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// Harness is how the suite reaches one broker and makes it fail.
type Harness struct {
	// Open returns a client of the broker; each call reaches the same data. A
	// driver whose data admits one process may return the same Broker again.
	// It waits for a broker that is starting. Open is called by several
	// goroutines at once and not after the test's end; what it opened is closed
	// with t.Cleanup. (The suite calls Broker.Close itself only where it tests
	// that, on a harness of which it opened one client.)
	Open func(t testing.TB) *broker.Broker

	// Restart ends the broker as a power cut or kill -9 would and starts it
	// again with what was durable. When it returns, Open works. Clients opened
	// before may resume or return errors, but what they acknowledge must be
	// kept: no call may return nil for what the cut has undone. Nothing else
	// runs on the broker during a test that calls Restart.
	Restart func(t testing.TB)

	// FillDisk leaves the broker no room, until heal is called. It is nil where
	// the driver's disk cannot be filled.
	FillDisk func(t testing.TB) (heal func())

	// HandoverTimeout is how long a silent member keeps partitions that another
	// one should have. Short ones (a few hundred milliseconds) keep the suite
	// short.
	HandoverTimeout time.Duration

	// MaxRecordBytes is the limit that the broker was opened with; 0 means
	// broker.DefaultMaxRecordBytes.
	MaxRecordBytes int

	// Patience is how long the suite waits for what must happen before it fails;
	// 0 means 30 seconds. A correct broker never takes that long.
	Patience time.Duration
}

// Run tests every property of the contract, each as a subtest of its own with a
// harness of its own. Topics and groups have new names in every subtest, so
// that harnesses may share one server. Subtests run in parallel, except those
// that restart the broker or fill its disk.
//
// MILLRACE_LONG=1 in the environment makes the tests with load and crashes run
// about twenty times as long.
func Run(t *testing.T, newHarness func(t testing.TB) *Harness) {
	for _, p := range properties() {
		t.Run(p.name, func(t *testing.T) {
			if !p.alone {
				t.Parallel()
			}
			h := newHarness(t)
			if p.needsFillDisk && h.FillDisk == nil {
				t.Skip("this broker's disk cannot be filled from here")
			}
			p.check(newSuite(t, h))
		})
	}
}

// property is a sentence of the contract and its test.
type property struct {
	name          string
	check         func(s *suite)
	alone         bool // not beside other properties: it disturbs the broker
	needsFillDisk bool
}

func properties() []property {
	return slices.Concat(
		failureProperties(),
		publishProperties(),
		topicProperties(),
		readProperties(),
		groupProperties(),
		seekProperties(),
		pollProperties(),
		settleProperties(),
		batchProperties(),
		rebalanceProperties(),
		handoverProperties(),
		driverProperties(),
		loadProperties(),
		modelProperties(),
	)
}

// long is n, or twenty times n when the environment asks for the long form.
func long(n int) int {
	if os.Getenv("MILLRACE_LONG") != "" {
		return 20 * n
	}
	return n
}
