// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
)

// ownerFile tells other processes whom to ask. It is a note that may be stale, or
// have come with a copy: the lock of the directory decides who owns it, and the
// note is believed only while somebody has the lock and it is about this place.
const ownerFile = "OWNER"

type owner struct {
	PID     int    `json:"pid"`
	Address string `json:"address,omitempty"`
	Place   place  `json:"place"`
}

// Owner tells which process has the data directory open for writing, and the
// address that it noted with [SetAddress], if any. When no process has it open the
// error matches [fs.ErrNotExist].
func Owner(dir string) (pid int, address string, err error) {
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if err := mustBeLocked(dir); err != nil {
			return 0, "", fmt.Errorf("find the owner of data directory %s: %w", dir, err)
		}
		o, err := readOwner(vfs.Default, dir)
		if err == nil {
			return o.PID, o.Address, nil
		}
		// It has just taken the lock and not written its note yet.
		if time.Since(begun) > noteTime {
			return 0, "", fmt.Errorf("find the owner of data directory %s: %w by a process that does not say who it is: %w", dir, broker.ErrInUse, err)
		}
	}
}

// noteTime is how long a process may take from its lock to its note.
const noteTime = 5 * time.Second

// mustBeLocked fails with fs.ErrNotExist when no process has the directory open
// for writing.
func mustBeLocked(dir string) error {
	lock, err := tryLock(dir, false)
	if errors.Is(err, errLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(fmt.Errorf("no process has it open: %w", fs.ErrNotExist), lock.Close())
}

// SetAddress notes where this process can be reached, for [Owner] and for the
// error that a second process gets. On a broker of another driver, and on one
// that is closed, it does nothing.
func SetAddress(b *broker.Broker, address string) error {
	d, ok := b.Driver().(*driver)
	if !ok {
		return nil
	}
	if err := d.note.write(address); err != nil {
		return fmt.Errorf("note address %s in data directory %s: %w", address, d.dir, err)
	}
	return nil
}

// readersEnd is how long to wait for commands that only read the directory.
const readersEnd = 5 * time.Second

// locks are those of an open directory.
type locks struct {
	dir    io.Closer    // nil in tests whose disk is in memory
	pebble *pebble.Lock // nil when the directory is only read
}

// Close releases the locks.
func (l *locks) Close() error {
	var err error
	if l.pebble != nil {
		err = l.pebble.Close()
	}
	if l.dir != nil {
		err = errors.Join(err, l.dir.Close())
	}
	*l = locks{}
	return err
}

// lockPlace takes the lock of the directory itself or says who has it. A process
// that writes is alone; several can read at once.
func lockPlace(dir string, alone bool) (io.Closer, error) {
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		lock, err := tryLock(dir, alone)
		if err == nil || !errors.Is(err, errLocked) {
			return lock, err
		}
		if !alone || !errors.Is(mustBeLocked(dir), fs.ErrNotExist) {
			return nil, inUseBy(vfs.Default, dir)
		}
		// It is read, which does not take long, or was asked for its owner.
		if time.Since(begun) > readersEnd {
			return nil, fmt.Errorf("%w by a command that reads it, such as tail --follow: end it", broker.ErrInUse)
		}
	}
}

// lockPebble takes Pebble's lock.
func lockPebble(fsys vfs.FS, dir string) (*pebble.Lock, error) {
	lock, err := pebble.LockDirectory(dir, fsys)
	if err == nil {
		return lock, nil
	}
	// Pebble has no error of its own for this; the text is from its registry of
	// locks within a process.
	if errors.Is(err, syscall.EAGAIN) || strings.Contains(err.Error(), "lock held by current process") {
		return nil, inUseBy(fsys, dir)
	}
	return nil, err
}

func inUseBy(fsys vfs.FS, dir string) error {
	who := "another process"
	if o, err := readOwner(fsys, dir); err == nil {
		who = fmt.Sprintf("process %d", o.PID)
		if o.PID == os.Getpid() {
			who = fmt.Sprintf("this process (%d)", o.PID)
		}
		if o.Address != "" {
			who += " at " + o.Address
		}
	}
	return fmt.Errorf("%w by %s: stop it, or choose another directory", broker.ErrInUse, who)
}

// readOwner reads the note. One that came from elsewhere is not there.
func readOwner(fsys vfs.FS, dir string) (owner, error) {
	data, err := readFile(fsys, fsys.PathJoin(dir, ownerFile))
	if err != nil {
		return owner{}, err
	}
	var o owner
	if err := json.Unmarshal(data, &o); err != nil || o.PID <= 0 {
		return owner{}, fmt.Errorf("file %s is damaged: %w", ownerFile, fs.ErrNotExist)
	}
	if o.Place != placeOf(dir) {
		return owner{}, fmt.Errorf("file %s was copied from elsewhere: %w", ownerFile, fs.ErrNotExist)
	}
	return o, nil
}

// note is the file while this process has the directory open.
type note struct {
	fs  vfs.FS
	dir string

	mu      sync.Mutex
	removed bool
}

// write replaces the note in one step, so that a reader never sees a half.
func (n *note) write(address string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.removed {
		return nil
	}
	data, err := json.Marshal(owner{os.Getpid(), address, placeOf(n.dir)})
	if err != nil {
		return err
	}
	return replaceFile(n.fs, n.dir, ownerFile, append(data, '\n'))
}

func (n *note) remove() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.removed = true
	err := n.fs.Remove(n.fs.PathJoin(n.dir, ownerFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
