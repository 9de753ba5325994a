// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble takes a write-ahead log that ends early for one that a crash has cut, and
// a missing one for one that it does not need. So the directory has a mark beside
// the log: which files there are, how much of them is durable, and its checksum.
//
// While the log is open the mark is renewed once a second and whenever a log file
// or manifest comes or goes: what is missing or not the same up to the mark was
// damaged. When it is closed the mark is of all files and exact.
const markFile = "MARK"

// markEvery is how often the mark is renewed: a cut of the newest log file, which
// looks like one by a crash, is found up to the last one.
const markEvery = time.Second

// mark is what markFile holds.
type mark struct {
	Closed bool       `json:"closed"`
	Files  []fileMark `json:"files"` // by name
}

// fileMark is of the first bytes of a file.
type fileMark struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
	CRC   uint32 `json:"crc32c"`
	Size  int64  `json:"size,omitempty"` // of a closed file that is longer: a log file that was used again
}

// sums are of a file that is written.
type sums struct {
	written, durable fileMark
	unfinished       bool // it is being written
}

// ledger knows the files of the log. Its mark is saved when it is on.
type ledger struct {
	disk vfs.FS
	dir  string

	mu      sync.Mutex
	on      bool
	changed bool // since the mark was saved
	files   map[string]*sums
	former  mark // what it has begun with

	saving sync.Mutex
}

// ofPebble reports whether a file is one of Pebble's, by its name.
func ofPebble(name string) bool {
	for _, end := range []string{".log", ".sst", ".blob"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return strings.HasPrefix(name, "MANIFEST-") || strings.HasPrefix(name, "OPTIONS-") || strings.HasPrefix(name, "marker.")
}

// grows reports whether a file is appended to as the log goes on. What it lacks is
// missing without another file that says so.
func grows(name string) bool { return isLog(name) || strings.HasPrefix(name, "MANIFEST-") }

// missingBlobs are the blob files that a directory should have by its mark and that are
// not among its names. They are listed as if they were there: Pebble panics when it
// needs one that it has not seen, and gets a clear error when it opens one that it
// has. One that it does not need it forgets.
func (m mark) missingBlobs(names []string) (missing []string) {
	for _, f := range m.Files {
		if strings.HasSuffix(f.Name, ".blob") && !slices.Contains(names, f.Name) {
			missing = append(missing, f.Name)
		}
	}
	return missing
}

// missingBlobs are those of the mark that the ledger has begun with.
func (l *ledger) missingBlobs(names []string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.former.missingBlobs(names)
}

// begun is called when a file was made. Sums are nil when it is not Pebble's.
func (l *ledger) begun(name string) *sums {
	s := &sums{written: fileMark{Name: name}, durable: fileMark{Name: name}, unfinished: true}
	l.mu.Lock()
	l.files[name] = s
	l.changed = true
	l.mu.Unlock()
	return s
}

// write writes to a file, and counts what it has written. The sum is made before: a
// file system may change what it was given, as Pebble's in memory does in tests with
// the race detector. (One that has written a part only is a real one, and does not.)
// A file has one writer.
func (l *ledger) write(s *sums, f vfs.File, p []byte) (int, error) {
	before := l.state(s).CRC
	crc := crc32.Update(before, castagnoli, p)
	n, err := f.Write(p)
	if n < len(p) {
		crc = crc32.Update(before, castagnoli, p[:n])
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.written.CRC = crc
	s.written.Bytes += int64(n)
	return n, err
}

// synced is called after a sync that began when s was as before.
func (l *ledger) synced(s *sums, before fileMark) {
	l.mu.Lock()
	if s.durable.Bytes < before.Bytes {
		s.durable.Bytes, s.durable.CRC = before.Bytes, before.CRC
		l.changed = true
	}
	l.mu.Unlock()
}

func (l *ledger) state(s *sums) fileMark {
	l.mu.Lock()
	defer l.mu.Unlock()
	return s.written
}

func (l *ledger) finished(s *sums) {
	l.mu.Lock()
	s.unfinished = false
	l.mu.Unlock()
}

// lastLog is how many bytes were written to the newest log file.
func (l *ledger) lastLog() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	newest, bytes := uint64(0), int64(0)
	for name, s := range l.files {
		if n, ok := logNumber(name); ok && n >= newest {
			newest, bytes = n, s.written.Bytes
		}
	}
	return bytes
}

func (l *ledger) renamed(old, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.files[old]; s != nil {
		delete(l.files, old)
		s.written.Name, s.durable.Name = name, name
		l.files[name] = s
	}
}

func (l *ledger) forget(name string) {
	l.mu.Lock()
	delete(l.files, name)
	l.changed = true
	l.mu.Unlock()
}

// renew saves the mark if something has changed. Its caller need not know that it
// is durable.
func (l *ledger) renew() error {
	l.mu.Lock()
	changed := l.changed
	l.mu.Unlock()
	if !changed {
		return nil
	}
	return l.save(false)
}

// save saves the mark of a log that is open.
func (l *ledger) save(durable bool) error {
	l.saving.Lock()
	defer l.saving.Unlock()
	l.mu.Lock()
	if !l.on {
		l.mu.Unlock()
		return nil
	}
	l.changed = false
	var m mark
	for name, s := range l.files {
		if ofPebble(name) && (grows(name) || !s.unfinished) {
			m.Files = append(m.Files, s.durable)
		}
	}
	l.mu.Unlock()
	return m.write(l.disk, l.dir, durable)
}

func (m mark) write(disk vfs.FS, dir string, durable bool) error {
	slices.SortFunc(m.Files, func(x, y fileMark) int { return cmp.Compare(x.Name, y.Name) })
	if durable {
		return writeSealed(disk, dir, markFile, m)
	}
	data, err := seal(m)
	if err != nil {
		return err
	}
	return replaceFile(disk, dir, markFile, data)
}

// close saves the exact mark of a log that was closed as it should be.
func (l *ledger) close() error {
	l.saving.Lock()
	defer l.saving.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.on = false
	names, err := l.disk.List(l.dir)
	if err != nil {
		return err
	}
	m := mark{Closed: true}
	for _, name := range names {
		if !ofPebble(name) {
			continue
		}
		info, err := l.disk.Stat(l.disk.PathJoin(l.dir, name))
		if err != nil {
			return err
		}
		var f fileMark
		if s := l.files[name]; s != nil && s.written.Bytes >= s.durable.Bytes {
			f = s.written
		} else if f, err = markOf(l.disk, l.dir, name, info.Size()); err != nil {
			return err
		}
		f.Size = info.Size()
		m.Files = append(m.Files, f)
	}
	return m.write(l.disk, l.dir, true)
}

// markOf is of the first n bytes of a file.
func markOf(disk vfs.FS, dir, name string, n int64) (fileMark, error) {
	f, err := disk.Open(disk.PathJoin(dir, name), vfs.SequentialReadsOption)
	if err != nil {
		return fileMark{}, err
	}
	sum := crc32.New(castagnoli)
	read, err := io.CopyBuffer(sum, io.LimitReader(f, n), make([]byte, 256<<10))
	return fileMark{Name: name, Bytes: read, CRC: sum.Sum32()}, errors.Join(err, f.Close())
}

// begin takes over what a mark says of files that are there.
func (l *ledger) begin(m mark) error {
	l.mu.Lock()
	l.on, l.former = true, m
	for _, f := range m.Files {
		if _, err := l.disk.Stat(l.disk.PathJoin(l.dir, f.Name)); err == nil && (m.Closed || !grows(f.Name)) {
			l.files[f.Name] = &sums{written: f, durable: f}
		} else if err == nil {
			// It may have grown since; Pebble reads it and then has no use for it.
			l.files[f.Name] = &sums{durable: f}
		}
	}
	l.mu.Unlock()
	return l.save(true)
}

// Fault is what is wrong with a file of a data directory.
type Fault struct {
	File string `json:"file"`
	What string `json:"what"`
}

func (f Fault) String() string { return fmt.Sprintf("file %s %s", f.File, f.What) }

// faults compares a directory with its mark. With all it reads every file,
// otherwise those that Pebble would not notice; the others have checksums that
// are verified as they are read.
func (m mark) faults(disk vfs.FS, dir string, all bool) (faults []Fault, err error) {
	known := map[string]bool{}
	for _, f := range m.Files {
		known[f.Name] = true
		what, err := m.fault(disk, dir, f, all)
		if err != nil {
			return nil, err
		}
		if what != "" {
			faults = append(faults, Fault{f.Name, what})
		}
	}
	if !m.Closed {
		return faults, nil
	}
	names, err := disk.List(dir)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, name := range names {
		if ofPebble(name) && !known[name] {
			faults = append(faults, Fault{name, "was not there when the directory was closed: move it elsewhere"})
		}
	}
	return faults, nil
}

// tableFaults compares tables with the mark, the first so many bytes of them.
func (m mark) tableFaults(disk vfs.FS, dir string, most int64) (faults []Fault, err error) {
	for _, f := range m.Files {
		if !strings.HasSuffix(f.Name, ".sst") || f.Bytes > most {
			continue
		}
		most -= f.Bytes
		what, err := m.fault(disk, dir, f, true)
		if err != nil {
			return nil, err
		}
		if what != "" {
			faults = append(faults, Fault{f.Name, what})
		}
	}
	return faults, nil
}

// fault is what is wrong with a file, or empty.
func (m mark) fault(disk vfs.FS, dir string, f fileMark, all bool) (string, error) {
	info, err := disk.Stat(disk.PathJoin(dir, f.Name))
	if errors.Is(err, fs.ErrNotExist) {
		if m.Closed || grows(f.Name) {
			return "is missing", nil
		}
		return "", nil // it was not needed any more, or Pebble misses it
	}
	if err != nil {
		return "", err
	}
	want := cmp.Or(f.Size, f.Bytes)
	if exact := m.Closed || !grows(f.Name); info.Size() < f.Bytes || exact && info.Size() != want {
		return fmt.Sprintf("has %d bytes and should have %d", info.Size(), want), nil
	}
	if table := strings.HasSuffix(f.Name, ".sst") || strings.HasSuffix(f.Name, ".blob"); table && !all {
		return "", nil
	}
	is, err := markOf(disk, dir, f.Name, f.Bytes)
	if err != nil {
		return "", err
	}
	if is.CRC != f.CRC {
		return fmt.Sprintf("is not as it was written: a byte of its first %d has changed", f.Bytes), nil
	}
	return "", nil
}

// verify reads the mark and refuses a directory that is not as it says.
func verify(disk vfs.FS, dir string) (mark, error) {
	var m mark
	if err := readSealed(disk, dir, markFile, &m); err != nil {
		return m, fmt.Errorf("%w; nothing was changed", err)
	}
	faults, err := m.faults(disk, dir, false)
	if err != nil {
		return m, err
	}
	if !m.Closed && len(faults) == 0 {
		if faults, err = tailFaults(disk, dir); err != nil {
			return m, err
		}
	}
	if len(faults) == 0 {
		return m, nil
	}
	more := ""
	if n := len(faults) - 1; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return m, fmt.Errorf("%w: %s%s; nothing was changed", ErrDamaged, faults[0], more)
}
