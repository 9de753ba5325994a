// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A copy within the directory would be a part of what is copied.
func TestCopiesGoElsewhere(t *testing.T) {
	dir := stopped(t)
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(dir, link))
	before := snapshot(t, dir)
	places := map[string]string{
		"inside":            filepath.Join(dir, "copy"),
		"deep inside":       filepath.Join(dir, "a", "b"),
		"itself":            dir,
		"inside, by a link": filepath.Join(link, "copy"),
		"itself, by a link": link,
		"around":            filepath.Dir(dir),
	}
	for where, to := range places {
		for what, err := range map[string]error{
			"salvage": func() error { _, err := Check(t.Context(), dir, to); return err }(),
			"backup":  Backup(t.Context(), dir, to),
		} {
			if !errors.Is(err, ErrNotApart) || !strings.Contains(err.Error(), to) {
				t.Errorf("%s to %s (%s) gives %v", what, to, where, err)
			}
		}
	}
	sameFiles(t, "after it was refused", before, snapshot(t, dir))
	must(t, Apart(dir, dir+"-2"))

	// The process that has the directory is asked by a file, which anybody may have written.
	b := openDir(t, dir, Options{})
	if err := driverOf(b).backup(filepath.Join(dir, "copy")); !errors.Is(err, ErrNotApart) {
		t.Errorf("the process itself gives %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := Backup(ctx, dir, filepath.Join(dir, "copy")); !errors.Is(err, ErrNotApart) {
		t.Errorf("a backup of a live directory into itself gives %v", err)
	}
}
