// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
)

// killed is a directory as a killed process leaves it, and how many records of
// topic t it has acknowledged.
func killed(t testing.TB, marked bool) (dir string, records int64) {
	t.Helper()
	live := t.TempDir()
	b := openDir(t, live, Options{})
	createTopic(t, b, "t", 1)
	for i := range 50 {
		publish(t, b, "t", fmt.Sprintf("record %d %s", i, strings.Repeat("x", i*7)))
	}
	publish(t, b, "t", strings.Repeat("a long record ", 10_000)) // of several blocks
	if marked {
		if err := driverOf(b).fs.ledger.renew(); err != nil {
			t.Fatal(err)
		}
	}
	dir = filepath.Join(t.TempDir(), "data")
	copyLive(t, live, dir)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, 51
}

// newestLog is the log file with the records, and how much of it is written.
func newestLog(t testing.TB, dir string) (path string, written int) {
	t.Helper()
	path, number, err := lastLog(vfs.Default, dir)
	if err != nil || path == "" {
		t.Fatalf("there is no log: %v", err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	written, _ = damagedChunk(data, uint32(number))
	return path, written
}

// alter opens a copy of the directory after it was changed. It returns how many
// records are in it, or why it is not opened.
func alter(t testing.TB, dir string, change func(dir string)) (int64, error) {
	t.Helper()
	altered, err := os.MkdirTemp(t.TempDir(), "altered")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(altered)
	copyTree(t, dir, altered)
	change(altered)
	b, err := Open(altered, Options{Logger: quiet})
	if err != nil {
		return 0, err
	}
	defer b.Close()
	records, err := readAll(b, "t", broker.Start())
	return int64(len(records)), err
}

func flip(t testing.TB, path string, at int, by byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[at] ^= by
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAFlippedByteInTheNewestLogIsAlwaysFound(t *testing.T) {
	for _, marked := range []bool{false, true} {
		t.Run(fmt.Sprintf("marked %v", marked), func(t *testing.T) {
			dir, want := killed(t, marked)
			path, written := newestLog(t, dir)
			name := filepath.Base(path)
			if n, err := alter(t, dir, func(string) {}); err != nil || n != want {
				t.Fatalf("what was killed has %d records, %v; want %d", n, err, want)
			}
			rng := rand.New(rand.NewPCG(3, 4))
			for i := range cuts(60) {
				at := rng.IntN(written)
				if i < chunkHeader {
					at = written - 1 - i // the last chunk has no other behind it
				}
				by := byte(1 + rng.IntN(255))
				n, err := alter(t, dir, func(dir string) { flip(t, filepath.Join(dir, name), at, by) })
				if err == nil || !strings.Contains(err.Error(), name) {
					t.Errorf("byte %d of %d changed by %#x: %d of %d records, error %v; want one that names %s", at, written, by, n, want, err, name)
				}
			}
		})
	}
}

// From where the mark is the newest log may be cut unseen: a crash cuts it so.
func TestACutLogIsFoundUpToTheMark(t *testing.T) {
	dir, want := killed(t, true)
	path, written := newestLog(t, dir)
	name := filepath.Base(path)
	for _, at := range []int{0, 1, written / 2, written - 1} {
		n, err := alter(t, dir, func(dir string) {
			if err := os.Truncate(filepath.Join(dir, name), int64(at)); err != nil {
				t.Fatal(err)
			}
		})
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), name) {
			t.Errorf("cut after %d of %d bytes: %d of %d records, error %v; want one that names %s", at, written, n, want, err, name)
		}
	}
	if n, err := alter(t, dir, func(dir string) { err := os.Remove(filepath.Join(dir, name)); must(t, err) }); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), name) {
		t.Errorf("deleted: %d of %d records, error %v; want one that names %s", n, want, err, name)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// When the log goes on in a new file, the mark says that the old one is whole: it
// may be neither cut, emptied nor deleted, also when no second has passed since.
func TestTheMarkOfAnOlderLogIsOfAllOfIt(t *testing.T) {
	dir := t.TempDir()
	b := openDir(t, dir, Options{})
	createTopic(t, b, "t", 1)
	seen := 0
	for range 8 { // the first ones make files anew, the others use them again
		publish(t, b, "t", "a")
		old, written := newestLog(t, dir)
		must(t, driverOf(b).flush())
		var m mark
		must(t, readSealed(vfs.Default, dir, markFile, &m))
		for _, f := range m.Files {
			if f.Name != filepath.Base(old) {
				continue
			}
			seen++
			if f.Bytes < int64(written) {
				t.Errorf("the mark is of %d bytes of %s, which has %d", f.Bytes, f.Name, written)
			}
		}
	}
	if seen == 0 {
		t.Error("no old log was there any more when it was looked at")
	}
}

func TestWhatIsClosedIsFoundChangedWhateverIsChanged(t *testing.T) {
	dir := stopped(t)
	names := snapshot(t, dir)
	for name, content := range names {
		if name == "LOCK" || strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".blob") {
			continue // of those only the length is looked at
		}
		if _, err := alter(t, dir, func(dir string) { must(t, os.Remove(filepath.Join(dir, name))) }); err == nil || !strings.Contains(err.Error(), name[:min(len(name), 8)]) {
			t.Errorf("without %s: error %v, want one that names it", name, err)
		}
		if len(content) > 0 {
			if _, err := alter(t, dir, func(dir string) { flip(t, filepath.Join(dir, name), len(content)/2, 1) }); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("with a changed byte in %s: error %v, want one that names it", name, err)
			}
		}
	}
}

func TestTheByteThatWasChangedIsFoundByItsChecksum(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	data := make([]byte, 20_000)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	for range 20 {
		at, by := rng.IntN(len(data)), byte(1+rng.IntN(255))
		changed := slices.Clone(data)
		changed[at] ^= by
		if !fix(changed, crc32.Checksum(data, castagnoli)^crc32.Checksum(changed, castagnoli)) || !slices.Equal(changed, data) {
			t.Fatalf("byte %d of %d changed by %#x was not found", at, len(data), by)
		}
	}
	if sum := binary.LittleEndian.Uint32(data); unmask(0xa282ead8+(sum>>15|sum<<17)) != sum {
		t.Error("a masked checksum is not the same again")
	}
}
