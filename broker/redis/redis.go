// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/settings"
)

// DefaultNamespace is what a URL without ?namespace= means.
const DefaultNamespace = "millrace"

const (
	dialTimeout = 2 * time.Second
	callTimeout = 10 * time.Second
	openTimeout = 5 * time.Second
)

// Options of a broker beside what its URL says. The zero value is a good default.
type Options struct {
	MaxRecordBytes  int           // 0: broker.DefaultMaxRecordBytes
	HandoverTimeout time.Duration // how long a member may keep a partition that is to move, or be silent; 0: the URL's takeover, or else 10 s
	Logger          *slog.Logger  // nil: slog.Default()

	retentionInterval time.Duration // 0: 30 s
}

// check refuses options that mean nothing.
func (o *Options) check() error {
	return settings.NotNegative(
		settings.Option{Name: "MaxRecordBytes", Value: int64(o.MaxRecordBytes)},
		settings.Option{Name: "HandoverTimeout", Value: int64(o.HandoverTimeout)},
	)
}

func (o *Options) setDefaults() {
	if o.HandoverTimeout == 0 {
		o.HandoverTimeout = 10 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.retentionInterval == 0 {
		o.retentionInterval = 30 * time.Second
	}
}

// driver is a namespace of a Redis server or cluster.
type driver struct {
	options Options
	server  string // without secrets
	client  redis.UniversalClient
	keys    keys
	scripts scripts
	lanes   lanes
	outage  outage

	data     atomic.Pointer[data]
	renewing sync.Mutex

	life       context.Context // ends with Close
	end        context.CancelFunc
	background sync.WaitGroup // heartbeats, retention, and calls that were left alone
}

var _ broker.Driver = (*driver)(nil)

// Open connects to the server that the URL names:
//
//	redis://[user:password@]host[:port][,host[:port]…][/database][?parameters]
//
// With rediss:// the connection is encrypted. Several hosts, or cluster=true,
// are a Redis Cluster. The other parameters are namespace (the prefix of all
// keys, "millrace"), takeover (the [Options]' HandoverTimeout), ca (a file with
// the authority that signed the server's certificate), cert and key (files with
// the client's own). The user's name and password may be in the environment as
// MILLRACE_REDIS_USERNAME and MILLRACE_REDIS_PASSWORD, which win over the URL's.
//
// A server that does not answer is tried for five seconds, or until ctx ends.
// Errors never contain a secret.
//
// Consumers that are open when the broker is closed go silent: their partitions
// move after the hand-over time. Close them first.
func Open(ctx context.Context, url string, o Options) (*broker.Broker, error) {
	a, err := parseURL(url)
	if err != nil {
		return nil, fmt.Errorf("redis broker's URL: %w", err)
	}
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("open the Redis broker at %s: %w", a.String(), err)
	}
	o.HandoverTimeout = cmp.Or(o.HandoverTimeout, a.takeover)
	o.setDefaults()
	d := &driver{
		options: o, server: a.String(), client: a.connect(),
		keys: newKeys(a.namespace), scripts: newScripts(), lanes: newLanes(),
	}
	d.data.Store(&data{})
	d.life, d.end = context.WithCancel(context.Background())
	d.outage.d = d
	if err := d.begin(ctx); err != nil {
		_ = d.Close()
		return nil, fmt.Errorf("open the Redis broker at %s: %w", d.server, err)
	}
	d.background.Go(d.retain)
	return broker.New(d, broker.Options{MaxRecordBytes: o.MaxRecordBytes, Logger: o.Logger}), nil
}

// begin checks that the server is one to work with, and learns its topics.
func (d *driver) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	var last atomic.Pointer[error]
	info, err := call(ctx, d, func(ctx context.Context) (string, error) {
		info, err := d.client.Info(ctx).Result()
		if err == nil && parseInfo(info)["loading"] == "1" {
			err = errLoading // what it says of itself is not true yet
		}
		if err != nil {
			last.Store(&err)
		}
		if untrusted(err) {
			cancel() // it will not be trusted the next time either
		}
		return info, err
	})
	if last := last.Load(); err != nil && last != nil {
		switch {
		case untrusted(*last):
			err = fmt.Errorf("%w: name the authority that vouches for the server with ?ca=file", *last)
		case errors.Is(err, context.DeadlineExceeded):
			err = fmt.Errorf("%w: %w; is it running there?", broker.ErrUnreachable, *last)
		}
	}
	if err != nil {
		return err
	}
	if err := d.checkServer(parseInfo(info)); err != nil {
		return err
	}
	return d.refresh(ctx)
}

func untrusted(err error) bool {
	var failed *tls.CertificateVerificationError
	return errors.As(err, &failed)
}

var errLoading = errors.New("the server is loading its data")

// checkServer refuses servers that could not keep the contract, and says what
// the others' settings mean.
func (d *driver) checkServer(info map[string]string) error {
	version := info["redis_version"]
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err == nil && n < 7 {
		return fmt.Errorf("it has version %s: use Redis 7.0 or newer, or Valkey", version)
	}
	if policy := info["maxmemory_policy"]; info["maxmemory"] != "0" && strings.HasPrefix(policy, "allkeys-") {
		return fmt.Errorf("its maxmemory-policy is %s, which deletes records when memory is short: set it to noeviction", policy)
	}
	if info["aof_enabled"] == "0" {
		d.options.Logger.Warn("Redis has appendonly off: what is acknowledged is lost when the server ends", "server", d.server)
	}
	return nil
}

// parseInfo reads the answer of INFO: lines of name:value.
func parseInfo(text string) map[string]string {
	info := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return info
}

// Close implements [broker.Driver].
func (d *driver) Close() error {
	d.end()
	err := d.client.Close()
	d.background.Wait()
	return err
}
