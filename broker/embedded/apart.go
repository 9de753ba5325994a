// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrNotApart is matched by errors that say that what is to be copied and the place
// to copy it to are one directory, or that one is inside the other.
var ErrNotApart = errors.New("the copy must be outside of the directory that is copied, and that outside of the copy")

// Apart returns nil when neither directory is the other or inside it, wherever
// symbolic links lead. They need not exist. Otherwise the error matches
// [ErrNotApart] and names both.
func Apart(from, to string) error {
	toInFrom, err := isWithin(to, from)
	if err != nil {
		return err
	}
	fromInTo, err := isWithin(from, to)
	switch {
	case err != nil:
		return err
	case toInFrom && fromInTo:
		return fmt.Errorf("%s and %s are the same directory: %w", from, to, ErrNotApart)
	case toInFrom:
		return fmt.Errorf("%s is inside %s: %w", to, from, ErrNotApart)
	case fromInTo:
		return fmt.Errorf("%s is inside %s: %w", from, to, ErrNotApart)
	}
	return nil
}

// isWithin reports whether a path is a directory or below it.
func isWithin(path, dir string) (bool, error) {
	path, err := resolved(path)
	if err != nil {
		return false, err
	}
	if dir, err = resolved(dir); err != nil {
		return false, err
	}
	// Of what exists the files are compared: there are mounts, and file systems that
	// do not tell capitals apart.
	info, statErr := os.Stat(dir)
	for {
		if path == dir {
			return true, nil
		}
		if is, err := os.Stat(path); err == nil && statErr == nil && os.SameFile(is, info) {
			return true, nil
		}
		above := filepath.Dir(path)
		if above == path {
			return false, nil
		}
		path = above
	}
}

// resolved is an absolute path without symbolic links in the part that exists.
func resolved(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for at, rest := path, ""; ; {
		if real, err := filepath.EvalSymlinks(at); err == nil {
			return filepath.Join(real, rest), nil
		}
		above := filepath.Dir(at)
		if above == at {
			return path, nil
		}
		at, rest = above, filepath.Join(filepath.Base(at), rest)
	}
}
