// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/test/ledger"
	"github.com/millrace-ml/millrace/lineage"
)

// inspection is an audit under way. The topics are read one after the other and
// only the sources are remembered.
type inspection struct {
	b        *broker.Broker
	seed     maphash.Seed
	sources  map[int32][]sourced // by partition, in the order of their offsets
	deadline time.Duration
	times    *tally
	report   Report
}

// sourced is a record of the source topic.
type sourced struct {
	offset int64
	n      int64
	key    string
	value  uint64 // hash
}

// inspect reads all topics. The ledger knows what was published and
// acknowledged; deadline is the gather's.
func inspect(ctx context.Context, b *broker.Broker, published *ledger.Ledger, kills []Kill, deadline time.Duration) (*Report, error) {
	in := &inspection{b: b, seed: maphash.MakeSeed(), sources: map[int32][]sourced{}, deadline: deadline, times: newTally(kills)}
	if err := in.source(ctx, published); err != nil {
		return nil, err
	}
	for _, s := range services {
		if err := in.service(ctx, s); err != nil {
			return nil, err
		}
		if err := in.dead(ctx, s); err != nil {
			return nil, err
		}
	}
	if err := in.gather(ctx); err != nil {
		return nil, err
	}
	in.report.Kills = in.times.result()
	return &in.report, nil
}

func (in *inspection) records(ctx context.Context, topic string, f func(r *broker.Record)) error {
	for r, err := range broker.Records(ctx, in.b, topic, broker.AllPartitions, broker.Start(), broker.Position{}) {
		if err != nil {
			return fmt.Errorf("audit %s: %w", topic, err)
		}
		in.times.wrote[in.times.life(r.Time)]++
		f(r)
	}
	return nil
}

func (in *inspection) hash(value []byte) uint64 { return maphash.Bytes(in.seed, value) }

// source checks that what was acknowledged is there, and remembers what is.
func (in *inspection) source(ctx context.Context, ledger *ledger.Ledger) error {
	keys := map[string]string{} // one copy of each
	err := in.records(ctx, source, func(r *broker.Record) {
		at := r.Place()
		var m message
		if err := json.Unmarshal(r.Value, &m); err != nil || m.Key != string(r.Key) {
			in.report.Wrong.add("%v is not a message that was published: key %q, %.100s", at, r.Key, r.Value)
			return
		}
		ledger.See(source, m.Key, m.N, at)
		if _, known := keys[m.Key]; !known {
			keys[m.Key] = m.Key
		}
		in.sources[r.Partition] = append(in.sources[r.Partition], sourced{r.Offset, m.N, keys[m.Key], in.hash(r.Value)})
		in.report.Sources++
		in.times.asked[in.times.life(r.Time)]++
	})
	in.report.Topics = append(in.report.Topics, TopicReport{source, ledger.Audit(source)})
	return err
}

// owed is a ledger of what every topic after the source must hold: each source
// record, whether its publisher was told or not.
func (in *inspection) owed() *ledger.Ledger {
	ledger := &ledger.Ledger{}
	issued := map[string]int64{}
	for _, list := range in.sources {
		for _, s := range list {
			for issued[s.key] < s.n {
				issued[s.key] = ledger.Issue(s.key)
			}
			ledger.Acknowledge(s.key, s.n)
		}
	}
	return ledger
}

// find is the source record at a place, or nil.
func (in *inspection) find(partition int32, offset int64) *sourced {
	list := in.sources[partition]
	i, found := slices.BinarySearchFunc(list, offset, func(s sourced, offset int64) int { return int(s.offset - offset) })
	if !found {
		return nil
	}
	return &list[i]
}

// service checks a result topic: an answer to every source record, once, in
// order, with its value, its key and the right id.
func (in *inspection) service(ctx context.Context, s service) error {
	ledger, last := in.owed(), map[int32]int64{}
	err := in.records(ctx, s.to, func(r *broker.Record) {
		at := r.Place()
		id := r.Header(lineage.ID)
		partition, offset, ok := lineage.SourceIn(id, source)
		of := in.find(partition, offset)
		if !ok || of == nil || partition != r.Partition || !strings.HasSuffix(string(id), fmt.Sprintf("/%d/%s", offset, s.path)) {
			in.report.Wrong.add("%v answers nothing that was asked: id %q", at, id)
			return
		}
		if status := r.Header(lineage.Status); status != nil || string(r.Key) != of.key || in.hash(r.Value) != of.value {
			in.report.Wrong.add("%v is not the right answer to %s: status %q, error %q, key %q, %.100s",
				at, id, status, r.Header(lineage.Error), r.Key, r.Value)
		}
		if before, any := last[partition]; any && offset < before {
			in.report.Wrong.add("%v answers %s after offset %d: the order of the partition is broken", at, id, before)
		}
		last[partition] = offset
		ledger.See(s.to, of.key, of.n, at)
	})
	in.report.Topics = append(in.report.Topics, TopicReport{s.to, ledger.Audit(s.to)})
	return err
}

// dead checks that no service gave anything up.
func (in *inspection) dead(ctx context.Context, s service) error {
	return in.records(ctx, lineage.DeadTopic(s.name), func(r *broker.Record) {
		in.report.Wrong.add("%v is a dead letter: %s", r.Place(), r.Header(lineage.Error))
	})
}
