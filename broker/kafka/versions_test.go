// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"os"
	"testing"

	"github.com/millrace-ml/millrace/broker/brokertest"
	servers "github.com/millrace-ml/millrace/internal/servers/kafka"
)

// MILLRACE_KAFKA_VERSION names another version of Apache Kafka to run the whole
// suite on, such as 3.9.1 after scripts/fetch-kafka.sh 3.9.1. Before 4.0
// transactions are told of their partitions and groups one by one.
func TestConformanceOnAnotherVersion(t *testing.T) {
	version := os.Getenv("MILLRACE_KAFKA_VERSION")
	if version == "" {
		t.Skip("MILLRACE_KAFKA_VERSION names no version")
	}
	c := startCluster(t, servers.Options{Version: version})
	brokertest.Run(t, func(t testing.TB) *brokertest.Harness {
		clients := &clients{url: c.URL(), options: conformanceOptions}
		h := clients.harness()
		h.Restart = func(t testing.TB) {
			c.Nodes[0].Kill()
			if err := c.Nodes[0].Restart(); err != nil {
				t.Fatal(err)
			}
			clients.close()
		}
		return h
	})
}
