// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace-ml/millrace/broker"
)

// driver is a client of a Kafka cluster; see [broker.Driver] for its methods.
type driver struct {
	address *address
	options Options
	client  *kgo.Client // publishes, and asks everything that is not a member's
	admin   *kadm.Client
	topics  *directory

	decompressor kgo.Decompressor
	acquainted   acquainted

	mu    sync.Mutex
	users map[user]bool
}

// user is a member or a cursor with a client of its own, which ends with the
// driver if it has not been closed before.
type user interface{ end(ctx context.Context) }

var _ broker.Driver = (*driver)(nil)

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
func Open(ctx context.Context, url string, o Options) (*broker.Broker, error) {
	a, err := parseURL(url)
	if err != nil {
		return nil, fmt.Errorf("open Kafka: %w", err)
	}
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("open Kafka at %s: %w", strings.Join(a.seeds, ", "), err)
	}
	o.SessionTimeout = cmp.Or(o.SessionTimeout, a.takeover)
	o.TransactionTimeout = cmp.Or(o.TransactionTimeout, a.takeover)
	d := &driver{address: a, users: map[user]bool{}, decompressor: kgo.DefaultDecompressor()}
	b := broker.New(d, broker.Options{MaxRecordBytes: o.MaxRecordBytes, Logger: o.Logger})
	d.options = o.withDefaults(b.Options())
	if err := d.connect(ctx); err != nil {
		return nil, fmt.Errorf("open Kafka at %s: %w", strings.Join(a.seeds, ", "), d.known(err))
	}
	if d.client, err = d.newClient(append(d.produceOptions(), kgo.MaxBufferedBytes(4*d.batchBytes()))...); err != nil {
		return nil, fmt.Errorf("open Kafka: %w", err)
	}
	d.admin = kadm.NewClient(d.client)
	d.topics = newDirectory(d.admin)
	return b, nil
}

// connect waits until a server answers, as one that is starting will.
func (d *driver) connect(ctx context.Context) error {
	client, err := kgo.NewClient(d.clientOptions()...)
	if err != nil {
		return err
	}
	defer client.Close()
	bounded, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for try := 1; ; try++ {
		err := client.Ping(bounded)
		if err == nil || !heals(err) && bounded.Err() == nil {
			return err
		}
		if again(bounded, try) != nil {
			return fmt.Errorf("%w: %w", broker.ErrUnreachable, err)
		}
	}
}

// batchBytes is the largest record batch: room for a record at the limit with
// the lengths and counts around its parts.
func (d *driver) batchBytes() int {
	return d.options.MaxRecordBytes + d.options.MaxRecordBytes/4 + 64<<10
}

// known is an error in the contract's words, where Kafka said it in its own.
func (d *driver) known(err error) error {
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID):
		d.topics.forgetAll()
		return fmt.Errorf("%w: %w", broker.ErrUnknownTopic, err)
	case errors.Is(err, kerr.MessageTooLarge), errors.Is(err, kerr.RecordListTooLarge):
		return fmt.Errorf("%w: the topic's max.message.bytes is less than the limit of this client: %w", broker.ErrTooLarge, err)
	case refused(err):
		return fmt.Errorf("%w: %w", broker.ErrRefused, err)
	}
	return err
}

// opened notes what Close has to end, closed that it has ended.
func (d *driver) opened(u user) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.users[u] = true
}

func (d *driver) closed(u user) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.users, u)
}

// Close implements [broker.Driver].
func (d *driver) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var ending sync.WaitGroup
	for u := range d.users { // no call is left that could change it
		ending.Go(func() { u.end(ctx) })
	}
	ending.Wait()
	d.client.Close()
	return nil
}
