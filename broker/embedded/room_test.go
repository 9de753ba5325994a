// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// A file system can have room and no inodes, a quota that its free space does not
// tell of, or the process no file descriptors left: then a file cannot be made.
func TestAFileThatCannotBeMadeRefusesAppendsAndHeals(t *testing.T) {
	for _, lack := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE} {
		t.Run(lack.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := newTestDisk()
				b := disk.open(t, Options{})
				createTopic(t, b, "t", 1)
				publish(t, b, "t", "a")
				disk.creating.Store(&lack)
				// It waits for its next log file, with Pebble's lock.
				go func() { _, _ = driverOf(b).db.AsyncFlush() }()
				time.Sleep(time.Second)
				if _, err := b.Publish(t.Context(), broker.Record{Topic: "t"}); !errors.Is(err, broker.ErrFull) || !strings.Contains(err.Error(), lacking(lack)) {
					t.Errorf("a publish without room gives %v", err)
				}
				disk.creating.Store(nil)
				time.Sleep(time.Second)
				publish(t, b, "t", "b")
				if got := values(readFrom(t, b, "t", broker.Start())); got != "a b" {
					t.Errorf("then %q is there", got)
				}
				if err := b.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestAPublishThatMetTheFullDiskEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newTestDisk()
		b := disk.open(t, Options{})
		createTopic(t, b, "t", 1)
		publish(t, b, "t", "a")
		before := disk.room.Swap(-1 << 40) // whatever old files give back
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := b.Publish(ctx, broker.Record{Topic: "t", Value: []byte("b")})
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, broker.ErrFull) || !strings.Contains(err.Error(), "may be appended or not") {
			t.Errorf("the publish gives %v", err)
		}
		disk.room.Store(before)
		time.Sleep(time.Second)
		publish(t, b, "t", "c")
		if got := values(readFrom(t, b, "t", broker.Start())); got != "a b c" {
			t.Errorf("then %q is there", got)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A settle waits for room as long as it takes, but not longer than the broker.
func TestABrokerIsClosedThatWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newTestDisk()
		b := disk.open(t, Options{})
		createTopic(t, b, "t", 1)
		publish(t, b, "t", "a")
		c, err := b.Join(t.Context(), "g", broker.Start(), "t")
		must(t, err)
		batch, err := c.Poll(t.Context(), broker.Want{})
		must(t, err)
		before := disk.room.Swap(-1 << 40)
		settled := make(chan error, 1)
		go func() {
			settled <- batch.Settle(context.Background(), broker.Record{Topic: "t", Value: []byte("b")})
		}()
		synctest.Wait()
		if err := b.Close(); err == nil {
			t.Error("it was closed as if all had been written")
		}
		if err := <-settled; err == nil {
			t.Error("what could not be written was settled")
		}
		disk.room.Store(before)
		again := disk.open(t, Options{})
		if got := values(readFrom(t, again, "t", broker.Start())); got != "a" {
			t.Errorf("%q is there afterwards", got)
		}
		must(t, again.Close())
	})
}

// After a failed sync nobody knows what is on the disk, and a second one says
// that all is well.
func TestASyncThatFailedIsNotTriedAgain(t *testing.T) {
	for _, lack := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EIO} {
		t.Run(lack.Error(), func(t *testing.T) {
			disk := newTestDisk()
			b := disk.open(t, Options{})
			createTopic(t, b, "t", 1)
			publish(t, b, "t", "a")
			disk.syncing.Store(&lack)
			if _, err := b.Publish(t.Context(), broker.Record{Topic: "t"}); !broker.Lasting(err) || errors.Is(err, broker.ErrFull) {
				t.Errorf("a publish whose sync fails gives %v, want an error that lasts", err)
			}
			if n := disk.syncs.Load(); n != 1 {
				t.Errorf("%d syncs were tried, want 1", n)
			}
		})
	}
}

// A small file system with few inodes. Mounting takes root; elsewhere the
// simulated disk above must do, and the test says so.
func TestAFileSystemWithoutInodesRefusesAndHeals(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256m,nr_inodes=300"); err != nil {
		t.Skipf("a small file system could not be mounted (%v): only the simulated one was tested", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	b, err := Open(filepath.Join(dir, "data"), Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	createTopic(t, b, "t", 1)
	publish(t, b, "t", "a")
	for i := 0; ; i++ {
		if err := os.WriteFile(filepath.Join(dir, strings.Repeat("x", i+1)), nil, 0o600); err != nil {
			break
		}
		if i == 254 {
			t.Skip("the file system has more inodes than it was asked for")
		}
	}
	time.Sleep(2 * measureEvery)
	if _, err := b.Publish(t.Context(), broker.Record{Topic: "t"}); !errors.Is(err, broker.ErrFull) || !strings.Contains(err.Error(), "inodes") {
		t.Errorf("a publish without inodes gives %v", err)
	}
	for i := range 200 {
		if err := os.Remove(filepath.Join(dir, strings.Repeat("x", i+1))); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, b, "t", "b")
}
