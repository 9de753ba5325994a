// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/settings"
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

	// ReadOnly changes nothing in the directory, which must exist. Several
	// processes can read it at once, but not while one writes. What would write
	// is refused with an error that matches broker.ErrRefused.
	ReadOnly bool

	FS  vfs.FS           // nil: the disk
	Now func() time.Time // nil: time.Now

	onDisk bool // FS was nil

	// reserve overrides how much of the disk is left free, in tests, and age how
	// old a blob file must be before what is left of it is moved.
	reserve int64
	age     time.Duration
}

// check refuses options that mean nothing.
func (o *Options) check() error {
	if o.Durability != Fsync && o.Durability != OS {
		return fmt.Errorf("option Durability is %d: use Fsync or OS", int(o.Durability))
	}
	return settings.NotNegative(
		settings.Option{Name: "MaxRecordBytes", Value: int64(o.MaxRecordBytes)},
		settings.Option{Name: "HandoverTimeout", Value: int64(o.HandoverTimeout)},
		settings.Option{Name: "CacheBytes", Value: o.CacheBytes},
	)
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
		o.FS = privateDisk{vfs.Default}
		o.onDisk = true
	}
	if o.age == 0 {
		o.age = rewriteAge
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
	locks   locks
	id      identity
	db      *pebble.DB
	clock   clock
	tail    tail
	space   space
	failure failure
	damage  damage
	lines   lines
	note    note
	lenient bool // what is whole is wanted, though tables are missing

	closing    chan struct{} // ends what runs in the background
	background sync.WaitGroup

	mu          sync.RWMutex
	topics      map[string]*topic
	nextTopicID uint32
	groups      map[string]*group

	joins     atomic.Int64 // to name members
	backingUp atomic.Bool
	written   atomic.Uint64 // bytes in the log when retention looked last
	appenders sync.Pool     // of *appender
}

var _ broker.Driver = (*driver)(nil)

// Open opens the data directory, or makes it. Only one process can have it open
// for writing: for a second one the error matches [broker.ErrInUse] and names the
// first. A directory that is neither whole, nor empty, nor Millrace's is refused,
// and nothing in it is changed, and so are an empty name and options that are negative.
func Open(dir string, o Options) (*broker.Broker, error) {
	d, err := openDriver(dir, o)
	if err != nil {
		return nil, err
	}
	return broker.New(d, broker.Options{MaxRecordBytes: o.MaxRecordBytes, Logger: o.Logger}), nil
}

func openDriver(dir string, o Options) (*driver, error) {
	if dir == "" {
		return nil, fmt.Errorf("open data directory: %w", errNoName)
	}
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("open data directory %s: %w", dir, err)
	}
	o.setDefaults()
	d := newDriver(dir, o)
	if err := d.open(); err != nil {
		return nil, fmt.Errorf("open data directory %s: %w", dir, withRescue(err))
	}
	if !o.ReadOnly {
		d.background.Go(d.retain)
		d.background.Go(d.watch)
	}
	return d, nil
}

// newDriver makes the driver of a directory that it does not touch yet.
func newDriver(dir string, o Options) *driver {
	dir = o.FS.PathJoin(dir)
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
	d.damage.log, d.lines.to = o.Logger, o.Logger
	d.note = note{fs: o.FS, dir: dir}
	d.fs = newFilesystem(o, dir, &d.failure)
	d.fs.damaged = d.damage.found
	return d
}

func (d *driver) open() (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, d.release(false))
		}
	}()
	if d.options.ReadOnly {
		err = d.openToRead()
	} else {
		err = d.openToWrite()
	}
	if err != nil {
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

func (d *driver) openToRead() (err error) {
	if d.options.onDisk {
		if d.locks.dir, err = lockPlace(d.dir, false); err != nil {
			return err
		}
	}
	if d.id, err = inspect(d.options.FS, d.dir); err != nil {
		return err
	}
	if !d.id.Ready {
		return fmt.Errorf("there is nothing in it yet: %w", fs.ErrNotExist)
	}
	m, err := verify(d.options.FS, d.dir)
	if err != nil {
		return err
	}
	return d.openReadOnly(m)
}

func (d *driver) openReadOnly(m mark) (err error) {
	d.space.init(d.fs, d.dir, d.options.reserve)
	disk := d.readOnly(m)
	if name, sound, err := unsyncedEnd(disk, d.dir); err != nil {
		return err
	} else if name != "" {
		disk.ends[name] = sound
	}
	if d.db, err = d.openPebble(disk); err != nil {
		return err
	}
	return d.checkFormat()
}

func (d *driver) openToWrite() (err error) {
	// Look before anything is made: the folder may be somebody else's.
	if _, err = inspect(d.options.FS, d.dir); err != nil {
		return forNew(err)
	}
	if err := d.fs.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	if d.options.onDisk {
		if d.locks.dir, err = lockPlace(d.dir, true); err != nil {
			return err
		}
	}
	d.space.init(d.fs, d.dir, d.options.reserve)
	if err := d.space.checkOpen(); err != nil {
		return err
	}
	if d.id, err = inspect(d.options.FS, d.dir); err != nil {
		return err
	}
	if d.id.ID == "" {
		if err := d.begin(); err != nil {
			return err
		}
	}
	if d.locks.pebble, err = lockPebble(d.options.FS, d.dir); err != nil {
		return err
	}
	if err := d.note.write(d.options.Address); err != nil {
		return fmt.Errorf("note the owner: %w", err)
	}
	if !d.id.Ready {
		if err := d.make(); err != nil {
			return err
		}
	}
	return d.openLog()
}

// begin makes an empty directory Millrace's.
func (d *driver) begin() error {
	if d.options.onDisk {
		if err := os.Chmod(d.dir, 0o700); err != nil {
			return err
		}
	}
	d.id = newIdentity()
	return d.id.write(d.options.FS, d.dir)
}

// make makes the log. Pebble is closed once before it is used, because only then
// its logs say how far they were synced from the first byte on.
func (d *driver) make() (err error) {
	if d.db, err = d.openPebble(d.fs); err != nil {
		return err
	}
	err = d.db.Set([]byte{kindFormat}, []byte(d.formatValue()), pebble.Sync)
	err = errors.Join(err, d.flush(), d.db.Close())
	d.db = nil
	if err := errors.Join(err, d.failure.get()); err != nil {
		return err
	}
	if err := d.fs.ledger.close(); err != nil {
		return fmt.Errorf("write %s: %w", markFile, err)
	}
	d.id.Ready = true
	return d.id.write(d.options.FS, d.dir)
}

// openLog opens the log of a directory that is whole.
func (d *driver) openLog() (err error) {
	m, err := verify(d.options.FS, d.dir)
	if err != nil {
		return err
	}
	if err := d.probe(m); err != nil {
		return err
	}
	if err := cutUnsyncedLog(d.options.FS, d.dir, d.options.Logger); err != nil {
		return err
	}
	if d.options.Durability == OS {
		if err := markUnsynced(d.options.FS, d.dir); err != nil {
			return err
		}
	}
	if err := d.fs.ledger.begin(m); err != nil {
		return fmt.Errorf("write %s: %w", markFile, err)
	}
	if d.db, err = d.openPebble(d.fs); err != nil {
		return err
	}
	if d.options.Durability == Fsync {
		// Pebble has moved what it found in older logs to tables by now.
		if err := unmarkUnsynced(d.options.FS, d.dir); err != nil {
			return err
		}
	}
	return d.checkFormat()
}

// probeBytes is how much of the tables is read before they are opened: keys, of
// many gigabytes of values.
const probeBytes = 256 << 20

// probe looks for damaged tables. What can be used without them is opened; if that
// is nothing, the directory is refused before Pebble tidies up in it.
func (d *driver) probe(m mark) error {
	faults, err := m.tableFaults(d.options.FS, d.dir, probeBytes)
	if err != nil || len(faults) == 0 {
		return err
	}
	o := d.options
	o.ReadOnly = true
	reader := newDriver(d.dir, o)
	reader.id = d.id
	err = reader.read(m)
	if closing := reader.release(false); err == nil {
		err = closing
	}
	if err != nil {
		return fmt.Errorf("%w; nothing was changed", err)
	}
	for _, f := range faults {
		d.damage.found(f.File, f.What)
	}
	return nil
}

// read opens the log for reading and finds out what is in it.
func (d *driver) read(m mark) error {
	if err := d.openReadOnly(m); err != nil {
		return err
	}
	if err := d.recoverTopics(); err != nil {
		return err
	}
	return d.recoverGroups()
}

// formatValue is what the log says of itself: it belongs to this directory.
func (d *driver) formatValue() string { return fmt.Sprintf("%d %s", d.id.Format, d.id.ID) }

func (d *driver) checkFormat() error {
	value, closer, err := d.db.Get([]byte{kindFormat})
	err = d.described(err)
	if errors.Is(err, pebble.ErrNotFound) {
		return fmt.Errorf("%w: the log does not say what it is", ErrDamaged)
	}
	if err != nil {
		return err
	}
	defer closer.Close()
	if string(value) != d.formatValue() {
		return fmt.Errorf("%w: file %s is of another directory than the log, which says %q: %s", ErrDamaged, identityFile, value, rescue)
	}
	return nil
}

// Closing ends the waits for room, of which no context knows: what waited fails.
func (d *driver) Closing() { d.fs.giveUp() }

// Close implements [broker.Driver]. It waits for what runs in the background.
func (d *driver) Close() error {
	close(d.closing)
	for _, g := range d.groups {
		g.stop()
	}
	if !d.options.ReadOnly && d.failure.get() == nil && d.fs.room.check() == nil {
		// Reading a directory that is closed is quick: all is in tables.
		if err := d.flush(); err != nil {
			d.options.Logger.Warn("the log was closed with records that are in no table yet; they are read when it is opened", "error", err)
		}
	}
	d.fs.giveUp()
	d.background.Wait()
	if err := d.release(true); err != nil {
		return fmt.Errorf("close data directory %s: %w", d.dir, err)
	}
	return nil
}

// release closes what open has opened. With whole the log is closed as it should
// be.
func (d *driver) release(whole bool) error {
	var err error
	if d.db != nil {
		err = errors.Join(d.db.Close(), d.failure.get())
		if err == nil && whole && !d.options.ReadOnly {
			err = d.closed()
		}
	}
	if d.locks.pebble != nil {
		err = errors.Join(err, d.note.remove())
	}
	return errors.Join(err, d.locks.Close())
}

// closed notes that the log was closed as it should be.
func (d *driver) closed() error {
	if err := d.fs.ledger.close(); err != nil {
		return fmt.Errorf("write %s: %w", markFile, err)
	}
	return unmarkUnsynced(d.options.FS, d.dir)
}
