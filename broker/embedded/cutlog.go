// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// unsyncedFile is there while a directory is open with OS durability, and after
// a crash of it.
const unsyncedFile = "UNSYNCED"

// Pebble notes in its log how much of it was synced, and takes a hole before
// that place for damage. With OS durability nothing was, so after a power cut a
// hole is what is to be expected: the log ends there. The file above says that
// this is so, and the log is cut at the hole before Pebble reads it.

// markUnsynced makes the mark durable, before anything is written unsynced.
func markUnsynced(fsys vfs.FS, dir string) error {
	f, err := fsys.Create(fsys.PathJoin(dir, unsyncedFile), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return syncDir(fsys, dir)
}

// unmarkUnsynced is called when all is synced.
func unmarkUnsynced(fsys vfs.FS, dir string) error {
	err := fsys.Remove(fsys.PathJoin(dir, unsyncedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func syncDir(fsys vfs.FS, dir string) error {
	d, err := fsys.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// unsyncedEnd finds where the last log of a marked directory is torn. The name is
// empty when it is not.
func unsyncedEnd(fsys vfs.FS, dir string) (name string, sound int64, err error) {
	if _, err := fsys.Stat(fsys.PathJoin(dir, unsyncedFile)); errors.Is(err, fs.ErrNotExist) {
		return "", 0, nil
	} else if err != nil {
		return "", 0, err
	}
	name, number, err := lastLog(fsys, dir)
	if err != nil || name == "" {
		return "", 0, err
	}
	sound, whole, err := soundLength(fsys, name, number)
	if err != nil || whole {
		return "", 0, err
	}
	return name, sound, nil
}

// cutUnsyncedLog cuts the last log of a marked directory where it is torn.
func cutUnsyncedLog(fsys vfs.FS, dir string, log *slog.Logger) error {
	name, sound, err := unsyncedEnd(fsys, dir)
	if err != nil || name == "" {
		return err
	}
	info, err := fsys.Stat(name)
	if err != nil {
		return err
	}
	if err := cutFile(fsys, name, sound); err != nil {
		return fmt.Errorf("cut %s after %d bytes: %w", name, sound, err)
	}
	log.Warn("the log was open with durability os and not closed: its end is torn and was cut off",
		"file", name, "bytes", sound, "cut", info.Size()-sound)
	return syncDir(fsys, dir)
}

// logNumber is the number of a log file, by its name.
func logNumber(file string) (uint64, bool) {
	digits, ok := strings.CutSuffix(file, ".log")
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, ok && err == nil
}

// lastLog finds Pebble's newest log by its number.
func lastLog(fsys vfs.FS, dir string) (name string, number uint64, err error) {
	list, err := fsys.List(dir)
	if err != nil {
		return "", 0, err
	}
	for _, file := range list {
		if n, ok := logNumber(file); ok && (name == "" || n > number) {
			name, number = fsys.PathJoin(dir, file), n
		}
	}
	return name, number, nil
}

// soundLength is how many bytes of the log are whole records. Whole says that
// nothing but a regular end follows them.
func soundLength(fsys vfs.FS, name string, number uint64) (sound int64, whole bool, err error) {
	f, err := fsys.Open(name)
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	r := newLogReader(record.NewReader, f, number)
	for {
		sound = r.Offset()
		next, err := r.Next()
		if err == nil {
			_, err = io.Copy(io.Discard, next)
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return sound, true, nil
		case record.IsInvalidRecord(err):
			return sound, false, nil
		default:
			return 0, false, err
		}
	}
}

// newLogReader calls record.NewReader, whose second parameter has a type that
// cannot be named outside of Pebble.
func newLogReader[N ~uint64](create func(io.Reader, N) *record.Reader, r io.Reader, number uint64) *record.Reader {
	return create(r, N(number))
}

// cutFile replaces the file by its first n bytes.
func cutFile(fsys vfs.FS, name string, n int64) error {
	in, err := fsys.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	temporary := name + ".tmp"
	out, err := fsys.Create(temporary, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.LimitReader(in, n))
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return err
	}
	return fsys.Rename(temporary, name)
}
