// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// readOnlyDisk is what a directory is read through that must not be changed,
// whatever Pebble would like to tidy up in it.
type readOnlyDisk struct {
	vfs.FS
	dir     string
	ends    map[string]int64 // logs that end before their files do, by path
	mark    mark             // what should be there
	damaged func(file, what string)
}

// readOnly is the disk that the directory is read through.
func (d *driver) readOnly(m mark) readOnlyDisk {
	return readOnlyDisk{FS: d.options.FS, dir: d.dir, ends: map[string]int64{}, mark: m, damaged: d.damage.found}
}

func refuse(op, name string) error {
	return &fs.PathError{Op: op, Path: name, Err: fs.ErrPermission}
}

type noLock struct{}

// Close implements io.Closer.
func (noLock) Close() error { return nil }

// Lock implements vfs.FS. The directory itself is locked, see lockPlace.
func (d readOnlyDisk) Lock(string) (io.Closer, error) { return noLock{}, nil }

// Unwrap implements vfs.FS.
func (d readOnlyDisk) Unwrap() vfs.FS { return d.FS }

// Create implements vfs.FS.
func (d readOnlyDisk) Create(name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, refuse("create", name)
}

// Link implements vfs.FS.
func (d readOnlyDisk) Link(_, name string) error { return refuse("link", name) }

// OpenReadWrite implements vfs.FS.
func (d readOnlyDisk) OpenReadWrite(name string, _ vfs.DiskWriteCategory, _ ...vfs.OpenOption) (vfs.File, error) {
	return nil, refuse("open", name)
}

// Remove implements vfs.FS.
func (d readOnlyDisk) Remove(name string) error { return refuse("remove", name) }

// RemoveAll implements vfs.FS.
func (d readOnlyDisk) RemoveAll(name string) error { return refuse("remove", name) }

// Rename implements vfs.FS.
func (d readOnlyDisk) Rename(name, _ string) error { return refuse("rename", name) }

// ReuseForWrite implements vfs.FS.
func (d readOnlyDisk) ReuseForWrite(name, _ string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, refuse("rename", name)
}

// MkdirAll implements vfs.FS.
func (d readOnlyDisk) MkdirAll(name string, _ os.FileMode) error { return refuse("make", name) }

// List implements vfs.FS.
func (d readOnlyDisk) List(dir string) ([]string, error) {
	names, err := d.FS.List(dir)
	if err != nil || dir != d.dir {
		return names, err
	}
	return append(names, d.mark.missingBlobs(names)...), nil
}

// Open implements vfs.FS.
func (d readOnlyDisk) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := openSound(d.FS, name, o...)
	if errors.Is(err, ErrDamaged) {
		d.damaged(d.PathBase(name), err.Error())
	}
	if end, cut := d.ends[name]; cut && err == nil {
		return &shortFile{File: f, left: end}, nil
	}
	return f, err
}

// shortFile is a file that ends early, for who reads it from its start.
type shortFile struct {
	vfs.File
	left int64
}

// Read implements io.Reader.
func (f *shortFile) Read(p []byte) (int, error) {
	if f.left <= 0 {
		return 0, io.EOF
	}
	n, err := f.File.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	return n, err
}

// ReadAt implements io.ReaderAt.
func (f *shortFile) ReadAt([]byte, int64) (int, error) { return 0, errors.ErrUnsupported }
