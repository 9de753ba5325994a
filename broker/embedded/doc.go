// SPDX-License-Identifier: Apache-2.0

// Package embedded is the broker inside the program: nothing to install, one
// data directory, one process. It is a log on Pebble
// (github.com/cockroachdb/pebble).
//
// The one idea: a settle is one Pebble batch. Results and group positions are
// in the same entry of the same write-ahead log, so both are there after a
// crash or neither is; and an append of many records is one key with one value,
// so the cost of storage is paid per batch, not per record.
//
// # What is stored
//
// Numbers in keys are big-endian, so keys sort as they are read.
//
//	f                                             format and id of the directory
//	t name                                        a topic: id, partitions, retention (JSON)
//	p group 0x00 topic partition                  a group's position: the next offset it takes
//	l topic partition offset time size            one Kafka RecordBatch v2 (package recordbatch)
//
// Topic and partition are 4 bytes, the others 8. An entry's key says its first
// offset, its append time in nanoseconds, and the number of bytes in the
// partition's log before it; so times and sizes are found by binary search over
// keys, without reading values, and no index is kept. Where a partition starts
// and ends follows from its first and last entry. Values live apart from the
// keys in Pebble's blob files and are not rewritten by compactions. They are
// compressed where that takes less time than writing them (packing.go); what is
// in memory for readers at the tail is not.
//
// # Durability and order
//
// Append and Settle assign offsets and write to Pebble's write-ahead log under
// the locks of the partitions they append to, then wait for the fsync without
// locks, so that many share one. Only after it a record becomes visible. This
// is always right: the log is written and synced in order, so when an entry is
// durable, all entries before it are, also those whose own waiters have not run
// yet. A partition's visible end may therefore be raised to the end of the
// append that was just synced, whatever the order in which waiters wake up.
// Nobody can settle what follows from a record that could still be lost.
//
// With [OS] durability the write-ahead log is written to the operating system
// before an append is acknowledged but synced only when a log file is finished.
// It survives the death of the process; a power cut may cut off its end. As
// positions are in the same entries as results, they never run ahead of them.
//
// The time of a record is the time of its append, in nanoseconds, and is
// strictly greater for each append of the whole broker, also when the clock
// steps back and across restarts (the greatest stored time is where it goes on).
//
// A log that cannot be written for want of room refuses appends early (ErrFull,
// space.go) and goes on by itself. Any other failure of the log ends the broker,
// but not the program: every call returns the error until the directory is
// opened again, which recovers what is durable (filesystem.go, failure.go).
//
// # The directory
//
// Beside Pebble's files there are MILLRACE, which says that the directory is ours,
// of which format and which one (directory.go); MARK, which says which files there
// are and how much of them is durable (mark.go, logtail.go); OWNER, whom to ask
// (owner.go); UNSYNCED with OS durability (cutlog.go); and BACKUP, when one is asked
// for (backup.go). The lock is on the directory itself (dirlock_unix.go). What
// Pebble takes for granted about its files, and what we do about it, is in
// docs/adr/0020-the-mark-of-a-data-directory.md.
//
// # Reading
//
// Recent appends stay in memory within a budget ([Options.CacheBytes]), shared
// with readers without copying. Readers further back read Pebble in chunks. A
// reader that has nothing to read sleeps on a channel and is woken by the append.
//
// # Groups
//
// Groups live in this process, so membership is a list under a lock. Partition i
// of all topics has one owner. When members come or go the balanced assignment
// that moves the fewest partitions becomes the target. From then on an owner
// does not poll a partition that it must give away; it gives it in its first Poll
// that finds nothing of it open, also one that waits, which the settle wakes.
// After [Options.HandoverTimeout] the partition is taken, but a settle that has
// begun is always finished before its partitions move.
//
// What is open follows from two offsets: the group's position, which a settle
// moves, and where the last Poll ended, which only the goroutine that polls
// touches. So a settle is fenced by looking at the owners and the positions, and
// needs to know nothing of what is polled beside it.
//
// # Locks
//
// In the order in which they are taken: group.mu, driver.mu, partition.appending
// (in order of topic id and partition when several), tail.mu, partition.mu.
// Nothing waits for a disk under the last two.
package embedded
