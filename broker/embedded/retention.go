// SPDX-License-Identifier: Apache-2.0

package embedded

import (
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
	rewriteAge = 5 * time.Minute

	// flushDelayDelete bounds how long deleted records keep their disk space.
	flushDelayDelete = 5 * time.Second
)

// retain deletes old records until the broker is closed.
func (d *driver) retain() {
	tick := time.NewTicker(retainEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-d.closing:
			return
		case <-d.failure.failed:
			return
		}
		if err := d.deleteOld(); err != nil && d.failure.get() == nil {
			d.lines.log(slog.LevelError, "old records could not be deleted", "error", err)
		}
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
	return d.apply(batch, false)
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
