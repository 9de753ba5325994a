// SPDX-License-Identifier: Apache-2.0

package brokertest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// suite is what a property works with: a test, a broker, and names of its own.
type suite struct {
	testing.TB
	h      *Harness
	client *broker.Broker // the first client
	suffix string         // makes names unique on a shared server
}

func newSuite(t testing.TB, h *Harness) *suite {
	filled := *h
	if filled.Patience == 0 {
		filled.Patience = 30 * time.Second
	}
	if filled.MaxRecordBytes == 0 {
		filled.MaxRecordBytes = broker.DefaultMaxRecordBytes
	}
	s := &suite{TB: t, h: &filled, suffix: strings.ToLower(rand.Text()[:10])}
	s.client = h.Open(t)
	return s
}

// name makes a topic's or group's name the test's own.
func (s *suite) name(base string) string { return base + "." + s.suffix }

// bounded is a context that ends when something takes too long.
func (s *suite) bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), s.h.Patience)
}

// do runs a call that must succeed.
func (s *suite) do(what string, call func(ctx context.Context) error) {
	s.Helper()
	ctx, cancel := s.bounded()
	defer cancel()
	if err := call(ctx); err != nil {
		s.Fatalf("%s: %v", what, err)
	}
}

// mustFail runs a call that must return an error that is target (nil: any).
func (s *suite) mustFail(what string, target error, call func(ctx context.Context) error) {
	s.Helper()
	ctx, cancel := s.bounded()
	defer cancel()
	switch err := call(ctx); {
	case err == nil:
		s.Fatalf("%s succeeded, want an error: %v", what, target)
	case errors.Is(err, context.DeadlineExceeded):
		s.Fatalf("%s: no answer in %v, want an error: %v", what, s.h.Patience, target)
	case target != nil && !errors.Is(err, target):
		s.Fatalf("%s: %v, want an error that is %q", what, err, target)
	}
}

// eventually waits until the condition holds, which must be in time.
func (s *suite) eventually(what string, condition func() bool) {
	s.Helper()
	for deadline := time.Now().Add(s.h.Patience); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("waited %v in vain: %s", s.h.Patience, what)
		}
	}
}

// settleDown gives a goroutine time to block. Nothing depends on it: if it is
// too short, a test sees less but does not fail.
func settleDown() { time.Sleep(20 * time.Millisecond) }

// create makes a topic with that many partitions and returns its name.
func (s *suite) create(base string, partitions int) string {
	s.Helper()
	topic := s.name(base)
	s.createTopic(broker.Topic{Name: topic, Partitions: partitions})
	return topic
}

func (s *suite) createTopic(t broker.Topic) {
	s.Helper()
	s.do("create "+t.Name, func(ctx context.Context) error { return s.client.CreateTopics(ctx, t) })
}

func (s *suite) publish(records ...broker.Record) []broker.Place {
	s.Helper()
	var places []broker.Place
	s.do("publish", func(ctx context.Context) (err error) {
		places, err = s.client.Publish(ctx, records...)
		return err
	})
	return places
}

// record is a record with a key and a value, which goes where the key says.
func record(topic, key, value string) broker.Record {
	return broker.Record{Topic: topic, Key: []byte(key), Value: []byte(value)}
}

// pinned is a record for one partition.
func pinned(topic string, partition int32, value string) broker.Record {
	return broker.Record{Topic: topic, Partition: partition, Pinned: true, Value: []byte(value)}
}

// sequence is n records for one partition, with the values prefix0, prefix1, …
func sequence(topic string, partition int32, prefix string, n int) []broker.Record {
	records := make([]broker.Record, n)
	for i := range records {
		records[i] = pinned(topic, partition, prefix+strconv.Itoa(i))
	}
	return records
}

// values lists the records' values.
func values(records []broker.Record) []string {
	list := make([]string, len(records))
	for i := range records {
		list[i] = string(records[i].Value)
	}
	return list
}

// wantValues fails unless the records have these values, in this order.
func (s *suite) wantValues(what string, records []broker.Record, want ...string) {
	s.Helper()
	if got := values(records); !slices.Equal(got, want) {
		s.Fatalf("%s: got %s, want %s", what, abridged(got), abridged(want))
	}
}

func abridged(list []string) string {
	const most = 12
	if len(list) <= most {
		return fmt.Sprintf("%q", list)
	}
	return fmt.Sprintf("%q and %d more", list[:most], len(list)-most)
}

// readAll reads what is in the topic now, in the order of partitions and
// offsets.
func (s *suite) readAll(topic string) []broker.Record {
	s.Helper()
	return s.read(topic, broker.AllPartitions, broker.Start(), broker.Position{})
}

// read reads a range to its end and checks what holds for every read: records
// say where they are, and are in offset order in each partition.
func (s *suite) read(topic string, partition int32, from, to broker.Position) []broker.Record {
	s.Helper()
	records, err := s.readFrom(s.client, topic, partition, from, to)
	if err != nil {
		s.Fatalf("read %s[%d] from %v to %v: %v", topic, partition, from, to, err)
	}
	return records
}

func (s *suite) readFrom(b *broker.Broker, topic string, partition int32, from, to broker.Position) ([]broker.Record, error) {
	ctx, cancel := s.bounded()
	defer cancel()
	reader, err := b.Read(ctx, topic, partition, from, to)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	var records []broker.Record
	for {
		next, err := reader.Next(ctx, 0)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if len(next) == 0 {
			return nil, errors.New("Next returned neither a record nor an error")
		}
		records = append(records, next...)
	}
	if err := checkPlaces(topic, records); err != nil {
		return nil, err
	}
	slices.SortStableFunc(records, func(a, b broker.Record) int { return cmp.Compare(a.Partition, b.Partition) })
	return records, nil
}

// checkPlaces checks what holds for records however they are read.
func checkPlaces(topic string, records []broker.Record) error {
	last := make(map[int32]*broker.Record)
	for i := range records {
		r := &records[i]
		before := last[r.Partition]
		last[r.Partition] = r
		switch {
		case r.Topic != topic:
			return fmt.Errorf("record %v was read from topic %s", r.Place(), topic)
		case r.Pinned:
			return fmt.Errorf("record %v is Pinned when it is read", r.Place())
		case r.Time.IsZero():
			return fmt.Errorf("record %v has no Time", r.Place())
		case before == nil:
		case r.Offset <= before.Offset:
			return fmt.Errorf("record %v comes after %v", r.Place(), before.Place())
		case r.Time.Before(before.Time):
			return fmt.Errorf("time goes back: record %v is of %v, %v before it of %v", r.Place(), r.Time, before.Place(), before.Time)
		}
	}
	return nil
}

// sameContent tells what differs between a record that was published and the
// one that was read; "" for nothing. Empty and nil bytes are the same.
func sameContent(sent, got *broker.Record) string {
	switch {
	case !bytes.Equal(sent.Key, got.Key):
		return fmt.Sprintf("key %.40q became %.40q", sent.Key, got.Key)
	case !bytes.Equal(sent.Value, got.Value):
		return fmt.Sprintf("value %.40q (%d bytes) became %.40q (%d bytes)", sent.Value, len(sent.Value), got.Value, len(got.Value))
	case len(sent.Headers) != len(got.Headers):
		return fmt.Sprintf("%d headers became %d", len(sent.Headers), len(got.Headers))
	}
	for i, h := range sent.Headers {
		if g := got.Headers[i]; h.Key != g.Key || !bytes.Equal(h.Value, g.Value) {
			return fmt.Sprintf("header %q=%q became %q=%q", h.Key, h.Value, g.Key, g.Value)
		}
	}
	return ""
}

// member is a consumer whose calls must succeed.
type member struct {
	*broker.Consumer
	s *suite
}

// join joins a group and leaves it when the test ends.
func (s *suite) join(group string, start broker.Position, topics ...string) *member {
	s.Helper()
	return s.joinFrom(s.client, group, start, topics...)
}

func (s *suite) joinFrom(b *broker.Broker, group string, start broker.Position, topics ...string) *member {
	s.Helper()
	var c *broker.Consumer
	s.do("join "+group, func(ctx context.Context) (err error) {
		c, err = b.Join(ctx, group, start, topics...)
		return err
	})
	s.Cleanup(func() {
		ctx, cancel := s.bounded()
		defer cancel()
		_ = c.Close(ctx) // a test that closed it, or killed its broker, has seen to it
	})
	return &member{c, s}
}

// poll returns the next batch, which must come.
func (m *member) poll(w broker.Want) []broker.Record {
	m.s.Helper()
	records, err := m.tryPoll(w, m.s.h.Patience)
	if err != nil {
		m.s.Fatalf("poll: %v", err)
	}
	return records
}

// tryPoll polls for at most that long.
func (m *member) tryPoll(w broker.Want, atMost time.Duration) ([]broker.Record, error) {
	batch, err := m.tryBatch(w, atMost)
	if err != nil {
		return nil, err
	}
	return batch.Records, nil
}

// batch returns the next batch, which must come.
func (m *member) batch(w broker.Want) *broker.Batch {
	m.s.Helper()
	b, err := m.tryBatch(w, m.s.h.Patience)
	if err != nil {
		m.s.Fatalf("poll: %v", err)
	}
	return b
}

// tryBatch polls for at most that long.
func (m *member) tryBatch(w broker.Want, atMost time.Duration) (*broker.Batch, error) {
	ctx, cancel := context.WithTimeout(context.Background(), atMost)
	defer cancel()
	return m.open(ctx, w)
}

// open polls and returns the batch.
func (m *member) open(ctx context.Context, w broker.Want) (*broker.Batch, error) {
	batch, err := m.Poll(ctx, w)
	if err != nil && batch != nil {
		return nil, fmt.Errorf("Poll returned %d records together with an error: %w", len(batch.Records), err)
	}
	if err == nil && (batch == nil || len(batch.Records) == 0) {
		return nil, errors.New("Poll returned neither a record nor an error")
	}
	return batch, err
}

// pollAll polls and settles until n records came.
func (m *member) pollAll(n int) []broker.Record {
	m.s.Helper()
	var records []broker.Record
	for len(records) < n {
		records = append(records, m.poll(broker.Want{})...)
		m.settle()
	}
	return records
}

func (m *member) settle(results ...broker.Record) {
	m.s.Helper()
	m.s.do("settle", func(ctx context.Context) error { return m.Settle(ctx, results...) })
}

func (m *member) trySettle(results ...broker.Record) error {
	ctx, cancel := m.s.bounded()
	defer cancel()
	return m.Settle(ctx, results...)
}

func (m *member) leave() {
	m.s.Helper()
	m.s.do("close the consumer", m.Close)
}

// lag returns the group's lag by topic and partition.
func (s *suite) lag(group string) map[broker.TopicPartition]broker.Lag {
	s.Helper()
	lags := make(map[broker.TopicPartition]broker.Lag)
	s.do("lag of "+group, func(ctx context.Context) error {
		list, err := s.client.Lag(ctx, group)
		for _, l := range list {
			lags[broker.TopicPartition{Topic: l.Topic, Partition: l.Partition}] = l
		}
		return err
	})
	return lags
}

// totalLag is the group's lag in all partitions of the topic.
func (s *suite) totalLag(group, topic string) int64 {
	s.Helper()
	var total int64
	for at, l := range s.lag(group) {
		if at.Topic == topic {
			total += l.Lag
		}
	}
	return total
}
