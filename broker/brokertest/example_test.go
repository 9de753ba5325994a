// SPDX-License-Identifier: Apache-2.0

package brokertest_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/brokertest"
	"github.com/millrace-ml/millrace/broker/embedded"
)

// A driver is a driver when its test passes, which is this one call.
func ExampleRun() {
	_ = func(t *testing.T) { // TestConformance
		brokertest.Run(t, func(t testing.TB) *brokertest.Harness {
			var disk *vfs.MemFS
			var b *broker.Broker
			start := func(t testing.TB) {
				var err error
				if b, err = embedded.Open("data", embedded.Options{FS: disk}); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { b.Close() })
			}
			disk = vfs.NewCrashableMem()
			start(t)
			return &brokertest.Harness{
				Open: func(testing.TB) *broker.Broker { return b },
				Restart: func(t testing.TB) {
					disk = disk.CrashClone(vfs.CrashCloneCfg{}) // what was synced
					start(t)
				},
			}
		})
	}
}
