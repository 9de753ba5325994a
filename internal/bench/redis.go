// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/redis"
)

// RedisSettle measures for about the time d how fast one consumer polls 256
// records of 200 bytes from the Redis server at the address (host:port) and
// settles as many results, against a loop written directly with the Redis client
// that reads with XREAD and runs the same script with the same batch. The two
// take turns of 100 ms. What they wrote is deleted when it ends.
func RedisSettle(ctx context.Context, addr string, d time.Duration) (SettleResult, error) {
	r, err := redisSettle(ctx, addr, d)
	if err != nil {
		return SettleResult{}, fmt.Errorf("bench Redis settle: %w", err)
	}
	return r, nil
}

func redisSettle(ctx context.Context, addr string, d time.Duration) (r SettleResult, err error) {
	namespace := "bench-" + rand.Text()
	loop, err := newRedisLoop(ctx, "redis://"+addr+"?namespace="+namespace)
	if err != nil {
		return r, err
	}
	client := goredis.NewClient(&goredis.Options{Addr: addr, Protocol: 2, DisableIdentity: true})
	defer client.Close()
	defer func() { err = errors.Join(err, deleteNamespace(client, namespace)) }()
	defer loop.close()
	bare := &redisBareLoop{client: client, script: goredis.NewScript(redis.SettleScript()), prefix: "{" + namespace + "}:bare"}
	if err := bare.begin(ctx); err != nil {
		return r, fmt.Errorf("bare loop: %w", err)
	}

	var bareSpeeds, loopSpeeds speeds
	for began := time.Now(); time.Since(began) < d; {
		if err := turn(ctx, bare.step, &bareSpeeds); err != nil {
			return r, fmt.Errorf("bare loop: %w", err)
		}
		if err := turn(ctx, loop.step, &loopSpeeds); err != nil {
			return r, err
		}
	}
	return SettleResult{Bare: bareSpeeds.median(), Loop: loopSpeeds.median()}, nil
}

func deleteNamespace(client *goredis.Client, namespace string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	it := client.Scan(ctx, 0, "{"+namespace+"}:*", 1000).Iterator()
	for it.Next(ctx) {
		if err := client.Unlink(ctx, it.Val()).Err(); err != nil {
			return err
		}
	}
	return it.Err()
}

// redisBareLoop does what a careful user of the Redis client would write.
type redisBareLoop struct {
	client  *goredis.Client
	script  *goredis.Script
	prefix  string
	last    string // id
	settled int
	read    int
}

func (l *redisBareLoop) stream() string { return l.prefix + ":stream" }
func (l *redisBareLoop) group() string  { return l.prefix + ":group" }

func (l *redisBareLoop) begin(ctx context.Context) error {
	l.last = "0-0"
	pipe := l.client.Pipeline()
	value := string(make([]byte, settleRecord))
	for range settleAhead * settleBatch {
		pipe.XAdd(ctx, &goredis.XAddArgs{Stream: l.stream(), Values: []any{"value", value}})
	}
	pipe.XGroupCreate(ctx, l.stream(), "bench", "0")
	pipe.HSet(ctx, l.group(), "o:0", "me 1", "p:loop:0", "0-0 0")
	pipe.ScriptLoad(ctx, redis.SettleScript())
	_, err := pipe.Exec(ctx)
	return err
}

func (l *redisBareLoop) step(ctx context.Context) error {
	streams, err := l.client.XRead(ctx, &goredis.XReadArgs{Streams: []string{l.stream(), l.last}, Count: settleBatch}).Result()
	if err != nil {
		return err
	}
	batch := streams[0].Messages
	if len(batch) != settleBatch {
		return fmt.Errorf("read %d records, want %d", len(batch), settleBatch)
	}
	last := batch[len(batch)-1].ID
	from := l.last + " " + strconv.Itoa(l.read)
	to := last + " " + strconv.Itoa(l.read+len(batch))
	args := make([]any, 0, 17+2*len(batch))
	args = append(args, "", "bench", "me", strconv.Itoa(l.settled+1), "", 1) // one move
	args = append(args, 3, "o:0", "1", "p:loop:0", from, to, last, l.read+len(batch))
	args = append(args, 3, 2, len(batch)) // a run of records: stream, fields and values of each, how many
	for _, m := range batch {
		args = append(args, "value", m.Values["value"])
	}
	keys := []string{l.prefix + ":generation", l.group(), l.stream()}
	if err := l.script.EvalSha(ctx, l.client, keys, args...).Err(); err != nil {
		return err
	}
	l.last, l.read, l.settled = last, l.read+len(batch), l.settled+1
	return nil
}

// redisLoop reads a topic and answers into the same topic.
type redisLoop struct {
	b       *broker.Broker
	c       *broker.Consumer
	results []broker.Record
}

func newRedisLoop(ctx context.Context, url string) (*redisLoop, error) {
	b, err := redis.Open(ctx, url, redis.Options{})
	if err != nil {
		return nil, err
	}
	l := &redisLoop{b: b}
	if err := l.begin(ctx); err != nil {
		b.Close()
		return nil, err
	}
	return l, nil
}

func (l *redisLoop) begin(ctx context.Context) (err error) {
	const topic = "loop"
	if err := l.b.CreateTopics(ctx, broker.Topic{Name: topic, Partitions: 1}); err != nil {
		return err
	}
	for range settleBatch {
		l.results = append(l.results, broker.Record{Topic: topic, Pinned: true, Value: make([]byte, settleRecord)})
	}
	for range settleAhead {
		if _, err := l.b.Publish(ctx, l.results...); err != nil {
			return err
		}
	}
	l.c, err = l.b.Join(ctx, "bench", broker.Start(), topic)
	return err
}

func (l *redisLoop) step(ctx context.Context) error {
	batch, err := l.c.Poll(ctx, broker.Want{Records: settleBatch})
	if err != nil {
		return err
	}
	if n := len(batch.Records); n != settleBatch {
		return fmt.Errorf("polled %d records, want %d", n, settleBatch)
	}
	for i := range batch.Records {
		l.results[i].Value = batch.Records[i].Value
	}
	return batch.Settle(ctx, l.results...)
}

func (l *redisLoop) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = l.c.Close(ctx)
	_ = l.b.Close()
}
