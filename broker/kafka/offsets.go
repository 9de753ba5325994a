// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/backoff"
)

// decision is how long who asks for a lag waits for open transactions. A settle's
// takes milliseconds; what a killed member left open is not waited for.
const decision = 2 * time.Second

// listing is one of kadm's calls that list an offset of each partition.
type listing func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error)

// list calls until every partition has an answer; topics that do not exist have
// none.
func (d *driver) list(ctx context.Context, what listing, topics []string) (map[string][]int64, error) {
	return retry(ctx, func() (map[string][]int64, error) { return listOnce(ctx, what, topics) })
}

func listOnce(ctx context.Context, what listing, topics []string) (map[string][]int64, error) {
	listed, err := what(ctx, topics...)
	if err != nil {
		return nil, err
	}
	offsets := map[string][]int64{}
	for name, partitions := range listed {
		list := make([]int64, len(partitions))
		for _, p := range partitions {
			if p.Err != nil {
				if errors.Is(p.Err, kerr.UnknownTopicOrPartition) {
					list = nil
					break
				}
				return nil, fmt.Errorf("offset of %s[%d]: %w", name, p.Partition, p.Err)
			}
			if int(p.Partition) >= len(list) {
				return nil, fmt.Errorf("offset of %s[%d]: %w", name, p.Partition, kerr.LeaderNotAvailable)
			}
			list[p.Partition] = p.Offset
		}
		if list != nil {
			offsets[name] = list
		}
	}
	return offsets, nil
}

// ends returns the ends of the topics' partitions.
func (d *driver) ends(ctx context.Context, topics ...string) (map[string][]broker.PartitionEnds, error) {
	starts, err := d.list(ctx, d.admin.ListStartOffsets, topics)
	if err != nil {
		return nil, err
	}
	ends, err := d.list(ctx, d.admin.ListEndOffsets, topics)
	if err != nil {
		return nil, err
	}
	all := map[string][]broker.PartitionEnds{}
	for name, start := range starts {
		if len(ends[name]) != len(start) {
			continue
		}
		list := make([]broker.PartitionEnds, len(start))
		for i := range list {
			list[i] = broker.PartitionEnds{Start: start[i], End: ends[name][i], Records: ends[name][i] - start[i]}
		}
		all[name] = list
	}
	return all, nil
}

// decidedEnds are the ends of the partitions at the time of the call, after the
// transactions that were open then have been decided, or at the first that is
// not decided in time. The second result are the ends with what is undecided.
func (d *driver) decidedEnds(ctx context.Context, topics ...string) (decided, all map[string][]int64, err error) {
	if all, err = d.list(ctx, d.admin.ListEndOffsets, topics); err != nil {
		return nil, nil, err
	}
	for deadline, try := time.Now().Add(decision), 0; ; try++ {
		if decided, err = d.list(ctx, d.admin.ListCommittedOffsets, topics); err != nil {
			return nil, nil, err
		}
		if limit(decided, all) || time.Now().After(deadline) {
			return decided, all, nil
		}
		if err := backoff.Sleep(ctx, time.Duration(min(try, 10))*time.Millisecond); err != nil {
			return nil, nil, err
		}
	}
}

// limit takes offsets back to the ends and reports whether all have come that
// far.
func limit(offsets, ends map[string][]int64) (all bool) {
	all = true
	for name, list := range ends {
		for i := range offsets[name] {
			if i < len(list) && offsets[name][i] >= list[i] {
				offsets[name][i] = list[i]
			} else {
				all = false
			}
		}
	}
	return all
}

// resolve turns a position into an offset of each of the topic's partitions.
// Unset is the start. The end is after what is not decided yet: it was there
// before the call.
func (d *driver) resolve(ctx context.Context, topic string, at broker.Position) ([]int64, error) {
	return insist(ctx, func() ([]int64, error) { return d.resolveOnce(ctx, topic, at) })
}

func (d *driver) resolveOnce(ctx context.Context, topic string, at broker.Position) ([]int64, error) {
	if at.IsZero() || at.IsStart() {
		starts, err := d.list(ctx, d.admin.ListStartOffsets, []string{topic})
		return found(topic, starts, err)
	}
	ends, err := d.list(ctx, d.admin.ListEndOffsets, []string{topic})
	if at.IsEnd() || err != nil {
		return found(topic, ends, err)
	}
	var list []int64
	if t, ok := at.Time(); ok {
		millis := t.UnixNano() / int64(time.Millisecond)
		if t.UnixNano()%int64(time.Millisecond) > 0 {
			millis++
		}
		after := func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error) {
			return d.admin.ListOffsetsAfterMilli(ctx, max(0, millis), topics...)
		}
		offsets, err := d.list(ctx, after, []string{topic})
		if list, err = found(topic, offsets, err); err != nil {
			return nil, err
		}
	} else if offset, ok := at.Offset(); ok {
		starts, err := d.list(ctx, d.admin.ListStartOffsets, []string{topic})
		if list, err = found(topic, starts, err); err != nil {
			return nil, err
		}
		for i := range list {
			list[i] = max(list[i], offset)
		}
	} else {
		return nil, fmt.Errorf("%q is no position in a topic", at)
	}
	for i := range list {
		if i < len(ends[topic]) {
			list[i] = min(list[i], ends[topic][i])
		}
	}
	return list, nil
}

func found(topic string, offsets map[string][]int64, err error) ([]int64, error) {
	if err != nil {
		return nil, err
	}
	if len(offsets[topic]) == 0 {
		return nil, fmt.Errorf("topic %s: %w", topic, broker.ErrUnknownTopic)
	}
	return offsets[topic], nil
}
