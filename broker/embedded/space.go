// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"fmt"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// space refuses appends before the disk is full, so that there is always room
// to finish what was accepted: the log files in use, the tables they become, and
// a compaction that gives room back.
type space struct {
	fs      *filesystem
	dir     string
	reserve int64
	total   int64

	mu       sync.Mutex
	allowed  int64     // bytes that may be appended before the disk is looked at again
	measured time.Time // when it was last looked at
}

// checkOpen refuses to open a log on a disk without room for the log and the
// tables that recovery writes, where Pebble would wait for it.
func (s *space) checkOpen() error {
	usage, err := s.fs.GetDiskUsage(s.dir)
	if err != nil {
		return nil
	}
	if free, need := int64(usage.AvailBytes), min(s.reserve, s.memTable()); free < need {
		return fmt.Errorf("%w: %s are free, %s are needed; make room and try again", broker.ErrFull, mib(free), mib(need))
	}
	return nil
}

const (
	// writeFactor is how much disk an appended byte takes until its log file is
	// deleted: in the log, in a table, and once more for what is rounded up.
	writeFactor = 3

	// reserveInodes are left for files that the log makes to finish what was
	// accepted.
	reserveInodes = 64

	measureEvery = 10 * time.Millisecond
	measureBytes = 64 << 20
)

// init measures the disk. A reserve of 0 is chosen by the disk's size.
func (s *space) init(fs *filesystem, dir string, reserve int64) {
	s.fs, s.dir = fs, dir
	if usage, err := fs.GetDiskUsage(dir); err == nil {
		s.total = int64(usage.TotalBytes)
	}
	s.reserve = reserve
	if s.reserve == 0 {
		s.reserve = memTablesMax*s.memTable() + s.memTable()
	}
}

// memTable is the size of a memtable that suits the disk: a disk smaller than a
// gigabyte cannot spare room for four of the usual size.
func (s *space) memTable() int64 {
	if s.total > 0 {
		return max(256<<10, min(memTableBytes, s.total/32))
	}
	return memTableBytes
}

// check takes n bytes from what may be appended. The error matches ErrFull.
func (s *space) check(n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n <= s.allowed && time.Since(s.measured) < measureEvery {
		s.allowed -= n
		return nil
	}
	if err := s.fs.room.check(); err != nil {
		s.allowed = 0
		return err
	}
	if err := s.checkInodes(); err != nil {
		s.allowed = 0
		return err
	}
	usage, err := s.fs.GetDiskUsage(s.dir)
	if err != nil {
		return nil // a file system that cannot tell is not refused
	}
	free := int64(usage.AvailBytes)
	need := s.reserve + writeFactor*n
	if free < need {
		s.allowed = 0
		return fmt.Errorf("%w of %s: %s are free, %s are needed to append %s safely; make room and it goes on",
			broker.ErrFull, s.dir, mib(free), mib(need), mib(n))
	}
	s.allowed = min(measureBytes, (free-s.reserve)/writeFactor) - n
	s.measured = time.Now()
	return nil
}

// checkInodes refuses when hardly a file can be made. A file system that cannot
// tell is not refused.
func (s *space) checkInodes() error {
	disk, ok := s.fs.FS.(interface {
		Inodes(dir string) (free, total uint64, err error)
	})
	if !ok {
		return nil
	}
	free, total, err := disk.Inodes(s.dir)
	if err != nil || total == 0 || free >= min(reserveInodes, total/8) {
		return nil //nolint:nilerr // see above
	}
	return fmt.Errorf("%w of %s: %d of %d inodes are free, that is hardly a file; delete some and it goes on", broker.ErrFull, s.dir, free, total)
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
