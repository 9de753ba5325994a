// SPDX-License-Identifier: Apache-2.0

package brokers

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/broker/kafka"
	"github.com/millrace-ml/millrace/broker/redis"
)

// Open opens the broker that a URL names: kafka://host:9092, redis://host:6379,
// or embedded, which takes the parameter durability (fsync or os) as in
// embedded?durability=os. An empty URL is embedded. The data directory is the
// embedded broker's.
func Open(address, dataDir string, log *slog.Logger) (broker.Broker, error) {
	kind := brokerKind(address)
	switch kind {
	case "embedded":
		return openEmbedded(address, dataDir, log)
	case "kafka", "kafkas":
		return kafka.Open(context.Background(), address, kafka.Options{Logger: log})
	case "redis", "rediss":
		return redis.Open(context.Background(), address, redis.Options{Logger: log})
	}
	return nil, fmt.Errorf("broker %s: write embedded, kafka://host:9092 or redis://host:6379", kind)
}

func brokerKind(address string) string {
	kind, _, _ := strings.Cut(address, ":")
	kind, _, _ = strings.Cut(kind, "?")
	if kind == "" {
		return "embedded"
	}
	return kind
}

func openEmbedded(address, dataDir string, log *slog.Logger) (broker.Broker, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("broker %s: %w", address, err)
	}
	o := embedded.Options{Logger: log}
	for name, values := range u.Query() {
		if name != "durability" {
			return nil, fmt.Errorf("broker %s: there is no parameter %s; the embedded broker has durability=fsync or os", address, name)
		}
		if o.Durability, err = embedded.ParseDurability(values[0]); err != nil {
			return nil, fmt.Errorf("broker %s: %w", address, err)
		}
	}
	return embedded.Open(dataDir, o)
}
