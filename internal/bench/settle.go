// SPDX-License-Identifier: Apache-2.0

// Package bench measures parts of Millrace against their limits, in the same
// run: what counts is the ratio, because it survives another machine and a noisy
// neighbour.
package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/broker/embedded"
)

const (
	settleBatch  = 256 // records
	settleRecord = 200 // bytes of a value
	settleAhead  = 4   // batches between reading and writing
	settleSlice  = 100 * time.Millisecond
)

// SettleResult is in records per second, each read, answered and durable: the
// medians of many turns.
type SettleResult struct {
	Bare float64 // the limit: storage or client alone, doing the least that the work takes
	Loop float64 // Poll and Settle of the broker
}

// Ratio is what the contract keeps of the limit's speed.
func (r SettleResult) Ratio() float64 { return r.Loop / r.Bare }

// Settle measures for about the time d how fast one consumer polls 256 records
// of 200 bytes and settles as many results, fsynced, against a loop on Pebble
// alone that reads 256 records, writes 256 and a position, and syncs. The values
// are random bytes, which nobody can compress, and Pebble is set up alike for
// both. The two take turns of 100 ms, so that the machine's moods meet both.
// Their data is left in dir.
func Settle(ctx context.Context, dir string, d time.Duration) (SettleResult, error) {
	bare, err := newBareLoop(filepath.Join(dir, "bare"))
	if err != nil {
		return SettleResult{}, fmt.Errorf("bench settle: %w", err)
	}
	defer bare.close()
	loop, err := newSettleLoop(ctx, filepath.Join(dir, "loop"))
	if err != nil {
		return SettleResult{}, fmt.Errorf("bench settle: %w", err)
	}
	defer loop.close()

	var bareSpeeds, loopSpeeds speeds
	for begin := time.Now(); time.Since(begin) < d; {
		if err := turn(ctx, bare.step, &bareSpeeds); err != nil {
			return SettleResult{}, fmt.Errorf("bench settle: Pebble alone: %w", err)
		}
		if err := turn(ctx, loop.step, &loopSpeeds); err != nil {
			return SettleResult{}, fmt.Errorf("bench settle: embedded broker: %w", err)
		}
	}
	return SettleResult{Bare: bareSpeeds.median(), Loop: loopSpeeds.median()}, nil
}

// turn takes steps for the time of a slice.
func turn(ctx context.Context, step func(context.Context) error, all *speeds) error {
	n, begin := 0, time.Now()
	for time.Since(begin) < settleSlice {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := step(ctx); err != nil {
			return err
		}
		n += settleBatch
	}
	all.add(n, time.Since(begin))
	return nil
}

// speeds are those of a loop's turns, in records per second.
type speeds []float64

func (s *speeds) add(records int, took time.Duration) {
	*s = append(*s, float64(records)/took.Seconds())
}

// median is the speed that half of the turns reached: what else the machine does
// spoils single turns.
func (s speeds) median() float64 {
	if len(s) == 0 {
		return 0
	}
	slices.Sort(s)
	return s[len(s)/2]
}

// settleValues are the values of a batch, the same for both loops and each run.
func settleValues() [][]byte {
	random := rand.NewChaCha8([32]byte{1})
	values := make([][]byte, settleBatch)
	for i := range values {
		values[i] = make([]byte, settleRecord)
		random.Read(values[i]) // never fails
	}
	return values
}

// bareLoop is the limit: each batch is a value of records with a length before
// each. It reads a batch, copies every record into a new value and writes it
// with its position. What it writes is what it reads some steps later.
type bareLoop struct {
	db   *pebble.DB
	next uint64
	out  []byte
}

func newBareLoop(dir string) (*bareLoop, error) {
	o := &pebble.Options{
		FormatMajorVersion: pebble.FormatValueSeparation,
		MemTableSize:       32 << 20, MemTableStopWritesThreshold: 4,
		L0StopWritesThreshold: 64,
		BytesPerSync:          1 << 20,
		Logger:                silent{},
	}
	for i := range o.Levels {
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
	}
	o.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
		return pebble.ValueSeparationPolicy{Enabled: true, MinimumSize: 512, MaxBlobReferenceDepth: 32, TargetGarbageRatio: 0.3}
	}
	db, err := pebble.Open(dir, o)
	if err != nil {
		return nil, err
	}
	b := &bareLoop{db: db}
	var value []byte
	for _, v := range settleValues() {
		value = binary.AppendUvarint(value, settleRecord)
		value = append(value, v...)
	}
	for i := range uint64(settleAhead) {
		if err := db.Set(bareKey(i), value, pebble.Sync); err != nil {
			db.Close()
			return nil, err
		}
	}
	return b, nil
}

func bareKey(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte("l"), n) }

func (b *bareLoop) step(context.Context) error {
	it, err := b.db.NewIter(nil)
	if err != nil {
		return err
	}
	if !it.SeekGE(bareKey(b.next)) {
		it.Close()
		return fmt.Errorf("batch %d is missing: %w", b.next, it.Error())
	}
	b.out = b.out[:0]
	for in := it.Value(); len(in) > 0; {
		n, k := binary.Uvarint(in)
		b.out = binary.AppendUvarint(b.out, n)
		b.out = append(b.out, in[k:k+int(n)]...)
		in = in[k+int(n):]
	}
	if err := it.Close(); err != nil {
		return err
	}
	batch := b.db.NewBatch()
	defer batch.Close()
	if err := batch.Set(bareKey(b.next+settleAhead), b.out, nil); err != nil {
		return err
	}
	b.next++
	if err := batch.Set([]byte("p"), binary.BigEndian.AppendUint64(nil, b.next), nil); err != nil {
		return err
	}
	return batch.Commit(pebble.Sync)
}

func (b *bareLoop) close() { b.db.Close() }

// silent drops Pebble's log but for its fatal errors, which must end the run.
type silent struct{}

func (silent) Infof(string, ...any)                {}
func (silent) Errorf(string, ...any)               {}
func (silent) Fatalf(format string, values ...any) { panic(fmt.Sprintf(format, values...)) }

// settleLoop reads a topic and answers into the same topic.
type settleLoop struct {
	b       *broker.Broker
	c       *broker.Consumer
	results []broker.Record
}

func newSettleLoop(ctx context.Context, dir string) (*settleLoop, error) {
	b, err := embedded.Open(dir, embedded.Options{})
	if err != nil {
		return nil, err
	}
	l := &settleLoop{b: b}
	if err := l.begin(ctx); err != nil {
		b.Close()
		return nil, err
	}
	return l, nil
}

func (l *settleLoop) begin(ctx context.Context) (err error) {
	const topic = "loop"
	if err := l.b.CreateTopics(ctx, broker.Topic{Name: topic, Partitions: 1}); err != nil {
		return err
	}
	for _, v := range settleValues() {
		l.results = append(l.results, broker.Record{Topic: topic, Pinned: true, Value: v})
	}
	for range settleAhead {
		if _, err := l.b.Publish(ctx, l.results...); err != nil {
			return err
		}
	}
	l.c, err = l.b.Join(ctx, "bench", broker.Start(), topic)
	return err
}

func (l *settleLoop) step(ctx context.Context) error {
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

func (l *settleLoop) close() { l.b.Close() }
