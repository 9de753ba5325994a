// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
)

// Durability says what an acknowledged append survives.
type Durability int

const (
	// Fsync: the death of the process and a power cut. The default.
	Fsync Durability = iota
	// OS: the death of the process. After a power cut the end of the log may be
	// missing; what is there is consistent.
	OS
)

// String is the name used in pipeline files.
func (d Durability) String() string {
	if d == OS {
		return "os"
	}
	return "fsync"
}

// ParseDurability reads "fsync" or "os".
func ParseDurability(s string) (Durability, error) {
	switch s {
	case "fsync":
		return Fsync, nil
	case "os":
		return OS, nil
	}
	return 0, fmt.Errorf("durability %q: write fsync or os", s)
}

// Options of a broker. The zero value is a good default.
type Options struct {
	Durability      Durability
	MaxRecordBytes  int           // 0: broker.DefaultMaxRecordBytes
	HandoverTimeout time.Duration // how long a member may keep a partition that is to move; 0: 10 s
	CacheBytes      int64         // for recent records in memory, of all topics; 0: 128 MiB
	Address         string        // noted for other processes, see Owner; may be set later
	Logger          *slog.Logger  // nil: slog.Default()

	FS  vfs.FS           // nil: the disk
	Now func() time.Time // nil: time.Now

	// reserve overrides how much of the disk is left free, in tests.
	reserve int64
}

func (o *Options) setDefaults() {
	if o.HandoverTimeout == 0 {
		o.HandoverTimeout = 10 * time.Second
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 128 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// driver is an open data directory.
type driver struct {
	options Options
	dir     string
	fs      *filesystem
	lock    *pebble.Lock
	db      *pebble.DB
	clock   clock
	tail    tail
	space   space
	failure failure
	note    note

	closing    chan struct{} // ends what runs in the background
	background sync.WaitGroup

	mu          sync.RWMutex
	topics      map[string]*topic
	nextTopicID uint32
	groups      map[string]*group

	joins     atomic.Int64 // to name members
	appenders sync.Pool    // of *appender
}

var _ broker.Driver = (*driver)(nil)

// Open opens the data directory, or makes it. Only one process can have it
// open: for a second one the error matches [broker.ErrInUse] and names the first.
func Open(dir string, o Options) (*broker.Broker, error) {
	d, err := openDriver(dir, o)
	if err != nil {
		return nil, err
	}
	return broker.New(d, broker.Options{MaxRecordBytes: o.MaxRecordBytes, Logger: o.Logger}), nil
}

func openDriver(dir string, o Options) (*driver, error) {
	o.setDefaults()
	d := &driver{
		options: o,
		dir:     dir,
		clock:   clock{now: o.Now},
		tail:    tail{budget: o.CacheBytes},
		closing: make(chan struct{}),
		topics:  map[string]*topic{},
		groups:  map[string]*group{},
	}
	d.failure.failed = make(chan struct{})
	d.note = note{fs: o.FS, dir: dir}
	d.fs = newFilesystem(o.FS, o.Durability, &d.failure)
	if err := d.open(); err != nil {
		return nil, fmt.Errorf("open data directory %s: %w", dir, err)
	}
	d.background.Go(d.retain)
	return d, nil
}

func (d *driver) open() (err error) {
	if err := d.fs.MkdirAll(d.dir, 0o755); err != nil {
		return err
	}
	if d.lock, err = lockDirectory(d.options.FS, d.dir); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.release())
		}
	}()
	d.space.init(d.fs, d.dir, d.options.reserve)
	if err := d.space.checkOpen(); err != nil {
		return err
	}
	if err := d.note.write(d.options.Address); err != nil {
		return fmt.Errorf("note the owner: %w", err)
	}
	if err := cutUnsyncedLog(d.options.FS, d.dir); err != nil {
		return err
	}
	if d.options.Durability == OS {
		if err := markUnsynced(d.options.FS, d.dir); err != nil {
			return err
		}
	}
	if d.db, err = d.openPebble(); err != nil {
		return err
	}
	if d.options.Durability == Fsync {
		// Pebble has moved what it found in older logs to tables by now.
		if err := unmarkUnsynced(d.options.FS, d.dir); err != nil {
			return err
		}
	}
	if err := d.checkFormat(); err != nil {
		return err
	}
	if err := d.recoverTopics(); err != nil {
		return err
	}
	if err := d.recoverGroups(); err != nil {
		return err
	}
	return d.failure.get()
}

func (d *driver) checkFormat() error {
	value, closer, err := d.db.Get([]byte{kindFormat})
	if errors.Is(err, pebble.ErrNotFound) {
		return d.db.Set([]byte{kindFormat}, []byte(formatVersion), pebble.Sync)
	}
	if err != nil {
		return err
	}
	defer closer.Close()
	if string(value) != formatVersion {
		return fmt.Errorf("it has format %q, this program reads %q: use the program that wrote it", value, formatVersion)
	}
	return nil
}

// Close implements [broker.Driver]. It waits for what runs in the background.
func (d *driver) Close() error {
	close(d.closing)
	d.background.Wait()
	for _, g := range d.groups {
		g.stop()
	}
	d.fs.giveUp()
	if err := d.release(); err != nil {
		return fmt.Errorf("close data directory %s: %w", d.dir, err)
	}
	return nil
}

// release closes what open has opened.
func (d *driver) release() error {
	var err error
	if d.db != nil {
		err = errors.Join(d.db.Close(), d.failure.get())
		if err == nil {
			err = unmarkUnsynced(d.options.FS, d.dir)
		}
	}
	return errors.Join(err, d.note.remove(), d.lock.Close())
}
