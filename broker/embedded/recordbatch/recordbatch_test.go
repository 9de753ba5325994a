// SPDX-License-Identifier: Apache-2.0

package recordbatch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/millrace-ml/millrace/broker"
)

func encodeRecords(records []broker.Record) []byte {
	n := 0
	for i := range records {
		n += RecordLen(i, &records[i])
	}
	b := make([]byte, 0, n)
	for i := range records {
		b = AppendRecord(b, i, &records[i])
	}
	if len(b) != n {
		panic(fmt.Sprintf("RecordLen promised %d bytes, AppendRecord made %d", n, len(b)))
	}
	return b
}

func encode(codec Codec, base int64, millis int64, records []broker.Record) []byte {
	body := encodeRecords(records)
	b := make([]byte, HeaderLen)
	if codec == Snappy {
		b = AppendCompressed(b, body)
	} else {
		b = append(b, body...)
	}
	Finish(b, codec, base, len(records), millis)
	return b
}

func decode(b []byte) ([]broker.Record, error) {
	h, err := Parse(b)
	if err != nil {
		return nil, err
	}
	body, err := AppendRecords(nil, b, h)
	if err != nil {
		return nil, err
	}
	r := NewReader(body, h.BaseOffset, int(h.Count))
	var arena Headers
	var records []broker.Record
	for r.Left() > 0 {
		var rec broker.Record
		if err := r.Next(&rec, &arena); err != nil {
			return nil, err
		}
		records = append(records, rec)
	}
	return records, nil
}

var codecs = []Codec{None, Snappy}

func drawCodec(t *rapid.T) Codec { return rapid.SampledFrom(codecs).Draw(t, "codec") }

func drawRecords(t *rapid.T) []broker.Record {
	field := rapid.Custom(func(t *rapid.T) []byte {
		b := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "bytes")
		if len(b) == 0 && rapid.Bool().Draw(t, "null") {
			return nil
		}
		return b
	})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) broker.Record {
		r := broker.Record{Key: field.Draw(t, "key"), Value: field.Draw(t, "value")}
		for range rapid.IntRange(0, 4).Draw(t, "headers") {
			r.Headers = append(r.Headers, broker.Header{Key: rapid.String().Draw(t, "name"), Value: field.Draw(t, "header")})
		}
		return r
	}), 1, 80).Draw(t, "records")
}

func same(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

func compare(t interface{ Fatalf(string, ...any) }, want, got []broker.Record, base int64) {
	if len(want) != len(got) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i := range want {
		w, g := &want[i], &got[i]
		if g.Offset != base+int64(i) || !same(w.Key, g.Key) || !same(w.Value, g.Value) || len(w.Headers) != len(g.Headers) {
			t.Fatalf("record %d is %+v, want %+v at %d", i, g, w, base+int64(i))
		}
		for j := range w.Headers {
			if w.Headers[j].Key != g.Headers[j].Key || !same(w.Headers[j].Value, g.Headers[j].Value) {
				t.Fatalf("header %d of record %d is %+v, want %+v", j, i, g.Headers[j], w.Headers[j])
			}
		}
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := drawRecords(t)
		base := rapid.Int64Range(0, 1<<50).Draw(t, "base")
		got, err := decode(encode(drawCodec(t), base, 1, records))
		if err != nil {
			t.Fatalf("%v", err)
		}
		compare(t, records, got, base)
	})
}

func TestAReaderGoesOnWhereItStopped(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := drawRecords(t)
		skip := rapid.IntRange(0, len(records)).Draw(t, "skip")
		r := NewReader(encodeRecords(records), 7, len(records))
		if err := r.Skip(skip); err != nil {
			t.Fatalf("%v", err)
		}
		var arena Headers
		var got []broker.Record
		for r.Left() > 0 {
			again := r // a copy of the reader is a bookmark
			var first, second broker.Record
			if err := errors.Join(r.Next(&first, &arena), again.Next(&second, &arena)); err != nil {
				t.Fatalf("%v", err)
			}
			compare(t, []broker.Record{first}, []broker.Record{second}, first.Offset)
			got = append(got, first)
		}
		compare(t, records[skip:], got, 7+int64(skip))
	})
}

func TestFranzGoReadsOurBatches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := drawRecords(t)
		at := time.UnixMilli(1_700_000_000_123)
		fetched := kmsg.NewFetchResponseTopicPartition()
		fetched.RecordBatches = encode(drawCodec(t), 1000, at.UnixMilli(), records)
		p, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Offset: 1000, Topic: "t"}, &fetched, kgo.DefaultDecompressor(), nil)
		if p.Err != nil {
			t.Fatalf("%v", p.Err)
		}
		var got []broker.Record
		for _, r := range p.Records {
			if !r.Timestamp.Equal(at) {
				t.Fatalf("time %v, want %v", r.Timestamp, at)
			}
			rec := broker.Record{Offset: r.Offset, Key: r.Key, Value: r.Value}
			for _, h := range r.Headers {
				rec.Headers = append(rec.Headers, broker.Header{Key: h.Key, Value: h.Value})
			}
			got = append(got, rec)
		}
		compare(t, records, got, 1000)
	})
}

func TestWeReadFranzGosBatches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := drawRecords(t)
		got, err := decode(theirs(drawCodec(t), records))
		if err != nil {
			t.Fatalf("%v", err)
		}
		compare(t, records, got, 42)
	})
}

// theirs encodes records with the message types of franz-go.
func theirs(codec Codec, records []broker.Record) []byte {
	var body []byte
	for i := range records {
		r := kmsg.NewRecord()
		r.OffsetDelta, r.TimestampDelta64 = int32(i), int64(i)
		r.Key, r.Value = records[i].Key, records[i].Value
		for _, h := range records[i].Headers {
			kh := kmsg.NewHeader()
			kh.Key, kh.Value = h.Key, h.Value
			r.Headers = append(r.Headers, kh)
		}
		r.Length = int32(len(r.AppendTo(nil)) - 1) // the length 0 takes one byte
		body = r.AppendTo(body)
	}
	batch := kmsg.NewRecordBatch()
	if codec == Snappy {
		c, err := kgo.DefaultCompressor(kgo.SnappyCompression())
		if err != nil {
			panic(err)
		}
		body, _ = c.Compress(new(bytes.Buffer), body)
		batch.Attributes = int16(Snappy)
	}
	batch.FirstOffset, batch.Magic = 42, 2
	batch.PartitionLeaderEpoch = 9
	batch.NumRecords, batch.LastOffsetDelta = int32(len(records)), int32(len(records)-1)
	batch.Records = body
	batch.Length = int32(HeaderLen - 12 + len(body))
	b := batch.AppendTo(nil)
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func TestEveryFlippedBitIsFound(t *testing.T) {
	records := []broker.Record{{Key: []byte("k"), Value: []byte("value value value value")}, {Headers: []broker.Header{{Key: "h"}}}}
	for _, codec := range codecs {
		good := encode(codec, 5, 1, records)
		for i := range good {
			for bit := range 8 {
				bad := bytes.Clone(good)
				bad[i] ^= 1 << bit
				if i < 8 || i >= 12 && i < 16 {
					continue // base offset and leader epoch are not covered by the sum, so that a broker can set them
				}
				if _, err := decode(bad); !errors.Is(err, ErrCorrupt) {
					t.Errorf("codec %d: bit %d of byte %d is flipped and the error is %v", codec, bit, i, err)
				}
			}
		}
		for n := range good {
			if _, err := decode(good[:n]); !errors.Is(err, ErrCorrupt) {
				t.Errorf("codec %d: cut to %d of %d bytes, the error is %v", codec, n, len(good), err)
			}
		}
	}
}

// Whoever makes the bytes can make the sum right as well.
func TestCompressedBytesThatLieAreFoundBeforeMemoryIsReserved(t *testing.T) {
	lie := func(length uint64, body ...byte) []byte {
		b := binary.AppendUvarint(make([]byte, HeaderLen), length)
		b = append(b, body...)
		Finish(b, Snappy, 0, 1, 1)
		return b
	}
	for name, b := range map[string][]byte{
		"no length":          lie(0)[:HeaderLen],
		"a length of 2 GB":   lie(2<<30, 0, 0),
		"a length of 2^63":   lie(1<<63, 0, 0),
		"no room for one":    lie(3, 2<<2, 'a', 'b', 'c'),
		"less than promised": lie(100, 9<<2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
		"a copy of nothing":  lie(40, 0xfe, 9, 0, 0xfe, 9, 0),
	} {
		binary.BigEndian.PutUint32(b[posLength:], uint32(len(b)-posEpoch))
		binary.BigEndian.PutUint32(b[posCRC:], crc32.Checksum(b[posAttributes:], castagnoli))
		h, err := Parse(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		dst, err := AppendRecords(nil, b, h)
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: the error is %v", name, err)
		}
		if cap(dst) > 64*maxExpansion {
			t.Errorf("%s: %d bytes are reserved", name, cap(dst))
		}
	}
}

func TestWhatSnappyCompressesBestIsRead(t *testing.T) {
	records := []broker.Record{{Value: make([]byte, 1<<20)}}
	b := encode(Snappy, 0, 1, records)
	if len(b) > 1<<16 {
		t.Errorf("a million zeros take %d bytes", len(b))
	}
	got, err := decode(b)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, records, got, 0)
}

func TestNothingIsAllocatedPerRecord(t *testing.T) {
	records := make([]broker.Record, 1000)
	for i := range records {
		records[i] = broker.Record{Key: []byte("key"), Value: make([]byte, 200), Headers: []broker.Header{{Key: "a", Value: []byte("b")}, {Key: "c"}}}
	}
	b := encode(None, 0, 1, records)
	buffer := make([]byte, 0, len(b))
	if n := testing.AllocsPerRun(10, func() {
		out := buffer[:HeaderLen]
		for i := range records {
			out = AppendRecord(out, i, &records[i])
		}
		Finish(out, None, 0, len(records), 1)
	}); n != 0 {
		t.Errorf("encoding 1000 records allocates %v times, want 0", n)
	}
	if n := testing.AllocsPerRun(10, func() {
		h, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		r := NewReader(b[HeaderLen:], h.BaseOffset, int(h.Count))
		var arena Headers
		for r.Left() > 0 {
			var rec broker.Record
			if err := r.Next(&rec, &arena); err != nil {
				t.Fatal(err)
			}
		}
	}); n > 10 {
		t.Errorf("decoding 1000 records with 2000 headers allocates %v times, want at most 10", n)
	}
}

// Whatever the bytes are, decoding ends with records or with ErrCorrupt, and
// what it returns lies within the bytes. The sum is made right first, or the
// fuzzer would never get past it.
func FuzzDecode(f *testing.F) {
	for _, codec := range codecs {
		f.Add(encode(codec, 0, 1, []broker.Record{{}}))
		f.Add(encode(codec, 1<<40, 1, []broker.Record{{Key: []byte("k"), Value: []byte("v"), Headers: []broker.Header{{Key: "n", Value: []byte("x")}}}, {Value: make([]byte, 200)}}))
		f.Add(theirs(codec, []broker.Record{{Key: []byte("k")}, {Headers: []broker.Header{{Key: ""}}}}))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= HeaderLen {
			binary.BigEndian.PutUint32(b[posCRC:], crc32.Checksum(b[posAttributes:], castagnoli))
			binary.BigEndian.PutUint32(b[posLength:], uint32(len(b)-posEpoch))
		}
		records, err := decode(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("error %v does not match ErrCorrupt", err)
			}
			return
		}
		size := 0
		for i := range records {
			size += records[i].Size()
		}
		if size > len(b)*maxExpansion {
			t.Fatalf("%d bytes of records in a batch of %d", size, len(b))
		}
		for _, codec := range codecs {
			again, err := decode(encode(codec, records[0].Offset, 1, records))
			if err != nil {
				t.Fatalf("what was decoded cannot be encoded and decoded: %v", err)
			}
			compare(t, records, again, records[0].Offset)
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	records := make([]broker.Record, 1000)
	for i := range records {
		records[i] = broker.Record{
			Key:     fmt.Appendf(nil, "customer-%d", i%97),
			Value:   fmt.Appendf(nil, `{"label":"question","scores":{"complaint":%.4f,"question":%.4f,"other":%.4f}}`, float64(i%331)/1000, float64(i%571)/1000, float64(i%773)/1000),
			Headers: []broker.Header{{Key: "mr-id", Value: fmt.Appendf(nil, "tickets/3/%d/tagger", i)}, {Key: "mr-model", Value: []byte("tagger@1")}},
		}
	}
	for _, codec := range codecs {
		b.Run([]string{None: "plain", Snappy: "snappy"}[codec], func(b *testing.B) { benchmarkRecord(b, codec, records) })
	}
}

func benchmarkRecord(b *testing.B, codec Codec, records []broker.Record) {
	batch := encode(codec, 0, 1, records)
	perRecord := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(records)), "ns/record")
		b.ReportMetric(float64(len(batch))/float64(len(records)), "B/record")
	}
	b.Run("Encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			encode(codec, 0, 1, records)
		}
		perRecord(b)
	})
	b.Run("Decode", func(b *testing.B) {
		b.ReportAllocs()
		var arena Headers
		var rec broker.Record
		var body []byte
		for b.Loop() {
			h, err := Parse(batch)
			if err != nil {
				b.Fatal(err)
			}
			if body, err = AppendRecords(body[:0], batch, h); err != nil {
				b.Fatal(err)
			}
			for r := NewReader(body, h.BaseOffset, int(h.Count)); r.Left() > 0; {
				if err := r.Next(&rec, &arena); err != nil {
					b.Fatal(err)
				}
			}
		}
		perRecord(b)
	})
}
