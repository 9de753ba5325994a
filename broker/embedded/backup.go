// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A process that has a directory open makes its backup itself, as only it knows
// which files belong together. It is asked by a file in the directory, which who
// may write there may do; so it needs no port.
const (
	backupRequest = "BACKUP"
	backupAnswer  = "BACKUP.done"

	// backupTemporary ends the name of a backup that is not whole yet.
	backupTemporary = ".incomplete"
)

type backupAsked struct {
	ID string `json:"id"`
	To string `json:"to"` // an absolute path
}

type backupDone struct {
	ID    string `json:"id"`
	Error string `json:"error,omitempty"`
}

// Backup copies a data directory to one that does not exist yet, whether a process
// has it open or not: all that was acknowledged before Backup was called is in it,
// and results and positions fit. It opens like any other directory, there or where
// it is moved. A copy inside the directory, or around it, is refused with an error that
// matches [ErrNotApart]. The context bounds how long a process is waited for.
func Backup(ctx context.Context, dir, to string) error {
	if dir == "" {
		return fmt.Errorf("back up data directory: %w", errNoName)
	}
	if err := backup(ctx, filepath.Clean(dir), to); err != nil {
		return fmt.Errorf("back up data directory %s to %s: %w", dir, to, err)
	}
	return nil
}

func backup(ctx context.Context, dir, to string) error {
	if to == "" {
		return errNoName
	}
	to, err := filepath.Abs(to)
	if err != nil {
		return err
	}
	if err := cmp.Or(Apart(dir, to), mustNotExist(to)); err != nil {
		return err
	}
	lock, err := tryLock(dir, false)
	if errors.Is(err, errLocked) {
		return askForBackup(ctx, dir, to)
	}
	if err != nil {
		return err
	}
	return errors.Join(copyStopped(ctx, privateDisk{vfs.Default}, dir, to), lock.Close())
}

func mustNotExist(to string) error {
	if _, err := os.Stat(to); err == nil {
		return fmt.Errorf("%s is there already: name a directory that does not exist: %w", to, fs.ErrExist)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// askForBackup asks the process that has the directory.
func askForBackup(ctx context.Context, dir, to string) error {
	disk := privateDisk{vfs.Default}
	asked := backupAsked{ID: rand.Text(), To: to}
	if err := writeSealed(disk, dir, backupRequest, asked); err != nil {
		return err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		var done backupDone
		if err := readSealed(disk, dir, backupAnswer, &done); err == nil && done.ID == asked.ID {
			err := os.Remove(filepath.Join(dir, backupAnswer))
			if done.Error != "" {
				err = errors.Join(errors.New(done.Error), err)
			}
			return err
		}
		if err := mustBeLocked(dir); err != nil {
			_ = os.Remove(filepath.Join(dir, backupRequest)) // nobody reads it any more
			return fmt.Errorf("the process that has it has ended, try again: %w", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			_ = os.Remove(filepath.Join(dir, backupRequest)) // so that it is not made later
			return fmt.Errorf("the process that has it does not answer: %w", context.Cause(ctx))
		}
	}
}

// lookForBackup begins the backup that was asked for, if one was and none is made.
func (d *driver) lookForBackup() {
	var asked backupAsked
	err := readSealed(d.options.FS, d.dir, backupRequest, &asked)
	if errors.Is(err, fs.ErrNotExist) || !d.backingUp.CompareAndSwap(false, true) {
		return
	}
	err = errors.Join(err, d.options.FS.Remove(d.options.FS.PathJoin(d.dir, backupRequest)))
	d.background.Go(func() {
		defer d.backingUp.Store(false)
		d.answerBackup(asked, err)
	})
}

func (d *driver) answerBackup(asked backupAsked, err error) {
	done := backupDone{ID: asked.ID}
	if err == nil {
		err = d.backup(asked.To)
	}
	if err != nil {
		done.Error = firstLine(err)
		d.options.Logger.Error("the backup failed", "to", asked.To, "error", err)
	} else {
		d.options.Logger.Info("the data directory was backed up", "to", asked.To)
	}
	if err := writeSealed(d.options.FS, d.dir, backupAnswer, done); err != nil {
		d.options.Logger.Error("the backup's answer could not be written", "error", err)
	}
}

// backup makes a copy beside the work of others.
func (d *driver) backup(to string) error {
	if err := cmp.Or(Apart(d.dir, to), mustNotExist(to)); err != nil {
		return err
	}
	part := to + backupTemporary
	if err := mustNotExist(part); err != nil {
		return fmt.Errorf("a backup was interrupted, remove what it left: %w", err)
	}
	if err := d.db.Checkpoint(part, pebble.WithFlushedWAL()); err != nil {
		return d.described(err)
	}
	if err := d.fs.ledger.sameAs(part); err != nil {
		return errors.Join(err, os.RemoveAll(part))
	}
	return finishBackup(d.options.FS, part, to, d.id)
}

// sameAs compares the tables of a copy with what was written.
func (l *ledger) sameAs(part string) error {
	names, err := l.disk.List(part)
	if err != nil {
		return err
	}
	for _, name := range names {
		l.mu.Lock()
		s := l.files[name]
		l.mu.Unlock()
		if s == nil || grows(name) || s.unfinished {
			continue
		}
		info, err := l.disk.Stat(l.disk.PathJoin(part, name))
		if err != nil {
			return err
		}
		is, err := markOf(l.disk, part, name, info.Size())
		if err != nil {
			return err
		}
		if filepath.Ext(name) != "" && ofPebble(name) && (is.Bytes != s.written.Bytes || is.CRC != s.written.CRC) {
			return fmt.Errorf("%w: file %s is not as it was written", ErrDamaged, name)
		}
	}
	return nil
}

// finishBackup makes a copy of the log's files a data directory.
func finishBackup(disk vfs.FS, part, to string, id identity) error {
	l := ledger{disk: disk, dir: part, files: map[string]*sums{}}
	if err := l.close(); err != nil {
		return err
	}
	if err := id.write(disk, part); err != nil {
		return err
	}
	if err := os.Rename(part, to); err != nil {
		return err
	}
	return syncDir(disk, filepath.Dir(to))
}

// mustNotNeed refuses a directory that was not closed and lacks a table or blob file
// of its mark, unless it is whole without: it may be one that was deleted.
func mustNotNeed(ctx context.Context, m mark, disk vfs.FS, dir string) error {
	lacks := func(f fileMark) bool {
		_, err := disk.Stat(disk.PathJoin(dir, f.Name))
		return errors.Is(err, fs.ErrNotExist)
	}
	if m.Closed || !slices.ContainsFunc(m.Files, lacks) {
		return nil
	}
	r, err := check(ctx, dir, "")
	if err != nil || r.Whole() {
		return err
	}
	if len(r.Faults) > 0 {
		return fmt.Errorf("%w: %s: see millrace check", ErrDamaged, r.Faults[0])
	}
	return fmt.Errorf("%w: %s: see millrace check", ErrDamaged, r.Losses[0])
}

// copyStopped copies a directory that nobody has open for writing.
func copyStopped(ctx context.Context, disk vfs.FS, dir, to string) error {
	id, err := inspect(disk, dir)
	if err != nil {
		return err
	}
	if !id.Ready {
		return fmt.Errorf("there is nothing in it yet: %w", fs.ErrNotExist)
	}
	m, err := verify(disk, dir)
	if err != nil {
		return err
	}
	faults, err := m.faults(disk, dir, true)
	if err != nil {
		return err
	}
	if len(faults) > 0 {
		return fmt.Errorf("%w: %s: see millrace check", ErrDamaged, faults[0])
	}
	if err := mustNotNeed(ctx, m, disk, dir); err != nil {
		return err
	}
	part := to + backupTemporary
	if err := mustNotExist(part); err != nil {
		return fmt.Errorf("a backup was interrupted, remove what it left: %w", err)
	}
	if err := os.MkdirAll(part, 0o700); err != nil {
		return err
	}
	names, err := disk.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !ofPebble(name) && name != unsyncedFile {
			continue
		}
		if err := vfs.Copy(disk, disk.PathJoin(dir, name), disk.PathJoin(part, name)); err != nil {
			return err
		}
	}
	return finishBackup(disk, part, to, id)
}
