// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/broker"
)

// identityFile says that a directory is Millrace's, of which format, and which
// one. Pebble would take any folder for a store of its own: it makes a new one
// where its marker is missing, and deletes every file that is named like its own
// and that the new one does not know.
const identityFile = "MILLRACE"

// directoryFormat is the format that this program reads and writes. It changes
// with the layout of keys and files; see the package's documentation.
const directoryFormat = 2

// identity is what identityFile holds.
type identity struct {
	Format int    `json:"format"`
	ID     string `json:"id"`    // random; also in the log, so that the two belong together
	Ready  bool   `json:"ready"` // false until the directory was opened the first time: nothing was acknowledged
}

func newIdentity() identity {
	var id [12]byte
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	return identity{Format: directoryFormat, ID: hex.EncodeToString(id[:])}
}

func (i identity) write(fsys vfs.FS, dir string) error {
	if err := writeSealed(fsys, dir, identityFile, i); err != nil {
		return fmt.Errorf("write %s: %w", identityFile, err)
	}
	return nil
}

// inspect finds out what a directory is without changing it. The identity is zero
// when the directory is empty or does not exist. The error says what else it is.
func inspect(fsys vfs.FS, dir string) (identity, error) {
	names, err := listDirectory(fsys, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return identity{}, nil
	}
	if err != nil {
		return identity{}, err
	}
	var i identity
	switch err := readSealed(fsys, dir, identityFile, &i); {
	case errors.Is(err, fs.ErrNotExist):
		return identity{}, mustBeEmpty(names)
	case err != nil:
		return identity{}, withRescue(err)
	case i.Format > directoryFormat:
		return identity{}, fmt.Errorf("a newer Millrace has written it, in format %d, and this one reads format %d: use the newer one", i.Format, directoryFormat)
	case i.Format != directoryFormat || i.ID == "":
		return identity{}, fmt.Errorf("it has format %d, and this program reads format %d: use the program that has written it", i.Format, directoryFormat)
	}
	if i.Ready {
		return i, mustBeWhole(fsys, dir, names)
	}
	return i, nil
}

// listDirectory lists the files of a directory.
func listDirectory(fsys vfs.FS, dir string) ([]string, error) {
	info, err := fsys.Stat(dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, errors.New("it is a file: name a directory")
	}
	return fsys.List(dir)
}

var errNoName = errors.New("its name is empty: name a directory")

// foreignError says that a directory is somebody else's.
type foreignError struct{ holds string }

func (e *foreignError) Error() string {
	return fmt.Sprintf("it is no data directory of Millrace and holds other files, such as %s; nothing was changed", e.holds)
}

// forNew adds to an error about a directory that was to be made what to do.
func forNew(err error) error {
	if _, foreign := errors.AsType[*foreignError](err); foreign {
		return fmt.Errorf("%w: name a directory that is empty or does not exist", err)
	}
	return err
}

// rescue is what to do with a directory that is damaged.
const rescue = "restore it from a backup, or copy what is whole with millrace check DIR --salvage TO"

// withRescue adds to an error about damage what to do.
func withRescue(err error) error {
	if !errors.Is(err, ErrDamaged) || strings.Contains(err.Error(), rescue) {
		return err
	}
	return fmt.Errorf("%w: %s", err, rescue)
}

// mustBeEmpty refuses a directory that holds anything and is not known as
// Millrace's.
func mustBeEmpty(names []string) error {
	var found []string
	for _, name := range names {
		switch name {
		case "lost+found", identityFile + temporary: // of a file system's root; of a start that was interrupted
		default:
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return nil
	}
	for _, name := range found {
		if ofLog(name) {
			return fmt.Errorf("file %s is missing, and there are files of a log, such as %s: either the directory was copied without some of its files, "+
				"then copy all of them, or a Millrace from before format %d has written it, then use that one; nothing was changed", identityFile, name, directoryFormat)
		}
	}
	return &foreignError{found[0]}
}

// logFile matches files that every log of Pebble has and hardly anything else.
var logFile = regexp.MustCompile(`^(marker\.(manifest|format-version)\..*|(MANIFEST|OPTIONS)-\d+|CURRENT)$`)

// ofLog reports whether a file is one by which a log is known. Other files of
// Pebble have names like 000012.log, as files of other programs may.
func ofLog(name string) bool { return logFile.MatchString(name) }

// mustBeWhole refuses a directory without files that it must have.
func mustBeWhole(fsys vfs.FS, dir string, names []string) error {
	missing := missingFiles(fsys, dir, names)
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s is missing: copy the directory anew with all its files, empty ones too, or %s; nothing was changed",
		ErrDamaged, strings.Join(missing, ", "), rescue)
}

// missingFiles are those that every directory must have and this one has not. Names
// alone are looked at.
func missingFiles(fsys vfs.FS, dir string, names []string) (missing []string) {
	need := []struct{ prefix, what string }{
		{markFile, markFile},
		{"marker.manifest.", "marker.manifest.*"},
		{"marker.format-version.", "marker.format-version.*"},
		{"MANIFEST-", "MANIFEST-*"},
		{"OPTIONS-", "OPTIONS-*"},
	}
	for _, n := range need {
		found := false
		for _, name := range names {
			found = found || strings.HasPrefix(name, n.prefix) && !strings.HasSuffix(name, temporary)
		}
		if !found {
			missing = append(missing, n.what)
		}
	}
	for _, name := range names {
		// A marker's name is marker.WHAT.ITERATION.VALUE; see Pebble's vfs/atomicfs.
		if rest, ok := strings.CutPrefix(name, "marker.manifest."); ok {
			_, manifest, _ := strings.Cut(rest, ".")
			if _, err := fsys.Stat(fsys.PathJoin(dir, manifest)); errors.Is(err, fs.ErrNotExist) {
				missing = append(missing, manifest)
			}
		}
	}
	return missing
}

// ErrDamaged is matched by errors that say that files of a data directory are
// missing or not as they were written. They name the file.
var ErrDamaged = errors.New("the data directory is damaged")

// privateDisk makes files that only the owner may read, whatever the umask is.
type privateDisk struct{ vfs.FS }

// Create implements vfs.FS.
func (p privateDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return private(name)(p.FS.Create(name, c))
}

// OpenReadWrite implements vfs.FS.
func (p privateDisk) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return private(name)(p.FS.OpenReadWrite(name, c, o...))
}

// Lock implements vfs.FS.
func (p privateDisk) Lock(name string) (io.Closer, error) {
	lock, err := p.FS.Lock(name)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(name, 0o600); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// Unwrap implements vfs.FS.
func (p privateDisk) Unwrap() vfs.FS { return p.FS }

func private(name string) func(vfs.File, error) (vfs.File, error) {
	return func(f vfs.File, err error) (vfs.File, error) {
		if err != nil {
			return nil, err
		}
		if err := os.Chmod(name, 0o600); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return f, nil
	}
}

// errReadOnly is what a broker answers that was opened for reading.
var errReadOnly = fmt.Errorf("%w: the data directory is open for reading only", broker.ErrRefused)
