// SPDX-License-Identifier: Apache-2.0

// Package brokers opens any broker by its URL. It is apart from package broker so
// that a program which opens one driver itself compiles no other.
package brokers

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/broker/kafka"
	"github.com/millrace-ml/millrace/broker/redis"
)

// Options are those that brokers of all kinds have. The zero value is a good
// default.
type Options struct {
	DataDir    string              // of the embedded broker; empty means "millrace-data"
	Durability embedded.Durability // of the embedded broker
	Logger     *slog.Logger        // nil means slog.Default()
}

// scheme is a kind of broker, known by the first part of its URL.
type scheme struct {
	names   []string
	example string
	open    func(ctx context.Context, url string, o Options) (*broker.Broker, error)
}

// schemes are all kinds of broker. To add one, add its package and a line here.
var schemes = []scheme{
	{[]string{"embedded", ""}, "embedded", openEmbedded},
	{[]string{"redis", "rediss"}, "redis://host:6379", openRedis},
	{[]string{"kafka", "kafkas"}, "kafka://host:9092", openKafka},
}

// Open opens the broker with that URL: "embedded" (or nothing) for the one in a
// folder of this machine, redis://host:6379, kafka://host:9092, or rediss:// and
// kafkas:// with TLS. What else a URL can say is in the drivers' packages. The
// context is for opening only.
func Open(ctx context.Context, url string, o Options) (*broker.Broker, error) {
	s, err := find(url)
	if err != nil {
		return nil, err
	}
	return s.open(ctx, url, o)
}

// Check reports what is wrong with a URL's scheme. It connects to nothing.
func Check(url string) error {
	_, err := find(url)
	return err
}

// find names no more of the URL than its scheme: the rest may be a password.
func find(url string) (scheme, error) {
	name, _, _ := strings.Cut(url, ":")
	for _, s := range schemes {
		if slices.Contains(s.names, name) {
			return s, nil
		}
	}
	var examples []string
	for _, s := range schemes {
		examples = append(examples, s.example)
	}
	return scheme{}, fmt.Errorf("no broker has the scheme %q: write %s", name, strings.Join(examples, " or "))
}

func openEmbedded(_ context.Context, _ string, o Options) (*broker.Broker, error) {
	dir := o.DataDir
	if dir == "" {
		dir = "millrace-data"
	}
	return embedded.Open(dir, embedded.Options{Durability: o.Durability, Logger: o.Logger})
}

func openRedis(ctx context.Context, url string, o Options) (*broker.Broker, error) {
	return redis.Open(ctx, url, redis.Options{Logger: o.Logger})
}

func openKafka(ctx context.Context, url string, o Options) (*broker.Broker, error) {
	return kafka.Open(ctx, url, kafka.Options{Logger: o.Logger})
}

// Embedded reports whether a URL means the embedded broker, which only one process
// can open at a time.
func Embedded(url string) bool {
	s, err := find(url)
	return err == nil && s.names[0] == "embedded"
}
