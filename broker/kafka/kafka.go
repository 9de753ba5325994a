// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace-ml/millrace/broker"
)

var _ broker.Broker = (*Broker)(nil)

// Broker is a client of a Kafka cluster. See [broker.Broker] for its methods.
type Broker struct {
	address *address
	options Options
	client  *kgo.Client // publishes, and asks everything that is not a consumer's
	admin   *kadm.Client
	topics  *directory

	decompressor kgo.Decompressor

	done   context.Context // ends with Close
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool
	users  map[closer]bool // open consumers and readers
	calls  sync.WaitGroup
}

// closer is a consumer or reader that is closed with the broker.
type closer interface{ shut() }

// Open connects to the cluster that the URL names:
//
//	kafka://[user:password@]host[:port][,host[:port]…][?parameters]
//
// The parameters are tls=true, ca=file, cert=file, key=file, sasl=plain,
// scram-sha-256, scram-sha-512 or oauthbearer, takeover=time (the [Options]'
// SessionTimeout and TransactionTimeout), and clientid=name; kafkas:// means
// tls=true. User, password and token are better put into
// MILLRACE_KAFKA_USERNAME, MILLRACE_KAFKA_PASSWORD and MILLRACE_KAFKA_TOKEN, or
// into files that the same names with _FILE name. Open waits up to ten seconds
// for a server that answers.
func Open(ctx context.Context, url string, o Options) (*Broker, error) {
	a, err := parseURL(url)
	if err != nil {
		return nil, fmt.Errorf("open Kafka: %w", err)
	}
	o.SessionTimeout = cmp.Or(o.SessionTimeout, a.takeover)
	o.TransactionTimeout = cmp.Or(o.TransactionTimeout, a.takeover)
	b := &Broker{address: a, options: o.withDefaults(), users: map[closer]bool{}, decompressor: kgo.DefaultDecompressor()}
	if err := b.connect(ctx); err != nil {
		return nil, fmt.Errorf("open Kafka at %s: %w", strings.Join(a.seeds, ", "), err)
	}
	limit := int32(min(b.batchBytes(), math.MaxInt32))
	b.client, err = b.newClient(
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(limit),
		kgo.ProducerLinger(0),
		kgo.MaxBufferedBytes(4*int(limit)),
	)
	if err != nil {
		return nil, fmt.Errorf("open Kafka: %w", err)
	}
	b.done, b.cancel = context.WithCancel(context.Background())
	b.admin = kadm.NewClient(b.client)
	b.topics = newDirectory(b.admin)
	return b, nil
}

// connect waits until a server answers, as one that is starting will.
func (b *Broker) connect(ctx context.Context) error {
	client, err := kgo.NewClient(b.clientOptions()...)
	if err != nil {
		return err
	}
	defer client.Close()
	bounded, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for try := 1; ; try++ {
		err := client.Ping(bounded)
		if err == nil || !heals(err) {
			return err
		}
		if sleep(bounded, backoff(try)) != nil {
			return err
		}
	}
}

// batchBytes is the largest record batch: room for a record at the limit with
// the lengths and counts around its parts.
func (b *Broker) batchBytes() int {
	return b.options.MaxRecordBytes + b.options.MaxRecordBytes/4 + 64<<10
}

// enter begins a call, which ends with leave. Its context ends with the broker.
func (b *Broker) enter(ctx context.Context) (context.Context, func(), error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, nil, broker.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	b.calls.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(b.done, cancel)
	return ctx, func() {
		stop()
		cancel()
		b.calls.Done()
	}, nil
}

// failed is a call's error as the contract wants it: of a closed broker it is
// ErrClosed, and what Kafka says in its own words is matched to the contract's.
func (b *Broker) failed(err error) error {
	switch {
	case err == nil:
		return nil
	case b.done.Err() != nil || errors.Is(err, kgo.ErrClientClosed):
		return broker.ErrClosed
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID):
		b.topics.forgetAll()
		return fmt.Errorf("%w: %w", broker.ErrUnknownTopic, err)
	case errors.Is(err, kerr.MessageTooLarge), errors.Is(err, kerr.RecordListTooLarge):
		return fmt.Errorf("%w: the topic's max.message.bytes is less than the limit of this client: %w", broker.ErrTooLarge, err)
	}
	return err
}

// register keeps a consumer or reader, to be closed with the broker.
func (b *Broker) register(c closer) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return broker.ErrClosed
	}
	b.users[c] = true
	return nil
}

func (b *Broker) unregister(c closer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.users, c)
}

// Close implements [broker.Broker].
func (b *Broker) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return broker.ErrClosed
	}
	b.closed = true
	users := b.users
	b.users = nil
	b.mu.Unlock()
	b.cancel()
	b.calls.Wait()
	var wg sync.WaitGroup
	for u := range users {
		wg.Go(u.shut)
	}
	wg.Wait()
	b.client.Close()
	return nil
}
