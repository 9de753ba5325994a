// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// filesystem is what Pebble writes through. It does these things for the files of
// the data directory; those elsewhere, of a backup, go straight to the disk.
//
// With OS durability a sync of the write-ahead log does nothing until the file
// is closed. Syncing finished files keeps the log a prefix after a power cut:
// only its last file can be torn.
//
// Writes of the write-ahead log, the manifest and blob files wait for room. The space check
// (space.go) keeps Pebble from meeting a full disk, but other programs fill
// disks too. Writes of tables do not wait: Pebble drops the unfinished table,
// which gives room back, and tries again. Only what certainly did not happen is
// tried again. A sync is not: the kernel may have dropped what it could not
// write, and says nothing the second time.
//
// Another error ends the broker (failure.go). Pebble would end the process: it
// panics with locks held. So from that moment the disk is frozen as a crash would
// leave it, and Pebble is told that all is well; what it still writes goes nowhere
// or, where it might read it again, to memory. Nothing is acknowledged any more,
// and Pebble can be closed in order.
type filesystem struct {
	vfs.FS
	dir        string
	durability Durability
	failure    *failure

	after *vfs.MemFS // files made after a failure

	room    room
	ledger  ledger
	damaged func(file, what string)

	closing chan struct{}
	once    sync.Once
}

// smallLog is how large a log file may be that is kept whatever is written.
const smallLog = 1 << 20

// retryRoom is how long to wait before a write is tried again that found no room.
const retryRoom = 100 * time.Millisecond

func newFilesystem(o Options, dir string, f *failure) *filesystem {
	return &filesystem{
		FS: o.FS, dir: dir, durability: o.Durability, failure: f,
		after: vfs.NewMem(), room: room{log: o.Logger},
		ledger: ledger{disk: o.FS, dir: dir, files: map[string]*sums{}}, closing: make(chan struct{}),
	}
}

// giveUp ends the waits for room.
func (fs *filesystem) giveUp() { fs.once.Do(func() { close(fs.closing) }) }

func (fs *filesystem) frozen() bool { return fs.failure.get() != nil }

// Unwrap implements vfs.FS.
func (fs *filesystem) Unwrap() vfs.FS { return fs.FS }

func isLog(name string) bool { return strings.HasSuffix(name, ".log") }

// vital reports whether Pebble ends when the file cannot be written. That blob
// files are among them is a mistake in Pebble 2.1.7: blob.FileWriter.Close aborts
// a file that has failed to finish, which is nil by then.
func vital(name string) bool {
	return isLog(name) || strings.HasSuffix(name, ".blob") ||
		strings.Contains(name, "MANIFEST-") || strings.Contains(name, "marker.")
}

// Create implements vfs.FS.
func (fs *filesystem) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if !fs.ours(name) {
		return fs.FS.Create(name, c)
	}
	f, err := fs.create(name, c, func() (vfs.File, error) { return fs.FS.Create(name, c) })
	if err == nil && grows(fs.PathBase(name)) {
		// From here on it is not to be missing, and the one before it not to be cut.
		err = fs.saveMark()
	}
	return f, err
}

// saveMark saves the mark durably.
func (fs *filesystem) saveMark() error {
	return fs.change(true, func() error { return fs.ledger.save(true) })
}

// ReuseForWrite implements vfs.FS.
func (fs *filesystem) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	// The mark is to say that the old one is gone before it is.
	fs.ledger.forget(fs.PathBase(old))
	if err := fs.saveMark(); err != nil {
		return nil, err
	}
	return fs.create(name, c, func() (vfs.File, error) {
		if info, err := fs.FS.Stat(old); err == nil && info.Size() > smallLog && info.Size() > 4*fs.ledger.lastLog() {
			// Hardly anything is written now: give its space back.
			if err := fs.FS.Remove(old); err != nil {
				return nil, err
			}
			return fs.FS.Create(name, c)
		}
		return fs.FS.ReuseForWrite(old, name, c)
	})
}

func (fs *filesystem) create(name string, c vfs.DiskWriteCategory, create func() (vfs.File, error)) (vfs.File, error) {
	var f vfs.File
	err := fs.change(vital(name), func() error {
		made, err := create()
		if err == nil {
			f = made
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if f == nil { // frozen
		if err := fs.after.MkdirAll(fs.PathDir(name), 0o755); err != nil {
			return nil, err
		}
		return fs.after.Create(name, c)
	}
	return &file{
		File: f, fs: fs, vital: vital(name), lazy: fs.durability == OS && isLog(name),
		sums: fs.ledger.begun(fs.PathBase(name)),
	}, nil
}

// change makes a change of the disk that can be tried again when it fails, or does
// nothing when the disk is frozen. A vital change waits for room; another error
// freezes the disk.
func (fs *filesystem) change(vital bool, change func() error) error {
	for waited := false; !fs.frozen(); waited = true {
		err := change()
		if err == nil {
			if waited {
				fs.room.found()
			}
			return nil
		}
		if !wantsRoom(err) {
			fs.failure.set(err)
			return nil
		}
		fs.room.missing(err)
		if !vital {
			// Tables wait once, or else Pebble would try again at once, for ever.
			time.Sleep(retryRoom)
			return err
		}
		select {
		case <-fs.closing:
			fs.failure.set(err)
			return nil
		case <-time.After(retryRoom):
		}
	}
	return nil
}

// sync is a change that is not tried again. A table that finds no room is dropped
// and written anew.
func (fs *filesystem) sync(vital bool, sync func() error) error {
	if fs.frozen() {
		return nil
	}
	err := sync()
	if err != nil && !vital && wantsRoom(err) {
		fs.room.missing(err)
		return err
	}
	if err != nil {
		fs.failure.set(err)
	}
	return nil
}

// wantsRoom reports whether an error goes away when something is given back: disk
// space, inodes, a quota, file descriptors.
func wantsRoom(err error) bool {
	for _, room := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, room) {
			return true
		}
	}
	return false
}

// ours reports whether a path is in the data directory.
func (fs *filesystem) ours(name string) bool { return fs.PathDir(name) == fs.dir }

// Link implements vfs.FS. A backup is a copy: a link would share what is damaged.
func (fs *filesystem) Link(old, name string) error {
	return &os.LinkError{Op: "link", Old: old, New: name, Err: syscall.EXDEV}
}

// MkdirAll implements vfs.FS.
func (fs *filesystem) MkdirAll(name string, _ os.FileMode) error { return fs.FS.MkdirAll(name, 0o700) }

// Remove implements vfs.FS.
func (fs *filesystem) Remove(name string) error {
	if fs.frozen() && fs.ours(name) {
		return nil
	}
	if fs.ours(name) {
		base := fs.PathBase(name)
		fs.ledger.forget(base)
		if grows(base) {
			if err := fs.saveMark(); err != nil {
				return err
			}
		}
	}
	return fs.FS.Remove(name)
}

// Rename implements vfs.FS.
func (fs *filesystem) Rename(old, name string) error {
	if !fs.ours(name) {
		return fs.FS.Rename(old, name)
	}
	err := fs.change(true, func() error { return fs.FS.Rename(old, name) })
	if err == nil {
		fs.ledger.renamed(fs.PathBase(old), fs.PathBase(name))
	}
	return err
}

// Open implements vfs.FS.
func (fs *filesystem) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	if fs.frozen() {
		if f, err := fs.after.Open(name, o...); err == nil {
			return f, nil
		}
	}
	f, err := openSound(fs.FS, name, o...)
	if errors.Is(err, ErrDamaged) && fs.ours(name) {
		fs.damaged(fs.PathBase(name), err.Error())
	}
	return f, err
}

// openSound opens a file. Of a blob file Pebble must not find out itself that it is
// missing or damaged, see soundEnd.
func openSound(disk vfs.FS, name string, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := disk.Open(name, o...)
	if !strings.HasSuffix(name, ".blob") {
		return f, err
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: file %s is missing", ErrDamaged, disk.PathBase(name))
	}
	if err != nil {
		return nil, err
	}
	if err := soundEnd(f, disk.PathBase(name)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// List implements vfs.FS.
func (fs *filesystem) List(dir string) ([]string, error) {
	names, err := fs.FS.List(dir)
	if err != nil || dir != fs.dir {
		return names, err
	}
	return append(names, fs.ledger.missingBlobs(names)...), nil
}

// Stat implements vfs.FS
func (fs *filesystem) Stat(name string) (vfs.FileInfo, error) {
	if fs.frozen() {
		if info, err := fs.after.Stat(name); err == nil {
			return info, nil
		}
	}
	return fs.FS.Stat(name)
}

// OpenDir implements vfs.FS. Syncing a directory is part of making a log file.
func (fs *filesystem) OpenDir(name string) (vfs.File, error) {
	f, err := fs.FS.OpenDir(name)
	if err != nil || name != fs.dir {
		return f, err
	}
	return &file{File: f, fs: fs, vital: true}, nil
}

// file is a file or directory that is written.
type file struct {
	vfs.File
	fs    *filesystem
	vital bool
	lazy  bool  // synced only when it is closed
	sums  *sums // nil: a directory
}

// Write implements io.Writer.
func (f *file) Write(p []byte) (int, error) {
	written := 0
	err := f.fs.change(f.vital, func() error {
		var n int
		var err error
		if f.sums == nil {
			n, err = f.File.Write(p[written:])
		} else {
			n, err = f.fs.ledger.write(f.sums, f.File, p[written:])
		}
		written += n
		return err
	})
	if err != nil {
		return written, err
	}
	return len(p), nil
}

// Sync implements vfs.File.
func (f *file) Sync() error {
	if f.lazy {
		return nil
	}
	return f.sync(f.File.Sync)
}

// SyncData implements vfs.File.
func (f *file) SyncData() error {
	if f.lazy {
		return nil
	}
	return f.sync(f.File.SyncData)
}

// sync syncs all that was written.
func (f *file) sync(sync func() error) error {
	if f.sums == nil {
		return f.fs.sync(f.vital, sync)
	}
	before := f.fs.ledger.state(f.sums)
	if err := f.fs.sync(f.vital, sync); err != nil || f.fs.frozen() {
		return err
	}
	f.fs.ledger.synced(f.sums, before)
	return nil
}

// SyncTo implements vfs.File.
func (f *file) SyncTo(length int64) (full bool, err error) {
	if f.lazy {
		return false, nil
	}
	err = f.fs.sync(f.vital, func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

// Close implements io.Closer.
func (f *file) Close() error {
	if f.lazy {
		if err := f.sync(f.File.SyncData); err != nil {
			return err
		}
	}
	if f.sums != nil {
		f.fs.ledger.finished(f.sums)
	}
	return f.File.Close()
}
