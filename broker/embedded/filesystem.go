// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"errors"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// filesystem is what Pebble writes through. It does two things.
//
// With OS durability a sync of the write-ahead log does nothing until the file
// is closed. Syncing finished files keeps the log a prefix after a power cut:
// only its last file can be torn.
//
// Pebble takes an error in the write-ahead log or the manifest as the end. The
// space check (space.go) keeps it from meeting a full disk, but other programs
// fill disks too. So writes to these files wait for room. Writes of tables do
// not: Pebble drops the unfinished table, which gives room back, and tries again.
type filesystem struct {
	vfs.FS
	durability Durability
	failure    *failure

	closing chan struct{}
	once    sync.Once
}

// retryRoom is how long to wait before a write is tried again that found no room.
const retryRoom = 100 * time.Millisecond

func newFilesystem(fs vfs.FS, d Durability, f *failure) *filesystem {
	return &filesystem{FS: fs, durability: d, failure: f, closing: make(chan struct{})}
}

// giveUp ends the waits for room.
func (fs *filesystem) giveUp() { fs.once.Do(func() { close(fs.closing) }) }

// Unwrap implements vfs.FS.
func (fs *filesystem) Unwrap() vfs.FS { return fs.FS }

// vital reports whether Pebble ends when the file cannot be written.
func vital(name string) bool {
	return strings.HasSuffix(name, ".log") || strings.Contains(name, "MANIFEST-") || strings.Contains(name, "marker.")
}

// Create implements vfs.FS.
func (fs *filesystem) Create(name string, c vfs.DiskWriteCategory) (f vfs.File, err error) {
	err = fs.untilRoom(vital(name), func() error {
		f, err = fs.FS.Create(name, c)
		return err
	})
	return fs.wrap(name, f, err)
}

// ReuseForWrite implements vfs.FS.
func (fs *filesystem) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (f vfs.File, err error) {
	err = fs.untilRoom(vital(name), func() error {
		f, err = fs.FS.ReuseForWrite(old, name, c)
		return err
	})
	return fs.wrap(name, f, err)
}

func (fs *filesystem) wrap(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &file{File: f, fs: fs, vital: vital(name), lazy: fs.durability == OS && strings.HasSuffix(name, ".log")}, nil
}

// untilRoom calls write until it does not fail for want of room, if it must.
func (fs *filesystem) untilRoom(must bool, write func() error) error {
	for {
		err := write()
		if err == nil || !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
			return err
		}
		// Tables wait once, or else Pebble would try again at once, for ever.
		select {
		case <-fs.closing:
			return err
		case <-time.After(retryRoom):
		}
		if !must {
			return err
		}
	}
}

type file struct {
	vfs.File
	fs    *filesystem
	vital bool
	lazy  bool
}

// Write implements io.Writer.
func (f *file) Write(p []byte) (int, error) {
	written := 0
	err := f.fs.untilRoom(f.vital, func() error {
		n, err := f.File.Write(p[written:])
		written += n
		return err
	})
	return written, f.note(err)
}

// Sync implements vfs.File.
func (f *file) Sync() error {
	if f.lazy {
		return nil
	}
	return f.note(f.File.Sync())
}

// SyncData implements vfs.File.
func (f *file) SyncData() error {
	if f.lazy {
		return nil
	}
	return f.note(f.File.SyncData())
}

// SyncTo implements vfs.File.
func (f *file) SyncTo(length int64) (bool, error) {
	if f.lazy {
		return false, nil
	}
	full, err := f.File.SyncTo(length)
	return full, f.note(err)
}

// Close implements io.Closer.
func (f *file) Close() error {
	if f.lazy {
		if err := f.File.SyncData(); err != nil {
			return errors.Join(f.note(err), f.File.Close())
		}
	}
	return f.File.Close()
}

// note stops the broker before Pebble sees the error, so that no append runs
// into a log that is about to end.
func (f *file) note(err error) error {
	if err != nil && f.vital {
		f.fs.failure.set(err)
	}
	return err
}
