// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// fill publishes until the broker refuses, and returns how much it took.
func fill(t *testing.T, b *broker.Broker) (records int64) {
	t.Helper()
	value := make([]byte, 64<<10)
	rand.NewChaCha8([32]byte{}).Read(value) // what can be compressed would take less room
	for range 1 << 20 {
		_, err := b.Publish(context.Background(), broker.Record{Topic: "t", Value: value})
		if errors.Is(err, broker.ErrFull) {
			return records
		}
		if err != nil {
			t.Fatalf("publish to a disk that fills: %v, want an error that is %q", err, broker.ErrFull)
		}
		records++
	}
	t.Fatal("the disk is never full")
	return 0
}

func TestADiskFilledByTheBrokerRefusesAndHeals(t *testing.T) {
	disk := newTestDisk()
	disk.total = 24 << 20
	disk.room.Store(24 << 20)
	b := disk.open(t, Options{})
	createTopic(t, b, "t", 1)
	n := fill(t, b)
	if n < 50 {
		t.Errorf("only %d records of 64 KiB fit on a disk of 24 MiB", n)
	}
	if got := count(t, b, "t"); got != n {
		t.Errorf("%d records can be read on the full disk, want %d", got, n)
	}
	disk.room.Add(24 << 20)
	more := fill(t, b)
	if more < 50 {
		t.Errorf("only %d records fit after there was room for many", more)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	disk.room.Add(24 << 20)
	b = disk.open(t, Options{})
	if got := count(t, b, "t"); got != n+more {
		t.Errorf("%d records are there after a restart, want %d", got, n+more)
	}
}

// Another program can fill the disk at any time, also the reserve.
func TestADiskFilledByOthersHoldsUpAppendsUntilThereIsRoom(t *testing.T) {
	disk := newTestDisk()
	b := disk.open(t, Options{})
	createTopic(t, b, "t", 1)
	// The broker has just seen a free disk, and may append for some moments.
	if _, err := b.Publish(t.Context(), broker.Record{Topic: "t"}); err != nil {
		t.Fatal(err)
	}
	before := disk.room.Swap(0)
	var group sync.WaitGroup
	answers := make(chan error, 8)
	for range cap(answers) {
		group.Go(func() {
			_, err := b.Publish(context.Background(), broker.Record{Topic: "t", Value: make([]byte, 1000)})
			answers <- err
		})
	}
	time.AfterFunc(300*time.Millisecond, func() { disk.room.Store(before) })
	group.Wait()
	close(answers)
	want := int64(1)
	for err := range answers {
		if err == nil {
			want++
		} else if !errors.Is(err, broker.ErrFull) {
			t.Errorf("publish to a full disk: %v", err)
		}
	}
	if got := count(t, b, "t"); got != want {
		t.Errorf("%d records are there, want the %d that were acknowledged", got, want)
	}
	if _, err := b.Publish(t.Context(), broker.Record{Topic: "t"}); err != nil {
		t.Errorf("publish when there is room again: %v", err)
	}
}

func TestAFullDiskIsNotOpened(t *testing.T) {
	disk := newTestDisk()
	disk.room.Store(1000)
	_, err := Open("data", Options{FS: disk, Logger: quiet})
	if !errors.Is(err, broker.ErrFull) {
		t.Errorf("error %v, want one that is %q", err, broker.ErrFull)
	}
}

// The same on a real file system of 64 MiB. Mounting takes root; elsewhere the
// simulated disk above must do, and the test says so.
func TestARealFullDiskRefusesAndHeals(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); err != nil {
		t.Skipf("a small file system could not be mounted (%v): only the simulated full disk was tested", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 30<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := Open(filepath.Join(dir, "data"), Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	createTopic(t, b, "t", 1)
	n := fill(t, b)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	n += fill(t, b)
	if got := count(t, b, "t"); got != n {
		t.Errorf("%d records can be read, want %d", got, n)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}
