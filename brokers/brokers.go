// SPDX-License-Identifier: Apache-2.0

// Package brokers opens any broker by its URL. It is apart from package broker so
// that a program which opens one driver itself compiles no other.
package brokers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/broker/kafka"
	"github.com/millrace-ml/millrace/broker/redis"
)

// Options are those that brokers of all kinds have. The zero value is a good
// default.
type Options struct {
	DataDir string       // of the embedded broker; empty means "millrace-data"
	Logger  *slog.Logger // nil means slog.Default()

	// Wait is how long a server that is out of reach is waited for, beyond the five
	// or ten seconds that the drivers do; negative: until the context ends. 0: no
	// longer than that, and the error is a [broker.ErrUnreachable].
	Wait time.Duration

	// ReadOnly changes nothing in the data directory of an embedded broker, which
	// must exist. Brokers elsewhere are opened as always: they are written only by
	// what is asked of them.
	ReadOnly bool
}

// scheme is a kind of broker, known by the first part of its URL.
type scheme struct {
	names   []string
	example string
	open    func(ctx context.Context, address string, o Options) (*broker.Broker, error)
}

// schemes are all kinds of broker. To add one, add its package and a line here.
var schemes = []scheme{
	{[]string{"embedded", ""}, "embedded", openEmbedded},
	{[]string{"redis", "rediss"}, "redis://host:6379", openRedis},
	{[]string{"kafka", "kafkas"}, "kafka://host:9092", openKafka},
}

// Open opens the broker with that URL: "embedded" (or nothing) for the one in a
// folder of this machine, "embedded?durability=os" for it without fsync,
// redis://host:6379, kafka://host:9092, or rediss:// and kafkas:// with TLS. What
// else a URL can say is in the drivers' packages. The context is for opening only.
func Open(ctx context.Context, address string, o Options) (*broker.Broker, error) {
	s, err := find(address)
	if err != nil {
		return nil, err
	}
	return s.wait(ctx, address, o)
}

// Check reports what is wrong with a URL's scheme. It connects to nothing.
func Check(address string) error {
	_, err := find(address)
	return err
}

// find names no more of the URL than its scheme: the rest may be a password.
func find(address string) (scheme, error) {
	name, _, _ := strings.Cut(address, ":")
	name, _, _ = strings.Cut(name, "?")
	for _, s := range schemes {
		if slices.Contains(s.names, name) {
			return s, nil
		}
	}
	var examples []string
	for _, s := range schemes {
		examples = append(examples, s.example)
	}
	if strings.ContainsAny(name, "@/") || name == address {
		return scheme{}, fmt.Errorf("the broker's URL has no scheme: write %s", strings.Join(examples, " or "))
	}
	return scheme{}, fmt.Errorf("no broker has the scheme %q: write %s", name, strings.Join(examples, " or "))
}

func openEmbedded(_ context.Context, address string, o Options) (*broker.Broker, error) {
	dir := o.DataDir
	if dir == "" {
		dir = "millrace-data"
	}
	options := embedded.Options{Logger: o.Logger, ReadOnly: o.ReadOnly}
	name, query, _ := strings.Cut(address, "?")
	if name != "" && name != "embedded" {
		return nil, errors.New("the embedded broker has no address: write embedded, and its folder as the data directory")
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, errors.New("the embedded broker's parameters cannot be read: write embedded?durability=fsync or os")
	}
	for name := range values {
		if name != "durability" {
			return nil, fmt.Errorf("the embedded broker has no parameter %.20q: it has durability=fsync or os", name)
		}
		if options.Durability, err = embedded.ParseDurability(values.Get(name)); err != nil {
			return nil, fmt.Errorf("the embedded broker: %w", err)
		}
	}
	return embedded.Open(dir, options)
}

func openRedis(ctx context.Context, address string, o Options) (*broker.Broker, error) {
	return redis.Open(ctx, address, redis.Options{Logger: o.Logger})
}

func openKafka(ctx context.Context, address string, o Options) (*broker.Broker, error) {
	return kafka.Open(ctx, address, kafka.Options{Logger: o.Logger})
}

// Embedded reports whether a URL means the embedded broker, which only one process
// can open at a time.
func Embedded(address string) bool {
	s, err := find(address)
	return err == nil && s.names[0] == "embedded"
}
