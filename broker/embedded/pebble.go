// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// How Pebble is set up for a log: keys are written once, in order within a
// partition, read in order, and deleted in ranges.
const (
	memTableBytes  = 16 << 20 // each has a log file, which is kept to be used again
	memTablesMax   = 4
	blockCacheSize = 16 << 20 // for reads behind the tail, which are sequential

	// Values from this size on live in blob files, which compactions leave alone.
	separateBytes = 512
)

func (d *driver) openPebble(disk vfs.FS) (*pebble.DB, error) {
	o := &pebble.Options{
		FS:                          disk,
		Lock:                        d.locks.pebble,
		ReadOnly:                    d.options.ReadOnly,
		DisableConsistencyCheck:     d.lenient,
		Logger:                      pebbleLogger{d.options.Logger, &d.lines, &d.failure},
		EventListener:               d.listener(),
		FormatMajorVersion:          pebble.FormatValueSeparation,
		CacheSize:                   blockCacheSize,
		MemTableSize:                uint64(d.space.memTable()),
		MemTableStopWritesThreshold: memTablesMax,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       64,
		BytesPerSync:                1 << 20,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 1 },
		FlushDelayDeleteRange:       flushDelayDelete,
	}
	o.TargetFileSizes[0] = 8 << 20
	for i := range o.Levels {
		// Checksums of the batches are checked as they are read; keys are few.
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
		o.Levels[i].BlockSize = 32 << 10
	}
	o.Experimental.FileCacheShards = 1
	o.Experimental.ReadSamplingMultiplier = -1 // reading a log must not start compactions
	o.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
		return pebble.ValueSeparationPolicy{
			Enabled:               true,
			MinimumSize:           separateBytes,
			MaxBlobReferenceDepth: 32,
			RewriteMinimumAge:     d.options.age,
			TargetGarbageRatio:    0.3,
		}
	}
	db, err := pebble.Open(d.dir, o)
	return db, d.described(err)
}

// flushTime is how long to wait for tables to be written when the log is closed.
const flushTime = 20 * time.Second

// flush makes tables of what is in the log files. Pebble tries it again for ever
// when the disk refuses, so it is not waited for without end; what is in the log
// files is as safe there.
func (d *driver) flush() error {
	flushed, err := d.db.AsyncFlush()
	if err != nil {
		return err
	}
	patience := time.NewTimer(flushTime)
	defer patience.Stop()
	select {
	case <-flushed:
		return nil
	case <-d.failure.failed:
		return d.failure.get()
	case <-patience.C:
		return fmt.Errorf("write tables: not done within %s", flushTime)
	}
}

// apply writes a batch: to the operating system always, to the disk with Fsync
// durability. It is for few and small batches; appends have a path of their own.
func (d *driver) apply(batch *pebble.Batch, checkSpace bool) error {
	if d.options.ReadOnly {
		return errReadOnly
	}
	if checkSpace {
		if err := d.space.check(int64(batch.Len())); err != nil {
			return err
		}
	}
	if err := d.submit(batch); err != nil {
		return err
	}
	return d.awaitSync(batch)
}

// submit gives a batch to Pebble, which assigns its place in the log and makes
// it readable. Nothing is recovered here: Pebble panics with locks held, and the
// file system keeps from it what it would panic about (filesystem.go).
func (d *driver) submit(batch *pebble.Batch) error {
	if err := d.failure.get(); err != nil {
		return err
	}
	if err := d.db.ApplyNoSyncWait(batch, pebble.Sync); err != nil {
		return err
	}
	return d.failure.get()
}

// awaitSync returns when the batch and all before it are durable.
func (d *driver) awaitSync(batch *pebble.Batch) error {
	if err := batch.SyncWait(); err != nil {
		d.failure.set(fmt.Errorf("sync the log: %w", err))
	}
	return d.failure.get() // a sync after a failure did nothing
}

// scan calls f with every key that begins with the prefix. Key and value are
// only valid during the call.
func (d *driver) scan(prefix []byte, f func(key, value []byte) error) error {
	it, err := d.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: prefixEnd(prefix)})
	if err != nil {
		return d.described(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := d.value(it)
		if err != nil {
			return err
		}
		if err := f(it.Key(), value); err != nil {
			return err
		}
	}
	return d.described(it.Error())
}

// value reads the value that the iterator is at. It is valid until the iterator
// moves. Pebble panics, without locks, when it needs a blob file that is neither
// there nor in the mark; the iterator can be used and closed after that.
func (d *driver) value(it *pebble.Iterator) (value []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			value, err = nil, fmt.Errorf("%w: a blob file that it is in cannot be opened: %v", ErrDamaged, p)
		}
	}()
	value, err = it.ValueAndErr()
	return value, d.described(err)
}

// levelTrace is for what only somebody who debugs Pebble wants to see.
const levelTrace = slog.LevelDebug - 4

// pebbleLogger keeps Pebble's chatter for debugging and contains its exits.
type pebbleLogger struct {
	log     *slog.Logger
	lines   *lines
	failure *failure
}

func (l pebbleLogger) Infof(format string, args ...any) {
	if ctx := context.Background(); l.log.Enabled(ctx, levelTrace) {
		l.log.Log(ctx, levelTrace, "pebble: "+fmt.Sprintf(format, args...))
	}
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.lines.log(slog.LevelError, "pebble: "+firstLine(fmt.Errorf(format, args...)))
}

// Fatalf is called when Pebble wants to end the process. The broker ends alone:
// the program around it may have other things to finish.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	err := errors.New(firstLine(fmt.Errorf(format, args...)))
	l.log.Error("the log has failed", "error", err)
	l.failure.set(err)
}
