// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/millrace-ml/millrace/broker"
)

const (
	cutPublishers = 3
	cutPartitions = 2
	roundsPerDisk = 3
)

// cuts is how often the power is cut.
func cuts(n int) int {
	if os.Getenv("MILLRACE_LONG") != "" {
		return 20 * n
	}
	return n
}

func TestAPowerCutLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	cutAgainAndAgain(t, Fsync, cuts(120))
}

func TestAPowerCutWithOSDurabilityLeavesAConsistentPrefix(t *testing.T) {
	t.Parallel()
	cutAgainAndAgain(t, OS, cuts(81))
}

// cutAgainAndAgain runs publishers and consumers, cuts the power in the middle,
// opens what is left and checks it; every four rounds on a new disk.
func cutAgainAndAgain(t *testing.T, d Durability, rounds int) {
	var lost int
	for first := 0; first < rounds && !t.Failed(); first += roundsPerDisk {
		seed := uint64(first + int(d)*1_000_003)
		rng := rand.New(rand.NewPCG(seed, 7))
		run := &cutRun{t: t, rng: rng, disk: newTestDisk(), options: Options{Durability: d, Logger: quiet, CacheBytes: 64 << 10}}
		for round := range roundsPerDisk {
			run.round(first + round)
			if t.Failed() {
				t.Logf("the seed of this run was %d", seed)
				break
			}
		}
		lost += run.lost
	}
	if d == Fsync && lost > 0 {
		t.Errorf("%d acknowledged calls were lost", lost)
	}
}

// cutRun is a disk and what was acknowledged on it.
type cutRun struct {
	t       *testing.T
	rng     *rand.Rand
	disk    *testDisk
	options Options

	// Of the current round.
	number  int
	acked   [cutPublishers]int          // publishes of each publisher
	settled [cutPartitions]atomic.Int64 // positions that were settled
	lost    int
}

func (r *cutRun) round(number int) {
	r.number = number
	r.disk.total = 8 << 20 // small memtables, so that logs are ended and tables made
	r.options.FS = r.disk
	b, err := Open("data", r.options)
	if err != nil {
		r.t.Errorf("round %d: %v", number, err)
		return
	}
	ctx := context.Background()
	err = b.CreateTopics(ctx, broker.Topic{Name: "in", Partitions: cutPartitions}, broker.Topic{Name: "out", Partitions: cutPartitions})
	if err != nil {
		r.t.Errorf("round %d: %v", number, err)
	}

	var acks atomic.Int64
	at := 4 + r.rng.Int64N(32)
	percent := r.rng.IntN(101)
	var after *testDisk
	ack := func() {
		if acks.Add(1) == at {
			after = r.disk.cut(percent, r.rng)
		}
	}
	var group sync.WaitGroup
	padding := paddings[r.rng.IntN(len(paddings))]
	for p := range cutPublishers {
		r.acked[p] = 0
		rng := rand.New(rand.NewPCG(uint64(number), uint64(p)))
		group.Go(func() { r.publish(b, p, rng, padding, ack) })
	}
	for m := range cutPartitions {
		rng := rand.New(rand.NewPCG(uint64(number), uint64(100+m)))
		group.Go(func() { r.answer(b, rng, ack) })
	}
	group.Wait()
	b.Close() // fails, the power is off

	r.disk = after
	r.check()
}

// paddings make the values of a round longer: so much that logs are ended and
// tables made in its middle, with what is compressed, or little.
var paddings = func() [][]byte {
	noise := make([]byte, 8_000)
	rand.NewChaCha8([32]byte{}).Read(noise)
	return [][]byte{noise, noise[:500], make([]byte, 3000)}
}()

// publish appends calls of some records each, over the partitions. The value
// says of which call it is and how many records that has.
func (r *cutRun) publish(b *broker.Broker, publisher int, rng *rand.Rand, padding []byte, ack func()) {
	for call := 0; ; call++ {
		n := 1 + rng.IntN(6)
		records := make([]broker.Record, n)
		for i := range records {
			value := fmt.Appendf(nil, "%d %d %d %d", r.number, publisher, call, n)
			value = append(value, padding[:rng.IntN(len(padding))]...)
			records[i] = broker.Record{Topic: "in", Pinned: true, Partition: int32(rng.IntN(cutPartitions)), Value: value}
		}
		if _, err := b.Publish(context.Background(), records...); err != nil {
			return
		}
		r.acked[publisher]++
		ack()
	}
}

// answer settles one result for each record: its offset.
func (r *cutRun) answer(b *broker.Broker, rng *rand.Rand, ack func()) {
	ctx := context.Background()
	c, err := b.Join(ctx, "g", broker.Start(), "in")
	if err != nil {
		return
	}
	for {
		batch, err := c.Poll(ctx, broker.Want{Records: 1 + rng.IntN(20)})
		if err != nil {
			return
		}
		if rng.IntN(8) == 0 {
			c.Rewind()
			continue
		}
		results := make([]broker.Record, len(batch.Records))
		for i, in := range batch.Records {
			results[i] = broker.Record{Topic: "out", Pinned: true, Partition: in.Partition, Value: fmt.Appendf(nil, "%d", in.Offset)}
		}
		if err := batch.Settle(ctx, results...); errors.Is(err, broker.ErrFenced) {
			continue
		} else if err != nil {
			return
		}
		for _, in := range batch.Records {
			r.settled[in.Partition].Store(in.Offset + 1)
		}
		ack()
	}
}

// check opens what the power cut has left and compares.
func (r *cutRun) check() {
	r.options.FS = r.disk
	b, err := Open("data", r.options)
	if err != nil {
		r.t.Errorf("round %d: after the power cut: %v", r.number, err)
		return
	}
	defer b.Close()
	r.checkPublished(b)
	lags, err := b.Lag(context.Background(), "g")
	if err != nil {
		r.t.Errorf("round %d: %v", r.number, err)
	}
	for _, lag := range lags {
		r.checkSettled(b, lag)
	}
}

type cutCall struct{ publisher, call int }

// checkPublished checks that calls are whole, in order, and none is missing.
func (r *cutRun) checkPublished(b *broker.Broker) {
	records := map[cutCall]int{}
	sizes := map[cutCall]int{}
	last := [cutPublishers]int{-1, -1, -1}
	for p := range int32(cutPartitions) {
		order := map[int]int{}
		for _, rec := range r.readAll(b, "in", p) {
			var round, n int
			var c cutCall
			if _, err := fmt.Sscanf(string(rec.Value), "%d %d %d %d", &round, &c.publisher, &c.call, &n); err != nil {
				r.t.Errorf("round %d: value %q: %v", r.number, rec.Value, err)
			}
			if round != r.number {
				continue
			}
			if c.call < order[c.publisher] {
				r.t.Errorf("round %d: call %d of publisher %d is behind call %d", r.number, c.call, c.publisher, order[c.publisher])
			}
			order[c.publisher] = c.call
			records[c]++
			sizes[c] = n
			last[c.publisher] = max(last[c.publisher], c.call)
		}
	}
	for publisher, end := range last {
		for call := range end + 1 {
			if c := (cutCall{publisher, call}); records[c] != sizes[c] || sizes[c] == 0 {
				r.t.Errorf("round %d: %d of %d records of call %d of publisher %d are there", r.number, records[c], sizes[c], call, publisher)
			}
		}
		r.lost += max(0, r.acked[publisher]-(end+1))
	}
}

// checkSettled checks that the group stands where the results end.
func (r *cutRun) checkSettled(b *broker.Broker, lag broker.Lag) {
	results := r.readAll(b, "out", lag.Partition)
	for i, rec := range results {
		if string(rec.Value) != fmt.Sprint(i) {
			r.t.Errorf("round %d: result %d of partition %d is of record %s", r.number, i, lag.Partition, rec.Value)
			return
		}
	}
	if int64(len(results)) != lag.Position {
		r.t.Errorf("round %d: partition %d has %d results and the position is %d", r.number, lag.Partition, len(results), lag.Position)
	}
	if lag.Position > lag.End {
		r.t.Errorf("round %d: partition %d: the position %d is beyond the end %d", r.number, lag.Partition, lag.Position, lag.End)
	}
	if r.settled[lag.Partition].Swap(lag.Position) > lag.Position {
		r.lost++
	}
}

// readAll reads a partition and checks that offsets are dense and times in order.
func (r *cutRun) readAll(b *broker.Broker, topic string, p int32) []broker.Record {
	reader, err := b.Read(context.Background(), topic, p, broker.Start(), broker.Position{})
	if errors.Is(err, broker.ErrUnknownTopic) && r.options.Durability == OS {
		return nil // the cut came before the first sync
	}
	if err != nil {
		r.t.Errorf("round %d: %v", r.number, err)
		return nil
	}
	defer reader.Close()
	var all []broker.Record
	for {
		records, err := reader.Next(context.Background(), 0)
		if err == io.EOF {
			return all
		}
		if err != nil {
			r.t.Errorf("round %d: %v", r.number, err)
			return nil
		}
		for _, rec := range records {
			if rec.Offset != int64(len(all)) || len(all) > 0 && rec.Time.Before(all[len(all)-1].Time) {
				r.t.Errorf("round %d: %s[%d]: record %d has offset %d and time %v", r.number, topic, p, len(all), rec.Offset, rec.Time)
			}
			all = append(all, rec)
		}
	}
}
