// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
)

// flips is at how many random places each file is changed: 200 in make torture.
func flips() int {
	if n, err := strconv.Atoi(os.Getenv("MILLRACE_TORTURE")); err == nil {
		return n
	}
	return 2
}

// injury is a way to damage a file.
type injury struct {
	name string
	do   func(data []byte) []byte // nil: the file is deleted
}

func injuries(rng *rand.Rand, size int) []injury {
	all := []injury{
		{"deleted", func([]byte) []byte { return nil }},
		{"appended to", func(data []byte) []byte { return append(data, "something else"...) }},
	}
	if size == 0 {
		return all
	}
	all = append(all,
		injury{"emptied", func([]byte) []byte { return []byte{} }},
		injury{"cut by a byte", func(data []byte) []byte { return data[:len(data)-1] }},
		injury{"cut in the middle", func(data []byte) []byte { return data[:len(data)/2] }},
	)
	for range flips() {
		at, by := rng.IntN(size), byte(1+rng.IntN(255))
		all = append(all, injury{fmt.Sprintf("changed at byte %d by %#x", at, by), func(data []byte) []byte {
			data[at] ^= by
			return data
		}})
	}
	return all
}

// Every file and every kind of damage: it is detected with the file's name, or
// changes nothing. Never is something lost without a word, or a file deleted that
// was not understood.
func TestTorture(t *testing.T) {
	t.Parallel()
	t.Run("closed", func(t *testing.T) {
		t.Parallel()
		dir, _ := filled(t)
		torture(t, dir)
	})
	t.Run("killed", func(t *testing.T) {
		t.Parallel()
		live, _ := filled(t)
		b := openDir(t, live, Options{})
		for i := range 30 {
			publish(t, b, "t", fmt.Sprintf("late %d %s", i, strings.Repeat("x", 40*i)))
		}
		must(t, driverOf(b).fs.ledger.renew())
		dir := filepath.Join(t.TempDir(), "data")
		copyLive(t, live, dir)
		must(t, b.Close())
		torture(t, dir)
	})
}

func torture(t *testing.T, dir string) {
	rng := rand.New(rand.NewPCG(11, 12))
	whole, err := inside(t, dir)
	must(t, err)
	names := slices.Sorted(maps.Keys(snapshot(t, dir)))
	detected, unchanged := 0, 0
	for _, name := range names {
		info, err := os.Stat(filepath.Join(dir, name))
		must(t, err)
		for _, injury := range injuries(rng, int(info.Size())) {
			found, err := tortureOne(t, dir, name, injury, whole)
			if err != nil {
				t.Errorf("%s %s: %v", name, injury.name, err)
			}
			if found {
				detected++
			} else {
				unchanged++
			}
		}
	}
	t.Logf("%d files: %d injuries were detected, %d changed nothing", len(names), detected, unchanged)
	if detected == 0 {
		t.Error("none was detected")
	}
}

// tortureOne damages a file of a copy and opens it.
func tortureOne(t *testing.T, dir, name string, injury injury, whole string) (detected bool, err error) {
	hurt, err := os.MkdirTemp(t.TempDir(), "hurt")
	must(t, err)
	defer os.RemoveAll(hurt)
	copyTree(t, dir, hurt)
	path := filepath.Join(hurt, name)
	data, err := os.ReadFile(path)
	must(t, err)
	if data = injury.do(data); data == nil {
		must(t, os.Remove(path))
	} else {
		must(t, os.WriteFile(path, data, 0o600))
	}
	before := snapshot(t, hurt)
	is, err := inside(t, hurt)
	switch {
	case err == nil && is == whole:
		return false, nil
	case err == nil:
		return false, errors.New("something else is in it, and nothing is said")
	case strings.Contains(err.Error(), "\n\t"), strings.Contains(err.Error(), "goroutine"):
		return true, fmt.Errorf("the error is a stack: %w", err)
	}
	// A file that is not there any more is named by what it is.
	if kind := strings.TrimRight(name[:min(len(name), 12)], "0123456789."); !strings.Contains(err.Error(), name) && (data != nil || kind == "" || !strings.Contains(err.Error(), kind)) {
		return true, fmt.Errorf("the error does not name it: %w", err)
	}
	after := snapshot(t, hurt)
	for file := range before {
		if _, there := after[file]; !there && strings.Contains(err.Error(), "open data directory") && file != ownerFile {
			return true, fmt.Errorf("it was refused, and %s was deleted: %w", file, err)
		}
	}
	return true, nil
}

// inside is all that a directory holds.
func inside(t *testing.T, dir string) (_ string, err error) {
	b, err := Open(dir, Options{Logger: quiet, CacheBytes: 1})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	infos, err := b.Topics(t.Context())
	if err != nil {
		return "", err
	}
	slices.SortFunc(infos, func(x, y broker.TopicInfo) int { return strings.Compare(x.Name, y.Name) })
	var all strings.Builder
	for _, info := range infos {
		records, err := readAll(b, info.Name, broker.Start())
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&all, "%s %d\n", info.Name, info.Partitions)
		for _, r := range records {
			fmt.Fprintf(&all, "%d %d %x\n", r.Partition, r.Offset, r.Value)
		}
	}
	lags, err := b.Lag(t.Context(), "g")
	if err != nil {
		return "", err
	}
	fmt.Fprintf(&all, "%v", lags)
	return all.String(), nil
}

// check says of every file that is missing that it is, by its name, leaves the
// directory as it was, and saves what it can or leaves nothing.
func TestCheckNamesEveryFileThatIsMissing(t *testing.T) {
	closed, _ := filled(t)
	killed := filledAndKilled(t)
	for state, dir := range map[string]string{"closed": closed, "killed": killed} {
		for _, name := range slices.Sorted(maps.Keys(snapshot(t, dir))) {
			t.Run(state+"/"+name, func(t *testing.T) { checkWithout(t, dir, name) })
		}
	}
}

// filledAndKilled is a directory like a closed one that was opened, written to and
// not closed.
func filledAndKilled(t *testing.T) string {
	t.Helper()
	killed := filepath.Join(t.TempDir(), "killed")
	live, _ := filled(t)
	b := openDir(t, live, Options{})
	publish(t, b, "t", "late")
	must(t, driverOf(b).fs.ledger.renew())
	copyLive(t, live, killed)
	must(t, b.Close())
	return killed
}

// A table or blob file that is missing after a kill is no longer needed, or is: then
// what is copied is not whole, and would be taken for whole.
func TestNoBackupLacksAFileThatIsNeeded(t *testing.T) {
	dir := filledAndKilled(t)
	for name := range snapshot(t, dir) {
		if !strings.HasSuffix(name, ".blob") && !strings.HasSuffix(name, ".sst") {
			continue
		}
		hurt, to := filepath.Join(t.TempDir(), "hurt"), filepath.Join(t.TempDir(), "to")
		copyTree(t, dir, hurt)
		must(t, os.Remove(filepath.Join(hurt, name)))
		if err := Backup(t.Context(), hurt, to); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s a backup gives %v", name, err)
		}
	}
	// One that the mark knows and nothing needs.
	var m mark
	must(t, readSealed(privateDisk{vfs.Default}, dir, markFile, &m))
	m.Files = append(m.Files, fileMark{Name: "000001.blob", Bytes: 1})
	must(t, m.write(privateDisk{vfs.Default}, dir, true))
	to := filepath.Join(t.TempDir(), "to")
	must(t, Backup(t.Context(), dir, to))
	if r := checked(t, to, ""); !r.Whole() {
		t.Errorf("the backup is %+v", r)
	}
	if _, err := inside(t, dir); err != nil {
		t.Errorf("without a file that is not needed: %v", err)
	}
}

// checkWithout checks a copy of a directory that a file is missing from.
func checkWithout(t *testing.T, dir, name string) {
	hurt, to := filepath.Join(t.TempDir(), "hurt"), filepath.Join(t.TempDir(), "to")
	copyTree(t, dir, hurt)
	must(t, os.Remove(filepath.Join(hurt, name)))
	before := snapshot(t, hurt)
	r, err := Check(t.Context(), hurt, to)
	must(t, err)
	sameFiles(t, "after the check", before, snapshot(t, hurt))
	if r.Whole() && (ofPebble(name) || name == markFile || name == identityFile) {
		t.Errorf("it is found whole: %+v", r)
	}
	// One of those of which there is one, under any name, is named by what it is.
	kind := strings.TrimRight(name, "-.0123456789MANIFEST")
	if said := fmt.Sprintf("%+v", r); !r.Whole() && !strings.Contains(said, name) && !strings.Contains(said, cmp.Or(kind, name)) {
		t.Errorf("the file is not named: %s", said)
	}
	if _, err := os.Stat(to); r.Saved == 0 && err == nil {
		t.Error("nothing was saved, and there is a directory")
	} else if r.Saved > 0 {
		saved := openDir(t, to, Options{})
		if n := count(t, saved, "t"); n != r.Saved {
			t.Errorf("%d records are in what was salvaged, want %d", n, r.Saved)
		}
	}
}
