// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"os"
	"testing"

	"github.com/millrace-ml/millrace/broker/brokertest"
	servers "github.com/millrace-ml/millrace/internal/test/servers/kafka"
)

// MILLRACE_KAFKA_VERSION names another version of Apache Kafka to run the whole
// suite on, such as 3.9.1 after scripts/fetch-kafka.sh 3.9.1. Before 4.0
// transactions are told of their partitions and groups one by one.
func TestConformanceOnAnotherVersion(t *testing.T) {
	version := os.Getenv("MILLRACE_KAFKA_VERSION")
	if version == "" {
		t.Skip("MILLRACE_KAFKA_VERSION names no version")
	}
	c := servers.ForTest(t, servers.Options{Version: version})
	brokertest.Run(t, func(testing.TB) *brokertest.Harness { return killing(c) })
}
