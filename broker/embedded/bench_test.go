// SPDX-License-Identifier: Apache-2.0

package embedded_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
)

// Single records from 32 goroutines, each durable before the next.
func BenchmarkPublish32(b *testing.B) {
	br := open(b, b.TempDir(), embedded.Options{})
	create(b, br, "t", 8)
	var group sync.WaitGroup
	each := b.N/32 + 1
	b.ReportAllocs()
	b.ResetTimer()
	for w := range 32 {
		group.Go(func() {
			r := broker.Record{Topic: "t", Key: fmt.Appendf(nil, "key%d", w), Value: make([]byte, 200)}
			for range each {
				if _, err := br.Publish(b.Context(), r); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	b.ReportMetric(float64(32*each)/b.Elapsed().Seconds(), "records/s")
}

// What a record costs the processor, without waiting for the disk: 200 bytes that
// cannot be compressed, two headers, a thousand in a batch.
func BenchmarkCPU(b *testing.B) {
	const batch = 1000
	setup := func(b *testing.B) (*broker.Broker, []broker.Record) {
		br := open(b, b.TempDir(), embedded.Options{Durability: embedded.OS})
		create(b, br, "t", 8)
		records := make([]broker.Record, batch)
		random := rand.NewChaCha8([32]byte{})
		for i := range records {
			value := make([]byte, 200)
			random.Read(value)
			records[i] = broker.Record{
				Topic: "t", Pinned: true, Partition: int32(i * 8 / batch),
				Key: fmt.Appendf(nil, "key-%d", i), Value: value,
				Headers: []broker.Header{{Key: "mr-id", Value: []byte("tickets/3/1234/tagger")}, {Key: "mr-model", Value: []byte("tagger@1")}},
			}
		}
		return br, records
	}
	perRecord := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/record")
	}
	b.Run("Publish", func(b *testing.B) {
		br, records := setup(b)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := br.Publish(b.Context(), records...); err != nil {
				b.Fatal(err)
			}
		}
		perRecord(b)
	})
	b.Run("Poll", func(b *testing.B) {
		br, records := setup(b)
		for range 20 {
			if _, err := br.Publish(b.Context(), records...); err != nil {
				b.Fatal(err)
			}
		}
		c, err := br.Join(b.Context(), "g", broker.Start(), "t")
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if got, err := c.Poll(b.Context(), broker.Want{Records: batch}); err != nil || len(got.Records) != batch {
				b.Fatal(got, err)
			}
			c.Rewind()
		}
		perRecord(b)
	})
	b.Run("PollSettle", func(b *testing.B) {
		br, records := setup(b)
		for range 4 {
			if _, err := br.Publish(b.Context(), records...); err != nil {
				b.Fatal(err)
			}
		}
		c, err := br.Join(b.Context(), "g", broker.Start(), "t")
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			got, err := c.Poll(b.Context(), broker.Want{Records: batch})
			if err != nil || len(got.Records) != batch {
				b.Fatal(got, err)
			}
			for i := range got.Records {
				got.Records[i].Pinned = true
			}
			if err := got.Settle(b.Context(), got.Records...); err != nil {
				b.Fatal(err)
			}
		}
		perRecord(b)
	})
}

func open(tb testing.TB, dir string, o embedded.Options) *broker.Broker {
	tb.Helper()
	b, err := embedded.Open(dir, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { b.Close() })
	return b
}

func create(tb testing.TB, b *broker.Broker, name string, partitions int) {
	tb.Helper()
	if err := b.CreateTopics(context.Background(), broker.Topic{Name: name, Partitions: partitions}); err != nil {
		tb.Fatal(err)
	}
}
