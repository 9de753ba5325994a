// SPDX-License-Identifier: Apache-2.0

package brokers

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/broker/kafka"
	"github.com/millrace-ml/millrace/broker/redis"
)

// Open opens the broker that a pipeline file names. The data directory is
// the embedded broker's.
func Open(url, dataDir string, log *slog.Logger) (*broker.Broker, error) {
	kind := brokerKind(url)
	switch kind {
	case "embedded":
		return embedded.Open(dataDir, embedded.Options{Logger: log})
	case "kafka", "kafkas":
		return kafka.Open(context.Background(), url, kafka.Options{Logger: log})
	case "redis", "rediss":
		return redis.Open(context.Background(), url, redis.Options{Logger: log})
	}
	return nil, fmt.Errorf("broker %s: write embedded, kafka://host:9092 or redis://host:6379", kind)
}

func brokerKind(url string) string {
	kind, _, _ := strings.Cut(url, ":")
	if kind == "" {
		return "embedded"
	}
	return kind
}
