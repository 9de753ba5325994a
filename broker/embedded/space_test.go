// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// diskUse is how many bytes the files of a directory have.
func diskUse(t testing.TB, b *broker.Broker) (bytes int64) {
	t.Helper()
	d := driverOf(b)
	names, err := d.options.FS.List(d.dir)
	must(t, err)
	for _, name := range names {
		if info, err := d.options.FS.Stat(d.options.FS.PathJoin(d.dir, name)); err == nil {
			bytes += info.Size()
		}
	}
	return bytes
}

// keeps is how many bytes of values the topics hold.
func keeps(t testing.TB, b *broker.Broker, topics ...string) (bytes int64) {
	t.Helper()
	for _, topic := range topics {
		for _, r := range readFrom(t, b, topic, broker.Start()) {
			bytes += int64(len(r.Value))
		}
	}
	return bytes
}

// The short form has small log files and a clock of its own; the long one is below.
func TestSpaceComesBackWithRetention(t *testing.T) {
	now := newTestClock()
	disk := newTestDisk()
	disk.total = 8 << 20 // log files of 256 KiB
	b := disk.open(t, Options{Now: now.time, age: time.Millisecond, CacheBytes: 1})
	must(t, b.CreateTopics(t.Context(), broker.Topic{Name: "old", Partitions: 2, Retention: time.Minute}, broker.Topic{Name: "kept", Partitions: 1}))
	noise := make([]byte, 4096)
	random := rand.NewChaCha8([32]byte{})
	for i := range 4000 {
		random.Read(noise)
		records := []broker.Record{{Topic: "old", Pinned: true, Partition: int32(i % 2), Value: noise[:1000+i%3000]}}
		if i%20 == 0 {
			records = append(records, broker.Record{Topic: "kept", Value: noise[:2000]})
		}
		_, err := b.Publish(t.Context(), records...)
		must(t, err)
		now.add(100 * time.Millisecond)
	}
	now.add(30 * time.Second)
	before := diskUse(t, b)
	// What was deleted before a restart is given back after it.
	must(t, driverOf(b).deleteOld())
	must(t, b.Close())
	b = disk.open(t, Options{Now: now.time, age: time.Millisecond, CacheBytes: 1})
	const small = 6 * 256 << 10 // the log files that are used again
	deadline := time.Now().Add(60 * time.Second)
	for {
		must(t, driverOf(b).deleteOld())
		must(t, driverOf(b).reclaim(context.Background()))
		kept, used := keeps(t, b, "old", "kept"), diskUse(t, b)
		if used <= 2*kept+small {
			t.Logf("%d bytes are kept, the disk had %d and has %d", kept, before, used)
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are kept, the disk had %d and has %d: more than twice and %d", kept, before, used, small)
		}
		publish(t, b, "kept", "work goes on")
	}
}

// Fifteen minutes at 500 records a second, of which a minute is kept.
func TestSpaceComesBackInASoak(t *testing.T) {
	if os.Getenv("MILLRACE_LONG") == "" {
		t.Skip("the long form: make long")
	}
	b := openDir(t, t.TempDir(), Options{})
	must(t, b.CreateTopics(t.Context(), broker.Topic{Name: "t", Partitions: 4, Retention: time.Minute}))
	value := make([]byte, 1000)
	random := rand.NewChaCha8([32]byte{})
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for begun := time.Now(); time.Since(begun) < 15*time.Minute; <-tick.C {
		var records []broker.Record
		for range 50 {
			random.Read(value)
			records = append(records, broker.Record{Topic: "t", Key: fmt.Append(nil, random.Uint64()), Value: append([]byte(nil), value...)})
		}
		_, err := b.Publish(t.Context(), records...)
		must(t, err)
	}
	for _, stop := range []string{"under load", "two minutes later"} {
		kept, used := keeps(t, b, "t"), diskUse(t, b)
		t.Logf("%s %d bytes are kept and the disk has %d", stop, kept, used)
		if used > 2*kept+64<<20 {
			t.Errorf("%s %d bytes are kept and the disk has %d: more than twice and 64 MiB", stop, kept, used)
		}
		if stop == "under load" {
			time.Sleep(2 * time.Minute)
		}
	}
}
