// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
)

// filled is a closed directory with two partitions in several tables and blob
// files, and a group that has settled some of it.
func filled(t testing.TB) (dir string, records int64) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	noise := make([]byte, 3000)
	rand.NewChaCha8([32]byte{}).Read(noise)
	for round := range 3 {
		b := openDir(t, dir, Options{})
		createTopic(t, b, "t", 2)
		createTopic(t, b, fmt.Sprintf("only-%d", round), 1)
		for i := range 40 {
			r := broker.Record{Topic: "t", Pinned: true, Partition: int32(i % 2), Value: append(fmt.Appendf(nil, "%d %d ", round, i), noise[i:]...)}
			_, err := b.Publish(t.Context(), r)
			must(t, err)
		}
		c, err := b.Join(t.Context(), "g", broker.Start(), "t")
		must(t, err)
		batch, err := c.Poll(t.Context(), broker.Want{Records: 10})
		must(t, err)
		must(t, batch.Settle(t.Context()))
		must(t, b.Close())
	}
	return dir, 3 * 40
}

func checked(t testing.TB, dir, salvage string) *Report {
	t.Helper()
	r, err := Check(t.Context(), dir, salvage)
	must(t, err)
	return r
}

func TestAWholeDirectoryIsFoundWholeAndNotChanged(t *testing.T) {
	dir, records := filled(t)
	before := snapshot(t, dir)
	to := filepath.Join(t.TempDir(), "to")
	r := checked(t, dir, to)
	if !r.Whole() || r.Records != records || r.Saved != records || r.Topics != 4 {
		t.Errorf("the report is %+v", r)
	}
	sameFiles(t, "after the check", before, snapshot(t, dir))
	one, other := openDir(t, dir, Options{}), openDir(t, to, Options{})
	if a, b := values(readFrom(t, one, "t", broker.Start())), values(readFrom(t, other, "t", broker.Start())); a != b {
		t.Error("what was salvaged is not the same")
	}
	a, err := one.Lag(t.Context(), "g")
	must(t, err)
	b, err := other.Lag(t.Context(), "g")
	must(t, err)
	if fmt.Sprint(a) != fmt.Sprint(b) || len(a) == 0 {
		t.Errorf("the group stood at %v and stands at %v", a, b)
	}
}

func TestADamagedBlobIsNamedAndAllElseIsSalvaged(t *testing.T) {
	dir, records := filled(t)
	blobs, err := filepath.Glob(filepath.Join(dir, "*.blob"))
	must(t, err)
	flip(t, blobs[0], 1000, 0x40)
	name := filepath.Base(blobs[0])

	// Opened as it is, all but the damaged range can be read.
	b := openDir(t, dir, Options{})
	if n := count(t, b, "only-1"); n != 0 {
		t.Errorf("the other topic has %d records", n)
	}
	_, err = readAll(b, "t", broker.Start())
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "stack") {
		t.Errorf("reading gives %v, want one line that names %s", err, name)
	}
	publish(t, b, "only-1", "goes on")
	must(t, b.Close())

	to := filepath.Join(t.TempDir(), "to")
	r := checked(t, dir, to)
	if len(r.Faults) != 1 || r.Faults[0].File != name || len(r.Losses) == 0 || r.Saved == 0 || r.Saved > records {
		t.Fatalf("the report is %+v", r)
	}
	lost := int64(0)
	for _, l := range r.Losses {
		lost += l.To - l.From
		if l.Topic != "t" || !strings.Contains(l.Why, name) {
			t.Errorf("the loss is %v", l)
		}
	}
	if r.Saved+lost != records+1 {
		t.Errorf("%d records were saved and %d lost of %d", r.Saved, lost, records+1)
	}
	salvaged := openDir(t, to, Options{})
	if n := count(t, salvaged, "t") + count(t, salvaged, "only-1"); n != r.Saved {
		t.Errorf("%d records are in what was salvaged, want %d", n, r.Saved)
	}
}

// One that is missing while the log is read and written: what was there when it was
// opened, what was not, and what the mark does not know.
func TestAMissingBlobEndsNoProcess(t *testing.T) {
	dir, _ := filled(t)
	blobs, err := filepath.Glob(filepath.Join(dir, "*.blob"))
	must(t, err)
	b := openDir(t, dir, Options{CacheBytes: 1})
	must(t, os.Remove(blobs[0]))
	reading := func(b *broker.Broker, name string) {
		t.Helper()
		_, err := readAll(b, "t", broker.Start())
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), name) {
			t.Errorf("reading gives %v, want an error that names %s", err, name)
		}
		publish(t, b, "only-1", "goes on")
	}
	reading(b, filepath.Base(blobs[0]))
	must(t, driverOf(b).fs.ledger.renew())
	killed := filepath.Join(t.TempDir(), "killed")
	copyLive(t, dir, killed)
	must(t, b.Close())

	var m mark
	must(t, readSealed(privateDisk{vfs.Default}, killed, markFile, &m))
	if !slices.ContainsFunc(m.Files, func(f fileMark) bool { return f.Name == filepath.Base(blobs[0]) }) {
		t.Fatal("the mark does not know the file any more")
	}
	b = openDir(t, killed, Options{CacheBytes: 1})
	reading(b, filepath.Base(blobs[0]))
	must(t, driverOf(b).flush())
	_ = driverOf(b).db.Compact(t.Context(), []byte{kindLog}, []byte{kindLog + 1}, false) // it may fail
	must(t, b.Close())

	must(t, os.Remove(filepath.Join(dir, markFile)))
	if r := checked(t, dir, ""); r.Records == 0 || len(r.Losses) == 0 {
		t.Errorf("without a mark the report is %+v", r)
	}
}

// Tables whose keys are elsewhere are read.
func TestAMissingTableLosesOnlyWhatIsInItsRange(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	b := openDir(t, dir, Options{})
	createTopic(t, b, "t", 1)
	createTopic(t, b, "u", 1)
	publish(t, b, "t", "a", "b")
	must(t, driverOf(b).flush())
	must(t, driverOf(b).db.Compact(t.Context(), []byte("a"), []byte("z"), false)) // to one table
	publish(t, b, "u", "c")
	must(t, b.Close())
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	must(t, err)
	newest := slices.Max(tables)
	for _, damage := range []struct {
		what string
		do   func()
	}{
		{"cut", func() { must(t, os.Truncate(newest, 10)) }},
		{"missing", func() { must(t, os.Remove(newest)) }},
	} {
		damage.do()
		r := checked(t, dir, filepath.Join(t.TempDir(), "to"))
		if r.Saved != 2 || len(r.Faults) != 1 || r.Faults[0].File != filepath.Base(newest) || len(r.Losses) == 0 {
			t.Errorf("when it is %s the report is %+v", damage.what, r)
		}
	}
}

// What is not whole opens like what is, so it is not left.
func TestASalvageThatFailsLeavesNothing(t *testing.T) {
	dir, _ := filled(t)
	there := filepath.Join(t.TempDir(), "there")
	must(t, os.MkdirAll(filepath.Join(there, "lost+found"), 0o700))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, to := range []string{filepath.Join(t.TempDir(), "to"), there} {
		if _, err := Check(ctx, dir, to); !errors.Is(err, context.Canceled) {
			t.Errorf("an interrupted salvage gives %v", err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(there, "*")); err != nil || len(left) != 1 {
		t.Errorf("there are %v, %v; want only what was there", left, err)
	}
}

// Pebble panics when it finds that the end of a blob file is damaged, in the
// goroutine that happens to open it.
func TestADamagedEndOfABlobFileEndsNoProcess(t *testing.T) {
	dir, _ := filled(t)
	blobs, err := filepath.Glob(filepath.Join(dir, "*.blob"))
	must(t, err)
	for _, path := range blobs {
		info, err := os.Stat(path)
		must(t, err)
		flip(t, path, int(info.Size())-10, 0x40)
	}
	b := openDir(t, dir, Options{})
	_, err = readAll(b, "t", broker.Start())
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), ".blob") {
		t.Errorf("reading gives %v, want an error that names the file", err)
	}
	publish(t, b, "only-1", "goes on")
	must(t, driverOf(b).flush())
	_ = driverOf(b).db.Compact(t.Context(), []byte{kindLog}, []byte{kindLog + 1}, false) // it may fail
	must(t, b.Close())
	if r := checked(t, dir, ""); len(r.Faults) != len(blobs) || len(r.Losses) == 0 {
		t.Errorf("the report is %+v", r)
	}
}

func TestADamagedLogIsSalvagedUpToTheDamage(t *testing.T) {
	dir, records := killed(t, true)
	path, written := newestLog(t, dir)
	flip(t, path, written/2, 1)
	to := filepath.Join(t.TempDir(), "to")
	r := checked(t, dir, to)
	if len(r.Faults) != 1 || r.Faults[0].File != filepath.Base(path) || r.Saved == 0 || r.Saved >= records {
		t.Errorf("the report is %+v", r)
	}
	if n := count(t, openDir(t, to, Options{}), "t"); n != r.Saved {
		t.Errorf("%d records are in what was salvaged, want %d", n, r.Saved)
	}
}

func TestSalvageGoesNowhereElse(t *testing.T) {
	dir, _ := filled(t)
	used := stopped(t)
	before := snapshot(t, used)
	if _, err := Check(t.Context(), dir, used); err == nil || !strings.Contains(err.Error(), "data directory already") {
		t.Errorf("salvage into a data directory gives %v", err)
	}
	sameFiles(t, "after it was refused", before, snapshot(t, used))
	if _, err := Check(t.Context(), t.TempDir(), ""); err == nil {
		t.Error("an empty folder was checked")
	}
}

func TestABackupOfALiveDirectoryHasAllThatWasAcknowledged(t *testing.T) {
	for _, d := range []Durability{Fsync, OS} {
		t.Run(d.String(), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			b := openDir(t, dir, Options{Durability: d})
			createTopic(t, b, "t", 1)
			publish(t, b, "t", "a", strings.Repeat("b", 2000))
			must(t, driverOf(b).flush())
			publish(t, b, "t", "c")
			to := filepath.Join(t.TempDir(), "backup")
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			must(t, Backup(ctx, dir, to))
			publish(t, b, "t", "later")
			must(t, os.Remove(filepath.Join(dir, "MILLRACE"))) // nothing is shared
			if r := checked(t, to, ""); !r.Whole() || r.Records != 3 {
				t.Errorf("the backup is %+v", r)
			}
			copied := openDir(t, to, Options{})
			if n := count(t, copied, "t"); n != 3 {
				t.Errorf("the backup has %d records, want 3", n)
			}
			publish(t, copied, "t", "goes on")
			if err := Backup(ctx, dir, to); !errors.Is(err, fs.ErrExist) {
				t.Errorf("a second backup to the same place gives %v", err)
			}
		})
	}
}

func TestABackupOfAStoppedDirectory(t *testing.T) {
	dir, records := filled(t)
	before := snapshot(t, dir)
	to := filepath.Join(t.TempDir(), "backup")
	must(t, Backup(t.Context(), dir, to))
	sameFiles(t, "after the backup", before, snapshot(t, dir))
	if n := count(t, openDir(t, to, Options{}), "t"); n != records {
		t.Errorf("the backup has %d records, want %d", n, records)
	}
	dirty, want := killed(t, true)
	to = filepath.Join(t.TempDir(), "backup")
	must(t, Backup(t.Context(), dirty, to))
	if n := count(t, openDir(t, to, Options{}), "t"); n != want {
		t.Errorf("the backup of what was killed has %d records, want %d", n, want)
	}
	blobs, err := filepath.Glob(filepath.Join(dir, "*.blob"))
	must(t, err)
	flip(t, blobs[0], 1000, 0x40)
	if err := Backup(t.Context(), dir, filepath.Join(t.TempDir(), "backup")); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), filepath.Base(blobs[0])) {
		t.Errorf("a backup of a damaged directory gives %v", err)
	}
}
