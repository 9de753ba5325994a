// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/broker"
)

// snapshot is what a folder holds, by name.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		files[path[len(dir)+1:]] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func sameFiles(t testing.TB, what string, before, after map[string]string) {
	t.Helper()
	if !maps.Equal(before, after) {
		t.Errorf("%s: the files were %v and are %v", what, slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
	}
}

func copyTree(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// copyLive copies a directory that is open and in which nobody appends: as it is
// between two changes of its files, which there still may be.
func copyLive(t testing.TB, from, to string) {
	t.Helper()
	state := func() string {
		names, err := os.ReadDir(from)
		must(t, err)
		mark, err := os.ReadFile(filepath.Join(from, markFile))
		must(t, err)
		return fmt.Sprint(names, string(mark))
	}
	for range 1000 {
		before := state()
		err := os.CopyFS(to, os.DirFS(from))
		if err == nil && before == state() {
			return
		}
		must(t, os.RemoveAll(to))
	}
	t.Fatal("the files of the directory change all the time")
}

// stopped is a directory with some records in files of all kinds, closed.
func stopped(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	for range 2 {
		b := openDir(t, dir, Options{})
		createTopic(t, b, "t", 2)
		publish(t, b, "t", "first", strings.Repeat("x", 2*separateBytes))
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func openDir(t testing.TB, dir string, o Options) *broker.Broker {
	t.Helper()
	o.Logger = quiet
	b, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestADirectoryThatLacksAFileIsRefusedByNameAndLeftAsItIs(t *testing.T) {
	whole := stopped(t)
	for _, missing := range []string{identityFile, "marker.manifest.", "marker.format-version.", "MANIFEST-", "OPTIONS-"} {
		t.Run(missing, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			copyTree(t, whole, dir)
			list, err := filepath.Glob(filepath.Join(dir, missing+"*"))
			if err != nil || len(list) == 0 {
				t.Fatalf("there is no %s: %v", missing, err)
			}
			for _, path := range list {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}
			before := snapshot(t, dir)
			for _, readOnly := range []bool{true, false} {
				_, err := Open(dir, Options{Logger: quiet, ReadOnly: readOnly})
				if err == nil || !strings.Contains(err.Error(), missing) {
					t.Errorf("opened with read only %v: error %v, want one that names %s", readOnly, err, missing)
				}
			}
			sameFiles(t, "after it was refused", before, snapshot(t, dir))
		})
	}
}

func TestAFolderOfSomebodyElseIsRefusedAndLeftAsItIs(t *testing.T) {
	for _, name := range []string{"000004.sst", "000002.log", "CURRENT", "LOCK", "MANIFEST-000001", "OPTIONS-000003", "notes.txt", "marker.manifest.000001.MANIFEST-000001"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, name), []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
			before := snapshot(t, dir)
			for _, readOnly := range []bool{true, false} {
				_, err := Open(dir, Options{Logger: quiet, ReadOnly: readOnly})
				if err == nil || !strings.Contains(err.Error(), name) {
					t.Errorf("opened with read only %v: error %v, want one that names %s", readOnly, err, name)
				}
			}
			sameFiles(t, "after it was refused", before, snapshot(t, dir))
		})
	}
}

func TestAnotherFormatIsRefusedByName(t *testing.T) {
	dir := stopped(t)
	for format, want := range map[int]string{1: "has format 1", directoryFormat + 1: "newer Millrace"} {
		if err := (identity{format, "abc", true}).write(driverOf(openDir(t, t.TempDir(), Options{})).options.FS, dir); err != nil {
			t.Fatal(err)
		}
		before := snapshot(t, dir)
		if _, err := Open(dir, Options{Logger: quiet}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("format %d gives error %v, want %q in it", format, err, want)
		}
		sameFiles(t, fmt.Sprintf("format %d", format), before, snapshot(t, dir))
	}
}

func TestTheIdentityOfAnotherDirectoryIsRefused(t *testing.T) {
	one, other := stopped(t), stopped(t)
	data, err := os.ReadFile(filepath.Join(other, identityFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(one, identityFile), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(one, Options{Logger: quiet}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), identityFile) {
		t.Errorf("error %v, want one that names %s", err, identityFile)
	}
}

func TestReadingChangesNothing(t *testing.T) {
	dir := stopped(t)
	before := snapshot(t, dir)
	b := openDir(t, dir, Options{ReadOnly: true})
	if n := count(t, b, "t"); n != 4 {
		t.Errorf("%d records are there, want 4", n)
	}
	second := openDir(t, dir, Options{ReadOnly: true})
	if _, err := second.Topics(t.Context()); err != nil {
		t.Errorf("a second reader: %v", err)
	}
	if _, err := b.Publish(t.Context(), broker.Record{Topic: "t"}); !errors.Is(err, broker.ErrRefused) {
		t.Errorf("a publish gives %v", err)
	}
	if err := b.CreateTopics(t.Context(), broker.Topic{Name: "u", Partitions: 1}); !errors.Is(err, broker.ErrRefused) {
		t.Errorf("a new topic gives %v", err)
	}
	if _, err := b.Join(t.Context(), "g", broker.Start(), "t"); !errors.Is(err, broker.ErrRefused) {
		t.Errorf("a join gives %v", err)
	}
	if err := errors.Join(b.Close(), second.Close()); err != nil {
		t.Fatal(err)
	}
	sameFiles(t, "after it was read", before, snapshot(t, dir))

	nothing := filepath.Join(t.TempDir(), "nothing")
	if _, err := Open(nothing, Options{ReadOnly: true}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading a directory that does not exist gives %v", err)
	}
	if _, err := os.Stat(nothing); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading has made the directory: %v", err)
	}
}

// What a process leaves that was killed is read as it would be recovered.
func TestReadingWhatAKilledProcessHasLeft(t *testing.T) {
	for _, d := range []Durability{Fsync, OS} {
		t.Run(d.String(), func(t *testing.T) {
			dir := t.TempDir()
			published, _ := killChild(t, dir, d, 60)
			before := snapshot(t, dir)
			b := openDir(t, dir, Options{ReadOnly: true})
			if n := count(t, b, "in"); n < published {
				t.Errorf("%d records were acknowledged, %d can be read", published, n)
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			sameFiles(t, "after it was read", before, snapshot(t, dir))
		})
	}
}

func TestWritingWaitsForReadersAndReadersDoNotMeetAWriter(t *testing.T) {
	dir := stopped(t)
	reader := openDir(t, dir, Options{ReadOnly: true})
	opened := make(chan error)
	go func() {
		b, err := Open(dir, Options{Logger: quiet})
		if err == nil {
			_, err = b.Publish(t.Context(), broker.Record{Topic: "t"})
			err = errors.Join(err, b.Close())
		}
		opened <- err
	}()
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Errorf("a writer beside a reader that ends: %v", err)
	}
	openDir(t, dir, Options{})
	if _, err := Open(dir, Options{ReadOnly: true}); !errors.Is(err, broker.ErrInUse) {
		t.Errorf("a reader beside a writer gives %v", err)
	}
}

func TestAWriterThatReadersKeepOutSaysSo(t *testing.T) {
	dir := stopped(t)
	openDir(t, dir, Options{ReadOnly: true})
	if _, err := Open(dir, Options{Logger: quiet}); !errors.Is(err, broker.ErrInUse) || !strings.Contains(err.Error(), "reads it") {
		t.Errorf("a writer beside a reader that stays gets %v", err)
	}
}

func TestACopyOfALiveDirectoryIsAnotherOne(t *testing.T) {
	dir := stopped(t)
	live := openDir(t, dir, Options{Address: "127.0.0.1:4242"})
	copied := filepath.Join(t.TempDir(), "copy")
	copyLive(t, dir, copied)
	if pid, address, err := Owner(copied); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the owner of the copy is %d at %s, %v", pid, address, err)
	}
	if pid, address, err := Owner(dir); err != nil || pid != os.Getpid() || address != "127.0.0.1:4242" {
		t.Errorf("the owner of the original is %d at %s, %v", pid, address, err)
	}
	lock, err := lockPlace(copied, true)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if o, err := readOwner(driverOf(live).options.FS, copied); err == nil {
		t.Errorf("the note that came with the copy is believed: %+v", o)
	}
}

func TestAStaleNoteOfALivingProcessBlocksNothing(t *testing.T) {
	dir := stopped(t)
	note := fmt.Sprintf(`{"pid":%d,"address":"127.0.0.1:1"}`, os.Getppid())
	if err := os.WriteFile(filepath.Join(dir, ownerFile), []byte(note), 0o600); err != nil {
		t.Fatal(err)
	}
	if pid, _, err := Owner(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the owner is %d, %v", pid, err)
	}
	openDir(t, dir, Options{})
}

func TestADeletedLockFileLetsNoSecondWriterIn(t *testing.T) {
	dir := stopped(t)
	openDir(t, dir, Options{})
	if err := os.Remove(filepath.Join(dir, "LOCK")); err != nil {
		t.Fatal(err)
	}
	// By another path, because Pebble knows the path within a process.
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(link, Options{Logger: quiet}); !errors.Is(err, broker.ErrInUse) {
		t.Errorf("a second writer gets %v, want %v", err, broker.ErrInUse)
	}
}

func TestOnlyTheOwnerMayReadTheFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b := openDir(t, dir, Options{Durability: OS})
	createTopic(t, b, "t", 1)
	publish(t, b, "t", strings.Repeat("x", 2*separateBytes))
	if err := driverOf(b).db.Flush(); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		want := fs.FileMode(0o600)
		if e.IsDir() {
			want = 0o700
		}
		if err == nil && info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestADirectoryWhoseMakingWasInterruptedIsMadeAgain(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for n := int64(1); ; n++ {
		disk := newTestDisk()
		disk.until.Store(n)
		b, err := Open("data", Options{FS: disk, Logger: quiet})
		if err == nil {
			b.Close()
			if n < 20 {
				t.Errorf("a directory is made with %d changes of the disk", n)
			}
			return
		}
		left := disk.cut(rng.IntN(101), rng)
		if b, err = Open("data", Options{FS: left, Logger: quiet}); err != nil {
			t.Fatalf("after the power was cut at change %d: %v", n, err)
		}
		createTopic(t, b, "t", 1)
		publish(t, b, "t", "a")
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// What is not Millrace's is called so, whatever its files look like.
func TestWhatIsNoDataDirectoryIsSaid(t *testing.T) {
	foreign, file := t.TempDir(), filepath.Join(t.TempDir(), "file")
	for _, name := range []string{"build.log", "OWNER", "notes.sst", "marker.txt", "MANIFEST-of-goods"} {
		must(t, os.WriteFile(filepath.Join(foreign, name), []byte("x"), 0o600))
	}
	must(t, os.WriteFile(file, nil, 0o600))
	before := snapshot(t, foreign)
	elsewhere := filepath.Join(t.TempDir(), "to")
	ways := map[string]func(dir string) error{
		"open":   func(dir string) error { return opened(Open(dir, Options{Logger: quiet})) },
		"read":   func(dir string) error { return opened(Open(dir, Options{Logger: quiet, ReadOnly: true})) },
		"check":  func(dir string) error { _, err := Check(t.Context(), dir, ""); return err },
		"backup": func(dir string) error { return Backup(t.Context(), dir, elsewhere) },
	}
	for way, do := range ways {
		for dir, want := range map[string]string{foreign: "it is no data directory of Millrace", file: "it is a file: name a directory", "": "its name is empty"} {
			err := do(dir)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s %q gives %v, want: %s", way, dir, err, want)
			}
			if hinted := err != nil && strings.Contains(err.Error(), "empty or does not exist"); hinted != (way == "open" && dir == foreign) {
				t.Errorf("%s %q gives a hint that is not apt, or none: %v", way, dir, err)
			}
		}
	}
	sameFiles(t, "after it was refused", before, snapshot(t, foreign))
	if _, err := Check(t.Context(), stopped(t), foreign); err == nil || !strings.Contains(err.Error(), "empty or does not exist") {
		t.Errorf("a salvage to it gives %v", err)
	}
}

// opened closes a broker that should not have been opened.
func opened(b *broker.Broker, err error) error {
	if err != nil {
		return err
	}
	return b.Close()
}

func TestOptionsThatMeanNothingAreRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	for name, o := range map[string]Options{
		"MaxRecordBytes":  {MaxRecordBytes: -1},
		"HandoverTimeout": {HandoverTimeout: -1},
		"CacheBytes":      {CacheBytes: -1},
		"Durability":      {Durability: 2},
	} {
		if err := opened(Open(dir, o)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s gives %v", name, err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a directory: %v", err)
	}
}
