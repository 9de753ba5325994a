// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded/recordbatch"
)

func createTopic(t testing.TB, b *broker.Broker, name string, partitions int) {
	t.Helper()
	if err := b.CreateTopics(context.Background(), broker.Topic{Name: name, Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
}

// publish appends one record each call, so that each is an entry.
func publish(t testing.TB, b *broker.Broker, topic string, values ...string) {
	t.Helper()
	for _, v := range values {
		if _, err := b.Publish(context.Background(), broker.Record{Topic: topic, Pinned: true, Value: []byte(v)}); err != nil {
			t.Fatal(err)
		}
	}
}

func readFrom(t testing.TB, b *broker.Broker, topic string, from broker.Position) []broker.Record {
	t.Helper()
	all, err := readAll(b, topic, from)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func readAll(b *broker.Broker, topic string, from broker.Position) ([]broker.Record, error) {
	r, err := b.Read(context.Background(), topic, broker.AllPartitions, from, broker.Position{})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var all []broker.Record
	for {
		records, err := r.Next(context.Background(), 0)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, records...)
	}
}

func count(t testing.TB, b *broker.Broker, topic string) int64 {
	t.Helper()
	return int64(len(readFrom(t, b, topic, broker.Start())))
}

func values(records []broker.Record) string {
	var list []string
	for _, r := range records {
		list = append(list, string(r.Value))
	}
	return strings.Join(list, " ")
}

func TestTheClockGoesOnWhenTheSystemsStepsBackAndAcrossRestarts(t *testing.T) {
	disk := newTestDisk()
	now := newTestClock()
	options := Options{Now: now.time}
	b := disk.open(t, options)
	createTopic(t, b, "t", 1)
	publish(t, b, "t", "a")
	now.add(-time.Hour)
	publish(t, b, "t", "b")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	now.add(-time.Hour)
	b = disk.open(t, options)
	publish(t, b, "t", "c")
	all := readFrom(t, b, "t", broker.Start())
	if len(all) != 3 || !all[0].Time.Before(all[1].Time) || !all[1].Time.Before(all[2].Time) {
		t.Errorf("the records are %v", all)
	}
	if got := values(readFrom(t, b, "t", broker.At(all[1].Time))); got != "b c" {
		t.Errorf("from the time of b there are %q", got)
	}
}

func TestReadingBehindTheTailGivesTheSame(t *testing.T) {
	b := newTestDisk().open(t, Options{CacheBytes: 1}) // nothing stays in memory
	createTopic(t, b, "t", 3)
	var want []string
	for i := range 500 {
		v := fmt.Sprint(i)
		want = append(want, v)
		if _, err := b.Publish(t.Context(), broker.Record{Topic: "t", Key: []byte(v), Value: []byte(v)}); err != nil {
			t.Fatal(err)
		}
	}
	if got := values(readFrom(t, b, "t", broker.Start())); got != strings.Join(want, " ") {
		t.Errorf("got %s", got)
	}
	c, err := b.Join(t.Context(), "g", broker.Start(), "t")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := 0; len(got) < len(want); i++ {
		batch, err := c.Poll(t.Context(), broker.Want{Records: 7})
		if err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			c.Rewind()
			continue
		}
		if err := batch.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.Fields(values(batch.Records))...)
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("polled %v", got)
	}
}

func TestADamagedEntryIsAnErrorThatSaysWhere(t *testing.T) {
	for name, second := range map[string]string{"plain": "second", "compressed": strings.Repeat("second ", 1000)} {
		t.Run(name, func(t *testing.T) {
			b := newTestDisk().open(t, Options{CacheBytes: 1})
			createTopic(t, b, "t", 1)
			publish(t, b, "t", "first", second)
			p := driverOf(b).topics["t"].partitions[0]
			it, err := driverOf(b).db.NewIter(&pebble.IterOptions{LowerBound: p.prefix, UpperBound: p.upper})
			if err != nil {
				t.Fatal(err)
			}
			it.Last()
			key := append([]byte(nil), it.Key()...)
			value := append([]byte(nil), it.Value()...)
			if err := it.Close(); err != nil {
				t.Fatal(err)
			}
			value[len(value)-2] ^= 1
			if err := driverOf(b).db.Set(key, value, pebble.Sync); err != nil {
				t.Fatal(err)
			}
			_, err = readAll(b, "t", broker.Start())
			if !errors.Is(err, recordbatch.ErrCorrupt) || !strings.Contains(err.Error(), "t[0]: the entry at offset 1") {
				t.Errorf("reading gives %v", err)
			}
		})
	}
}

func TestRetentionDeletesTheOldestButNotTheLast(t *testing.T) {
	now := newTestClock()
	disk := newTestDisk()
	options := Options{Now: now.time, CacheBytes: 1}
	b := disk.open(t, options)
	topic := broker.Topic{Name: "t", Partitions: 1, Retention: time.Hour}
	if err := b.CreateTopics(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	c, err := b.Join(t.Context(), "g", broker.Start(), "t")
	if err != nil {
		t.Fatal(err)
	}
	publish(t, b, "t", "a", "b")
	now.add(40 * time.Minute)
	publish(t, b, "t", "c", "d")
	now.add(40 * time.Minute)
	if err := driverOf(b).deleteOld(); err != nil {
		t.Fatal(err)
	}
	if got := values(readFrom(t, b, "t", broker.Start())); got != "c d" {
		t.Errorf("after an hour %q are left, want c and d", got)
	}
	lags, err := b.Lag(t.Context(), "g")
	if err != nil || len(lags) != 1 || lags[0].Lag != 2 || lags[0].Position != 2 {
		t.Errorf("the lag is %+v, %v; want 2 from offset 2", lags, err)
	}
	batch, err := c.Poll(t.Context(), broker.Want{})
	if err != nil || values(batch.Records) != "c d" || batch.Records[0].Offset != 2 {
		t.Errorf("polled %v, %v", batch, err)
	}
	c.Rewind()

	// Bytes: each entry has the same size, so that two and a half leave two.
	topic.Retention = 0
	topic.RetentionBytes = driverOf(b).topics["t"].partitions[0].size / 4 * 5 / 2
	if err := b.CreateTopics(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	publish(t, b, "t", "e", "f")
	if err := driverOf(b).deleteOld(); err != nil {
		t.Fatal(err)
	}
	if got := values(readFrom(t, b, "t", broker.Start())); got != "e f" {
		t.Errorf("%q are left of %d bytes, want e and f", got, topic.RetentionBytes)
	}

	topic.Retention, topic.RetentionBytes = time.Nanosecond, 1
	if err := b.CreateTopics(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	now.add(1000 * time.Hour)
	if err := driverOf(b).deleteOld(); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = disk.open(t, options)
	if got := values(readFrom(t, b, "t", broker.Start())); got != "f" {
		t.Errorf("%q is left, want f, the last", got)
	}
	publish(t, b, "t", "g")
	if got := readFrom(t, b, "t", broker.Start()); values(got) != "f g" || got[1].Offset != 6 {
		t.Errorf("after a restart the log goes on as %v", got)
	}
}

func TestASecondProcessIsToldWhoIsFirst(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := Owner(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the owner of an empty directory is an error %v", err)
	}
	b, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := SetAddress(b, "127.0.0.1:4242"); err != nil {
		t.Fatal(err)
	}
	pid, address, err := Owner(dir)
	if err != nil || pid != os.Getpid() || address != "127.0.0.1:4242" {
		t.Errorf("the owner is %d at %q, error %v", pid, address, err)
	}
	_, err = Open(dir, Options{})
	if !errors.Is(err, broker.ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) || !strings.Contains(err.Error(), "127.0.0.1:4242") {
		t.Errorf("a second open gives %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Owner(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the owner of a closed directory is an error %v", err)
	}
	// A process that was killed leaves its note.
	if err := os.WriteFile(filepath.Join(dir, ownerFile), []byte(`{"pid": 999999999}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Owner(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the owner that has died is an error %v", err)
	}
	if b, err = Open(dir, Options{}); err != nil {
		t.Fatalf("a stale note keeps the directory closed: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestALargePublishIsSplitAndLargeRecordsStandAlone(t *testing.T) {
	b := diskOn(vfs.NewMem()).open(t, Options{})
	createTopic(t, b, "t", 1)
	var records []broker.Record
	for i := range 45 {
		records = append(records, broker.Record{Topic: "t", Value: append([]byte{byte(i)}, make([]byte, 1<<20)...)})
	}
	if _, err := b.Publish(t.Context(), records...); err != nil {
		t.Fatal(err)
	}
	for i, r := range readFrom(t, b, "t", broker.Start()) {
		if r.Offset != int64(i) || r.Value[0] != byte(i) || len(r.Value) != 1+1<<20 {
			t.Errorf("record %d has offset %d and begins with %d", i, r.Offset, r.Value[0])
		}
	}
}
