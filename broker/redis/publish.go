// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	cryptorand "crypto/rand"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/millrace-ml/millrace/broker"
)

const (
	// publishRecords and publishBytes limit what one script appends, so that
	// others need not wait long for the server.
	publishRecords = 2048
	publishBytes   = 4 << 20

	maxLanes = 64
)

// lane numbers calls of Publish that come one after the other, so that the
// server knows one that is sent twice.
type lane struct {
	key  string
	used int64
}

// lanes are the lanes that are free. As many calls run at a time.
type lanes chan *lane

func newLanes() lanes {
	l := make(lanes, maxLanes)
	for range maxLanes {
		l <- &lane{}
	}
	return l
}

// Publish implements [broker.Broker]. A call whose answer got lost is made again
// without appending twice.
func (b *Broker) Publish(ctx context.Context, records ...broker.Record) error {
	routed, err := b.route(ctx, records)
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if len(records) == 0 {
		return nil
	}
	var l *lane
	select {
	case l = <-b.lanes:
	case <-ctx.Done():
		return ctx.Err()
	case <-b.life.Done():
		return broker.ErrClosed
	}
	defer func() { b.lanes <- l }()
	for len(routed) > 0 {
		n := portion(routed)
		if err := b.publish(ctx, l, routed[:n]); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		routed = routed[n:]
	}
	return nil
}

// portion is how many of the records go into one script.
func portion(records []routed) int {
	size := 0
	for i := range records {
		if size += records[i].record.Size(); i == publishRecords || i > 0 && size > publishBytes {
			return i
		}
	}
	return len(records)
}

func (b *Broker) publish(ctx context.Context, l *lane, records []routed) error {
	if l.key == "" {
		l.key = b.keys.publisher(cryptorand.Text())
	}
	l.used++
	e := newEncoder(records, 2)
	e.keys = append(e.keys, "", l.key)
	e.args = append(e.args, "", strconv.FormatInt(l.used, 10))
	e.add(records)
	_, err := b.run(ctx, b.scripts.publish, e.keys, e.args)
	if err != nil {
		// It may be under way still; nobody else may have its number.
		*l = lane{}
	}
	return err
}

// routed is a record with the stream it goes to.
type routed struct {
	record *broker.Record
	stream string
}

// route checks the records and finds their streams. Nothing is appended when
// one of them cannot be.
func (b *Broker) route(ctx context.Context, records []broker.Record) ([]routed, error) {
	if err := b.check(ctx); err != nil {
		return nil, err
	}
	list := make([]routed, len(records))
	anywhere := -1
	var t *topic
	for i := range records {
		r := &records[i]
		if n := r.Size(); n > b.options.MaxRecordBytes {
			return nil, &broker.TooLargeError{Index: i, Size: n, Limit: b.options.MaxRecordBytes}
		}
		if t == nil || t.name != r.Topic {
			found, err := b.find(ctx, r.Topic)
			if err != nil {
				return nil, err
			}
			t, anywhere = found[0], -1
		}
		p := r.Partition
		switch {
		case r.Pinned:
			if p < 0 || int(p) >= len(t.streams) {
				return nil, fmt.Errorf("record %d is pinned to partition %d of topic %s, which has %d", i, p, t.name, len(t.streams))
			}
		case len(r.Key) > 0:
			p = broker.PartitionOf(r.Key, len(t.streams))
		default:
			if anywhere < 0 {
				anywhere = rand.IntN(len(t.streams)) // one for all of a call
			}
			p = int32(anywhere)
		}
		list[i] = routed{r, t.streams[p]}
	}
	return list, nil
}
