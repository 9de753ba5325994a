// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
)

// salvage is the directory that what is whole is copied to. Unless all of it was
// copied nothing is left of it: half a salvage opens like a whole one.
type salvage struct {
	dir    string
	before []string // what was in the directory; nil: there was none
	to     *driver
	batch  *pebble.Batch
}

// openSalvage makes the directory.
func openSalvage(dir string) (*salvage, error) {
	o := Options{Logger: slog.New(slog.DiscardHandler)}
	o.setDefaults()
	before, err := o.FS.List(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("salvage to %s: %w", dir, err)
	}
	s := &salvage{dir: dir, before: before}
	if s.to, err = openDriver(dir, o); err != nil {
		return nil, fmt.Errorf("salvage: %w", err)
	}
	s.batch = s.to.db.NewBatch()
	return s, nil
}

// mustBeNew refuses a directory that what is whole cannot be copied to.
func mustBeNew(dir string) error {
	o := Options{}
	o.setDefaults()
	if i, err := inspect(o.FS, dir); err != nil {
		return fmt.Errorf("salvage to %s: %w", dir, forNew(err))
	} else if i.ID != "" {
		return fmt.Errorf("salvage to %s: it is a data directory already: name one that is empty or does not exist", dir)
	}
	return nil
}

// save copies an entry.
func (s *salvage) save(key, value []byte) error {
	if err := s.batch.Set(key, value, nil); err != nil {
		return err
	}
	if s.batch.Len() < 4<<20 {
		return nil
	}
	err := s.to.apply(s.batch, true)
	s.batch.Reset()
	return err
}

// finish makes what was copied durable, or leaves nothing behind.
func (s *salvage) finish(keep bool) error {
	var err error
	if keep {
		err = errors.Join(s.to.apply(s.batch, true), s.to.flush())
	}
	_ = s.batch.Close() // what is in it was applied or is not wanted
	if err = errors.Join(err, s.to.Close()); keep && err == nil {
		return nil
	}
	return errors.Join(err, s.remove())
}

// remove removes what was made.
func (s *salvage) remove() error {
	if s.before == nil {
		return os.RemoveAll(s.dir)
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, name := range s.before {
		known[name] = true
	}
	for _, e := range entries {
		if !known[e.Name()] {
			err = errors.Join(err, os.RemoveAll(filepath.Join(s.dir, e.Name())))
		}
	}
	return err
}
