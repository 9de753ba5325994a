// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"

	"github.com/millrace-ml/millrace/broker"
)

const (
	// appendRecords and appendBytes limit what one script appends, so that others
	// need not wait long for the server.
	appendRecords = 2048
	appendBytes   = 4 << 20

	maxLanes = 64
)

// lane numbers appends that come one after the other, so that the server knows
// one that is sent twice, and what it answered: it keeps the last one's number
// and answer under the lane's key. Who has a lane has it alone. When an append
// fails it may be under way still, so its lane is given up: a call that came
// late would be taken for a new one of whoever used the lane next.
type lane struct {
	key  string // "" for a lane that is not used yet
	used int64
}

// lanes are the lanes that are free. As many appends run at a time.
type lanes chan *lane

func newLanes() lanes {
	l := make(lanes, maxLanes)
	for range maxLanes {
		l <- &lane{}
	}
	return l
}

// Append implements [broker.Driver].
func (d *driver) Append(ctx context.Context, records []broker.Record, partitions []int32) ([]int64, error) {
	routed, err := d.route(ctx, records, partitions)
	if err != nil {
		return nil, err
	}
	var l *lane
	select {
	case l = <-d.lanes:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { d.lanes <- l }()
	offsets := make([]int64, 0, len(records))
	for len(routed) > 0 {
		n := portion(routed)
		if offsets, err = d.append(ctx, l, routed[:n], offsets); err != nil {
			if done := len(offsets); done > 0 && errors.Is(err, broker.ErrFull) {
				err = fmt.Errorf("%d of %d records are appended, then: %v", done, len(records), err) //nolint:errorlint // ErrFull says that nothing was appended
			}
			return nil, err
		}
		routed = routed[n:]
	}
	return offsets, nil
}

// portion is how many of the records go into one script.
func portion(records []routed) int {
	size := 0
	for i := range records {
		if size += records[i].record.Size(); i == appendRecords || i > 0 && size > appendBytes {
			return i
		}
	}
	return len(records)
}

// append appends with one script, and adds where to the offsets.
func (d *driver) append(ctx context.Context, l *lane, records []routed, offsets []int64) ([]int64, error) {
	if l.key == "" {
		l.key = d.keys.publisher(rand.Text())
	}
	l.used++
	e := newEncoder(records, 1)
	e.keys = append(e.keys, d.keys.generation(), l.key)
	e.args = append(e.args, strconv.FormatInt(l.used, 10))
	e.add(records)
	ranges, err := decode[[]idRange](d.run(ctx, d.scripts.append, e.keys, e.args))
	if err != nil {
		*l = lane{}
		return offsets, err
	}
	return placed(ranges, e.keys, records, offsets)
}

// idRange are ids with one number after the other.
type idRange struct {
	Stream int // in keys, from 1
	First  id
	Count  int
}

// placed adds the offsets of records to a list. The records of a stream are in
// its ranges, in order.
func placed(ranges []idRange, keys []string, records []routed, offsets []int64) ([]int64, error) {
	streams := make(map[string][]idRange)
	for _, r := range ranges {
		if r.Stream < 1 || r.Stream > len(keys) {
			return offsets, fmt.Errorf("the script publish.lua answered about stream %d of %d", r.Stream, len(keys))
		}
		streams[keys[r.Stream-1]] = append(streams[keys[r.Stream-1]], r)
	}
	for i := range records {
		left := streams[records[i].stream]
		if len(left) > 0 && left[0].Count == 0 {
			left = left[1:]
			streams[records[i].stream] = left
		}
		if len(left) == 0 {
			return offsets, fmt.Errorf("the script publish.lua answered about less than %d records", len(records))
		}
		offsets = append(offsets, int64(left[0].First))
		left[0].First++
		left[0].Count--
	}
	return offsets, nil
}

// routed is a record with the stream it goes to.
type routed struct {
	record *broker.Record
	stream string
}

// route finds the records' streams.
func (d *driver) route(ctx context.Context, records []broker.Record, partitions []int32) ([]routed, error) {
	list := make([]routed, len(records))
	var t *topic
	for i := range records {
		r := &records[i]
		if t == nil || t.Name != r.Topic {
			var err error
			if t, err = d.find(ctx, r.Topic); err != nil {
				return nil, err
			}
		}
		list[i] = routed{r, t.streams[partitions[i]]}
	}
	return list, nil
}
