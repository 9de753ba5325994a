// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/kafka"
)

const (
	kafkaSlice = 500 * time.Millisecond
	kafkaStock = 200 // batches that are published before a slice
)

// KafkaSettle measures for about the time d how fast one consumer polls 256
// records of 200 bytes and settles as many results on a Kafka cluster, against a
// bare loop with franz-go's GroupTransactSession that does the same at the same
// batch size. The two take turns of half a second, on topics of their own with
// one partition, which stay behind under the name "bench". The URL is as in
// [kafka.Open], but the bare loop knows its hosts only: it takes no encryption
// and no passwords.
func KafkaSettle(ctx context.Context, url string, d time.Duration) (SettleResult, error) {
	b, err := kafka.Open(ctx, url, kafka.Options{})
	if err != nil {
		return SettleResult{}, fmt.Errorf("bench settle: %w", err)
	}
	defer b.Close()
	hosts, _, _ := strings.Cut(strings.TrimPrefix(url, "kafka://"), "?")
	bare, err := newKafkaBare(ctx, b, strings.Split(hosts, ","))
	if err != nil {
		return SettleResult{}, fmt.Errorf("bench settle: %w", err)
	}
	defer bare.session.Close()
	loop, err := newKafkaLoop(ctx, b)
	if err != nil {
		return SettleResult{}, fmt.Errorf("bench settle: %w", err)
	}

	var bareSpeeds, loopSpeeds speeds
	for begin := time.Now(); time.Since(begin) < d; {
		if err := kafkaTurn(ctx, b, bare.topics, bare.step, &bareSpeeds); err != nil {
			return SettleResult{}, fmt.Errorf("bench settle: franz-go alone: %w", err)
		}
		if err := kafkaTurn(ctx, b, loop.topics, loop.step, &loopSpeeds); err != nil {
			return SettleResult{}, fmt.Errorf("bench settle: Kafka driver: %w", err)
		}
	}
	return SettleResult{Bare: bareSpeeds.median(), Loop: loopSpeeds.median()}, nil
}

// kafkaTurn publishes a stock and then takes steps for the time of a slice, the
// first of them unmeasured.
func kafkaTurn(ctx context.Context, b *broker.Broker, topics kafkaTopics, step func(context.Context) (int, error), all *speeds) error {
	if *topics.stock < kafkaStock/2*settleBatch {
		if err := topics.publish(ctx, b); err != nil {
			return err
		}
	}
	n, err := step(ctx)
	if err != nil {
		return err
	}
	*topics.stock -= n
	records, begin := 0, time.Now()
	for time.Since(begin) < kafkaSlice && *topics.stock > 0 {
		if n, err = step(ctx); err != nil {
			return err
		}
		records += n
		*topics.stock -= n
	}
	all.add(records, time.Since(begin))
	return nil
}

// kafkaTopics are the topics of one of the loops.
type kafkaTopics struct {
	in, out string
	stock   *int // records that are there
}

func newKafkaTopics(ctx context.Context, b *broker.Broker, name string) (kafkaTopics, error) {
	suffix := strings.ToLower(rand.Text()[:8])
	t := kafkaTopics{in: "bench." + name + ".in." + suffix, out: "bench." + name + ".out." + suffix, stock: new(int)}
	return t, b.CreateTopics(ctx,
		broker.Topic{Name: t.in, Partitions: 1, Retention: time.Hour},
		broker.Topic{Name: t.out, Partitions: 1, Retention: time.Hour})
}

func (t kafkaTopics) publish(ctx context.Context, b *broker.Broker) error {
	records := make([]broker.Record, settleBatch)
	for i := range records {
		records[i] = broker.Record{Topic: t.in, Pinned: true, Value: make([]byte, settleRecord)}
	}
	for range kafkaStock {
		if _, err := b.Publish(ctx, records...); err != nil {
			return err
		}
	}
	*t.stock += kafkaStock * settleBatch
	return nil
}

// kafkaBare is the limit: what franz-go's documentation shows for consuming and
// producing in transactions, with waits as short as the driver's.
type kafkaBare struct {
	topics  kafkaTopics
	session *kgo.GroupTransactSession
}

func newKafkaBare(ctx context.Context, b *broker.Broker, hosts []string) (*kafkaBare, error) {
	topics, err := newKafkaTopics(ctx, b, "bare")
	if err != nil {
		return nil, err
	}
	session, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(hosts...),
		kgo.TransactionalID(topics.in),
		kgo.ConsumerGroup(topics.in),
		kgo.ConsumeTopics(topics.in),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0),
		kgo.ConcurrentTransactionsBackoff(2*time.Millisecond), // not 20, which is nearly all of the loop's time
	)
	if err != nil {
		return nil, err
	}
	return &kafkaBare{topics: topics, session: session}, nil
}

func (b *kafkaBare) step(ctx context.Context) (int, error) {
	fetches := b.session.PollRecords(ctx, settleBatch)
	if err := fetches.Err(); err != nil {
		return 0, err
	}
	if err := b.session.Begin(); err != nil {
		return 0, err
	}
	var failed error
	n := 0
	fetches.EachRecord(func(r *kgo.Record) {
		n++
		b.session.Produce(ctx, &kgo.Record{Topic: b.topics.out, Value: r.Value}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed = err
			}
		})
	})
	committed, err := b.session.End(ctx, kgo.TryCommit)
	if err == nil && !committed {
		err = errors.New("the transaction was aborted")
	}
	return n, errors.Join(failed, err)
}

// kafkaLoop is the same by the contract.
type kafkaLoop struct {
	topics  kafkaTopics
	c       *broker.Consumer
	results []broker.Record
}

func newKafkaLoop(ctx context.Context, b *broker.Broker) (*kafkaLoop, error) {
	topics, err := newKafkaTopics(ctx, b, "loop")
	if err != nil {
		return nil, err
	}
	c, err := b.Join(ctx, topics.in, broker.Start(), topics.in)
	if err != nil {
		return nil, err
	}
	return &kafkaLoop{topics: topics, c: c}, nil
}

func (l *kafkaLoop) step(ctx context.Context) (int, error) {
	batch, err := l.c.Poll(ctx, broker.Want{Records: settleBatch})
	if err != nil {
		return 0, err
	}
	l.results = l.results[:0]
	for i := range batch.Records {
		l.results = append(l.results, broker.Record{Topic: l.topics.out, Pinned: true, Value: batch.Records[i].Value})
	}
	return len(batch.Records), batch.Settle(ctx, l.results...)
}
