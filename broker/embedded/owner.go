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

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
)

// ownerFile is beside Pebble's lock and tells other processes whom to ask. The
// lock decides who owns the directory; the file is a note that may be stale.
const ownerFile = "OWNER"

type owner struct {
	PID     int    `json:"pid"`
	Address string `json:"address,omitempty"`
}

// Owner tells which process has the data directory open, and the address that
// it noted with [SetAddress], if any. When no living process has it open
// the error matches [fs.ErrNotExist].
func Owner(dir string) (pid int, address string, err error) {
	o, err := readOwner(vfs.Default, dir)
	if err != nil {
		return 0, "", fmt.Errorf("find the owner of data directory %s: %w", dir, err)
	}
	if !alive(o.PID) {
		return 0, "", fmt.Errorf("find the owner of data directory %s: process %d has ended: %w", dir, o.PID, fs.ErrNotExist)
	}
	return o.PID, o.Address, nil
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

// lockDirectory takes the directory's lock or says who has it.
func lockDirectory(fsys vfs.FS, dir string) (*pebble.Lock, error) {
	lock, err := pebble.LockDirectory(dir, fsys)
	if err == nil {
		return lock, nil
	}
	// Pebble has no error of its own for this; the two texts are from its
	// registry of locks within a process and from its file system in memory.
	taken := errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) && fsys == vfs.Default && ownerAlive(fsys, dir) ||
		strings.Contains(err.Error(), "lock held by current process")
	if !taken {
		return nil, err
	}
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
	return nil, fmt.Errorf("%w by %s: stop it, or choose another directory", broker.ErrInUse, who)
}

func ownerAlive(fsys vfs.FS, dir string) bool {
	o, err := readOwner(fsys, dir)
	return err == nil && alive(o.PID)
}

func alive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer func() { _ = p.Release() }() // it holds nothing that could fail
	err = p.Signal(syscall.Signal(0))
	return err == nil || errors.Is(err, syscall.EPERM)
}

func readOwner(fsys vfs.FS, dir string) (owner, error) {
	f, err := fsys.Open(fsys.PathJoin(dir, ownerFile))
	if err != nil {
		return owner{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return owner{}, err
	}
	var o owner
	if err := json.Unmarshal(data, &o); err != nil || o.PID <= 0 {
		return owner{}, fmt.Errorf("file %s is damaged: %w", ownerFile, fs.ErrNotExist)
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
	data, err := json.Marshal(owner{os.Getpid(), address})
	if err != nil {
		return err
	}
	temporary := n.fs.PathJoin(n.dir, ownerFile+".tmp")
	f, err := n.fs.Create(temporary, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return n.fs.Rename(temporary, n.fs.PathJoin(n.dir, ownerFile))
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
