// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded/recordbatch"
)

// labels are values as models make them.
func labels(n int) []broker.Record {
	records := make([]broker.Record, n)
	for i := range records {
		records[i] = broker.Record{Topic: "t", Pinned: true, Value: fmt.Appendf(nil,
			`{"label":"question","scores":{"complaint":%.3f,"question":%.3f,"other":%.3f}}`, float64(i%13)/13, float64(i%7)/7, float64(i%29)/29)}
	}
	return records
}

// noise is what cannot be compressed.
func noise(n int) []broker.Record {
	random := rand.NewChaCha8([32]byte{})
	records := make([]broker.Record, n)
	for i := range records {
		value := make([]byte, 100)
		random.Read(value)
		records[i] = broker.Record{Topic: "t", Pinned: true, Value: value}
	}
	return records
}

// stored tells of each entry of the topic's first partition how it is compressed.
func stored(t *testing.T, b *broker.Broker) []recordbatch.Codec {
	t.Helper()
	p := driverOf(b).topics["t"].partitions[0]
	it, err := driverOf(b).db.NewIter(&pebble.IterOptions{LowerBound: p.prefix, UpperBound: p.upper})
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	var codecs []recordbatch.Codec
	total := int64(0)
	for ok := it.First(); ok; ok = it.Next() {
		h, err := recordbatch.Parse(it.Value())
		if err != nil {
			t.Fatal(err)
		}
		codecs = append(codecs, h.Codec)
		key, err := parseLogKey(it.Key())
		if err != nil || key.size != total {
			t.Errorf("the key of entry %d says that %d bytes are before it, want %d (%v)", len(codecs)-1, key.size, total, err)
		}
		total += int64(len(it.Value()))
	}
	if total != p.size {
		t.Errorf("the partition has %d bytes and says %d", total, p.size)
	}
	return codecs
}

func appendAll(t *testing.T, b *broker.Broker, calls ...[]broker.Record) (all []broker.Record) {
	t.Helper()
	for _, records := range calls {
		if _, err := b.Publish(t.Context(), records...); err != nil {
			t.Fatal(err)
		}
		all = append(all, records...)
	}
	return all
}

func sameValues(t *testing.T, got, want []broker.Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d records, want %d", len(got), len(want))
		return
	}
	for i := range want {
		if got[i].Offset != int64(i) || !bytes.Equal(got[i].Value, want[i].Value) {
			t.Errorf("record %d is %q at %d, want %q", i, got[i].Value, got[i].Offset, want[i].Value)
			return
		}
	}
}

func TestWhatPaysIsCompressedAndReadsTheSameFromMemoryAndDisk(t *testing.T) {
	for _, cache := range []int64{1, 1 << 20} {
		disk := newTestDisk()
		b := disk.open(t, Options{CacheBytes: cache})
		createTopic(t, b, "t", 1)
		want := appendAll(t, b, labels(100), labels(2), labels(300))
		if got := fmt.Sprint(stored(t, b)); got != fmt.Sprint([]recordbatch.Codec{recordbatch.Snappy, recordbatch.None, recordbatch.Snappy}) {
			t.Errorf("the entries have the codecs %v, want the two large ones to be compressed", got)
		}
		if p := driverOf(b).topics["t"].partitions[0]; p.size*3 > 402*75 {
			t.Errorf("402 labels of some 75 bytes take %d", p.size)
		}
		sameValues(t, readFrom(t, b, "t", broker.Start()), want)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		b = disk.open(t, Options{CacheBytes: cache})
		want = append(want, appendAll(t, b, labels(200))...)
		stored(t, b) // the sizes go on where they were
		sameValues(t, readFrom(t, b, "t", broker.Start()), want)
	}
}

func TestATopicLearnsWhetherCompressionPays(t *testing.T) {
	b := newTestDisk().open(t, Options{CacheBytes: 1})
	createTopic(t, b, "t", 1)
	var calls [][]broker.Record
	calls = append(calls, noise(100))
	for range packSkip + 1 {
		calls = append(calls, labels(100))
	}
	want := appendAll(t, b, calls...)
	for i, codec := range stored(t, b) {
		if (codec == recordbatch.Snappy) != (i == packSkip+1) {
			t.Errorf("entry %d has codec %d: after noise %d entries are not tried, then labels are", i, codec, packSkip)
		}
	}
	sameValues(t, readFrom(t, b, "t", broker.Start()), want)
}
