// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/millrace-ml/millrace/broker"
)

func TestMain(m *testing.M) {
	if runChild() {
		return
	}
	goleak.VerifyTestMain(m)
}

// quiet is for tests in which the log fails on purpose.
var quiet = slog.New(slog.DiscardHandler)

// testDisk is a disk in memory whose power can be cut and which can be full.
type testDisk struct {
	*vfs.MemFS
	room  atomic.Int64 // bytes that are free
	total uint64

	power sync.RWMutex // held for writing to cut the power
	dead  bool
	until atomic.Int64 // changes until the power goes; 0: it stays

	creating, syncing atomic.Pointer[error] // what making or syncing a file fails with
	syncs             atomic.Int64          // since syncing was set
}

func newTestDisk() *testDisk { return diskOn(vfs.NewCrashableMem()) }

func diskOn(mem *vfs.MemFS) *testDisk {
	d := &testDisk{MemFS: mem, total: 1 << 40}
	d.room.Store(1 << 40)
	return d
}

// cut ends the disk and returns what a power cut leaves of it: all that was
// synced, and of the rest every block with the given probability.
func (d *testDisk) cut(unsyncedPercent int, rng *rand.Rand) *testDisk {
	d.power.Lock()
	defer d.power.Unlock()
	d.dead = true
	return diskOn(d.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsyncedPercent, RNG: rng}))
}

// do runs an operation that changes the disk, if there is power.
func (d *testDisk) do(f func() error) error {
	d.power.RLock()
	defer d.power.RUnlock()
	if d.dead || d.until.Load() < 0 || d.until.Load() > 0 && d.until.Add(-1) == 0 {
		d.until.CompareAndSwap(0, -1)
		return syscall.EIO
	}
	return f()
}

func (d *testDisk) Unwrap() vfs.FS { return d.MemFS }

func (d *testDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	free := uint64(max(0, d.room.Load()))
	return vfs.DiskUsage{AvailBytes: free, TotalBytes: d.total, UsedBytes: d.total - free}, nil
}

func (d *testDisk) Create(name string, c vfs.DiskWriteCategory) (f vfs.File, err error) {
	err = d.do(func() error {
		if failure := d.creating.Load(); failure != nil {
			return *failure
		}
		d.free(name)
		f, err = d.MemFS.Create(name, c)
		return err
	})
	return &testFile{f, d}, err
}

func (d *testDisk) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (f vfs.File, err error) {
	err = d.do(func() error {
		f, err = d.MemFS.ReuseForWrite(old, name, c)
		return err
	})
	return &testFile{f, d}, err
}

func (d *testDisk) Rename(old, name string) error {
	return d.do(func() error { return d.MemFS.Rename(old, name) })
}

func (d *testDisk) Remove(name string) error {
	return d.do(func() error {
		d.free(name)
		return d.MemFS.Remove(name)
	})
}

func (d *testDisk) free(name string) {
	if info, err := d.Stat(name); err == nil {
		d.room.Add(info.Size())
	}
}

type testFile struct {
	vfs.File
	disk *testDisk
}

func (f *testFile) Write(p []byte) (n int, err error) {
	err = f.disk.do(func() error {
		fits := len(p)
		if left := f.disk.room.Add(-int64(len(p))); left < 0 {
			fits = int(max(0, int64(len(p))+left))
			f.disk.room.Add(int64(len(p) - fits))
		}
		// With the race detector Pebble's file system in memory overwrites what it was
		// given, to find who keeps it.
		if n, err = f.File.Write(bytes.Clone(p[:fits])); err == nil && n < len(p) {
			err = syscall.ENOSPC
		}
		return err
	})
	return n, err
}

func (f *testFile) Sync() error     { return f.disk.sync(f.File.Sync) }
func (f *testFile) SyncData() error { return f.disk.sync(f.File.SyncData) }

// sync fails once with what syncing says, as kernels do, and then succeeds.
func (d *testDisk) sync(f func() error) error {
	if failure := d.syncing.Load(); failure != nil && d.syncs.Add(1) == 1 {
		return *failure
	}
	return d.do(f)
}

func (f *testFile) SyncTo(n int64) (full bool, err error) {
	err = f.disk.do(func() error { full, err = f.File.SyncTo(n); return err })
	return full, err
}

// open opens a broker on the disk for the time of the test.
func (d *testDisk) open(t testing.TB, o Options) *broker.Broker {
	t.Helper()
	o.FS = d
	if o.Logger == nil {
		o.Logger = quiet
	}
	b, err := Open("data", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func driverOf(b *broker.Broker) *driver { return b.Driver().(*driver) }

// testClock is a clock that a test sets, while the broker's own goroutines look at it.
type testClock struct{ nanos atomic.Int64 }

func newTestClock() *testClock {
	c := &testClock{}
	c.nanos.Store(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *testClock) time() time.Time { return time.Unix(0, c.nanos.Load()).UTC() }

func (c *testClock) add(d time.Duration) { c.nanos.Add(int64(d)) }
