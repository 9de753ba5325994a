// SPDX-License-Identifier: Apache-2.0

//go:build unix

package embedded

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A lock on the directory itself, beside Pebble's on the file LOCK: it cannot be
// deleted while the directory is there, a copy does not carry it along, and
// who looks whether it is taken does not release it, as with a lock by fcntl.

// errLocked means that another holder of the lock is in the way.
var errLocked = errors.New("the directory is locked")

// tryLock takes the lock of a directory, alone or with others who read.
func tryLock(dir string, alone bool) (io.Closer, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	how := unix.LOCK_SH | unix.LOCK_NB
	if alone {
		how = unix.LOCK_EX | unix.LOCK_NB
	}
	err = unix.Flock(int(f.Fd()), how)
	switch {
	case err == nil:
		return f, nil
	case errors.Is(err, unix.EWOULDBLOCK):
		err = errLocked
	case errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOLCK), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EBADF):
		return f, nil // Pebble's lock has to do
	default:
		err = fmt.Errorf("lock the directory: %w", err)
	}
	return nil, errors.Join(err, f.Close())
}

// place is where a directory is on this machine, which a copy of it is not.
type place struct {
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
}

// placeOf finds it out; the zero value when there is none.
func placeOf(dir string) place {
	info, err := os.Stat(dir)
	if err != nil {
		return place{}
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return place{}
	}
	return place{uint64(s.Dev), uint64(s.Ino)} //nolint:unconvert // other systems have other types
}
