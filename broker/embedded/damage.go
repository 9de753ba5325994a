// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage"
	"github.com/cockroachdb/pebble/v2/sstable/blob"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// damage is what was found while the directory is open. What touches a damaged
// part fails with the file's name, and all else goes on.
type damage struct {
	log *slog.Logger

	mu     sync.Mutex
	faults []Fault // one a file
}

func (d *damage) found(file, what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if slices.ContainsFunc(d.faults, func(f Fault) bool { return f.File == file }) {
		return
	}
	what = strings.TrimLeft(strings.TrimPrefix(what, ErrDamaged.Error()+": file "+file), ": ")
	d.faults = append(d.faults, Fault{file, what})
	d.log.Error("a file of the data directory is damaged: what is in the damaged part cannot be read",
		"file", file, "damage", what, "do", "stop, and run millrace check on the directory")
}

// all is what was found.
func (d *damage) all() []Fault {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.faults)
}

// listener takes over what Pebble tells of its background work.
func (d *driver) listener() *pebble.EventListener {
	return &pebble.EventListener{
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			d.damage.found(filepath.Base(info.Path), firstLine(info.Details))
		},
		BackgroundError: func(err error) {
			if d.failure.get() == nil {
				d.lines.log(slog.LevelError, "work on the log's files failed and is tried again", "error", firstLine(d.described(err)))
			}
		},
	}
}

// numbered finds the file that an error of Pebble is about.
var numbered = regexp.MustCompile(`(?:file|table|wal|log) (\d{6,})`)

// described makes one line with the file's name of an error about damage.
func (d *driver) described(err error) error {
	if err == nil || errors.Is(err, ErrDamaged) || !pebble.IsCorruptionError(err) {
		return err
	}
	file := ""
	if info := pebble.ExtractDataCorruptionInfo(err); info != nil {
		file = filepath.Base(info.Path)
	} else if found := numbered.FindStringSubmatch(err.Error()); found != nil {
		for _, end := range []string{".blob", ".sst", ".log"} {
			if _, err := d.options.FS.Stat(d.options.FS.PathJoin(d.dir, found[1]+end)); err == nil {
				file = found[1] + end
				break
			}
		}
	}
	what := firstLine(err)
	if file == "" {
		return fmt.Errorf("%w: %s", ErrDamaged, what)
	}
	d.damage.found(file, what)
	return fmt.Errorf("%w: file %s: %s", ErrDamaged, file, what)
}

// firstLine is an error without the stacks that Pebble's carry.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return strings.TrimPrefix(line, "pebble: ")
}

// soundEnd refuses a blob file whose end is damaged. Pebble 2.1.7 panics when it
// finds that itself, also in a goroutine of its own: it reports the damage with
// metadata that it does not have (fileCacheHandle.findOrCreateBlob). It does the
// same when the file is missing.
func soundEnd(f vfs.File, name string) (err error) {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: file %s: its end cannot be read: %v", ErrDamaged, name, p)
		}
	}()
	r, err := blob.NewFileReader(context.Background(), readable{f, info.Size()}, blob.FileReaderOptions{})
	if err != nil {
		return fmt.Errorf("%w: file %s: %s", ErrDamaged, name, firstLine(err))
	}
	return r.Close()
}

// readable is a file as Pebble reads it. Closing it does nothing.
type readable struct {
	f    vfs.File
	size int64
}

// ReadAt implements objstorage.Readable.
func (r readable) ReadAt(_ context.Context, p []byte, at int64) error {
	n, err := r.f.ReadAt(p, at)
	if n == len(p) {
		return nil
	}
	return err
}

// Close implements objstorage.Readable.
func (r readable) Close() error { return nil }

// Size implements objstorage.Readable.
func (r readable) Size() int64 { return r.size }

// NewReadHandle implements objstorage.Readable.
func (r readable) NewReadHandle(objstorage.ReadBeforeSize) objstorage.ReadHandle {
	h := objstorage.MakeNoopReadHandle(r)
	return &h
}
