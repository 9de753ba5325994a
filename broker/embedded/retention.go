// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// retainEvery is how often old records are looked for.
	retainEvery = 10 * time.Second

	// rewriteAge is how old a blob file must be before what is left of it is
	// moved, so that files that retention will delete whole are left alone.
	rewriteAge = 30 * time.Second

	// reclaimEvery is how often the space of deleted records is given back.
	reclaimEvery = 30 * time.Second

	// keptLogs is how many bytes of old log files may be kept to be used again
	// while little is written.
	keptLogs = 32 << 20

	// flushDelayDelete bounds how long deleted records keep their disk space.
	flushDelayDelete = 5 * time.Second
)

// retain deletes old records until the broker is closed.
func (d *driver) retain() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	d.background.Go(func() {
		select {
		case <-d.closing:
			cancel()
		case <-ctx.Done():
		}
	})
	reclaimed := time.Now()
	for range d.each(retainEvery) {
		if err := d.deleteOld(); err != nil && d.failure.get() == nil {
			d.lines.log(slog.LevelError, "old records could not be deleted", "error", err)
		}
		if time.Since(reclaimed) < reclaimEvery {
			continue
		}
		if err := d.reclaim(ctx); err != nil && d.failure.get() == nil && ctx.Err() == nil {
			d.lines.log(slog.LevelError, "the space of deleted records could not be given back", "error", err)
		}
		reclaimed = time.Now()
	}
}

// deleteOld deletes what the topics' retention allows.
func (d *driver) deleteOld() error {
	var errs []error
	for _, t := range d.allTopics() {
		r := *t.retention.Load()
		if r == (retention{}) {
			continue
		}
		for _, p := range t.partitions {
			if p.damaged != nil {
				continue
			}
			if err := d.deleteOldOf(p, r); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", p, err))
			}
		}
	}
	return errors.Join(errs...)
}

// deleteOldOf deletes whole entries from the start of a partition. The last one
// stays: it says where the log ends, and a gather restores from it.
func (d *driver) deleteOldOf(p *partition, r retention) error {
	p.appending.Lock()
	size := p.size
	p.appending.Unlock()
	oldest := int64(-1 << 62)
	if r.age > 0 {
		oldest = d.options.Now().Add(-r.age).UnixNano()
	}
	last, err := d.lastEntry(p)
	if err != nil || last < 0 {
		return err
	}
	// An entry stays when it is young enough and the log from it on is small
	// enough. Both grow along the log.
	keep, err := d.firstEntry(p, func(k logKey) bool {
		return k.base >= last || k.time >= oldest && (r.bytes == 0 || size-k.size <= r.bytes)
	})
	if err != nil || keep <= p.start.Load() {
		return err
	}
	batch := d.db.NewBatch()
	defer batch.Close()
	if err := batch.DeleteRange(p.prefix, appendOffsetKey(logPrefix(p.topic.id, p.index), keep), nil); err != nil {
		return err
	}
	// Start moves first: who reads in between finds the records gone or there,
	// but not a log that begins with a hole. Space is not checked: this makes it.
	p.start.Store(keep)
	if err := d.apply(batch, false); err != nil {
		return err
	}
	p.reclaim.Store(true)
	return nil
}

// reclaim gives back the space of what was deleted. Pebble would do so when the
// deletion happens to meet the records in a compaction, which in a log that only
// grows it seldom does. Values are in files of their own, so this costs little.
func (d *driver) reclaim(ctx context.Context) error {
	var errs []error
	for _, t := range d.allTopics() {
		for _, p := range t.partitions {
			if !p.reclaim.CompareAndSwap(true, false) {
				continue
			}
			end := appendOffsetKey(logPrefix(t.id, p.index), p.start.Load())
			if err := d.db.Compact(ctx, p.prefix, end, false); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", p, d.described(err)))
			}
		}
	}
	return errors.Join(append(errs, d.shrinkLogs())...)
}

// shrinkLogs begins a new log file while many bytes are in old ones that are kept
// to be used again: those that are larger than what is written are deleted instead
// (filesystem.go).
func (d *driver) shrinkLogs() error {
	written := d.db.Metrics().WAL.BytesIn
	quiet := written-d.written.Swap(written) < keptLogs/16
	if !quiet || d.db.Metrics().WAL.ObsoletePhysicalSize < keptLogs {
		return nil
	}
	_, err := d.db.AsyncFlush()
	return err
}

// lastEntry is the offset of the last visible entry, or -1.
func (d *driver) lastEntry(p *partition) (int64, error) {
	ends := p.ends()
	if ends.Start == ends.End {
		return -1, nil
	}
	it, err := d.db.NewIter(&pebble.IterOptions{LowerBound: p.prefix, UpperBound: p.upper})
	if err != nil {
		return -1, d.described(err)
	}
	defer it.Close()
	if !it.SeekLT(appendOffsetKey(logPrefix(p.topic.id, p.index), ends.End)) {
		return -1, d.described(it.Error())
	}
	k, err := parseLogKey(it.Key())
	return k.base, err
}
