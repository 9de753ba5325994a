// SPDX-License-Identifier: Apache-2.0

package brokers

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDurabilityIsAParameterOfTheEmbeddedBroker(t *testing.T) {
	for _, url := range []string{"", "embedded", "embedded?durability=fsync", "embedded?durability=os"} {
		dir := t.TempDir()
		b, err := Open(t.Context(), url, Options{DataDir: dir, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		// The broker marks a directory whose log is not synced.
		marks, err := filepath.Glob(filepath.Join(dir, "UNSYNCED"))
		if err != nil {
			t.Fatal(err)
		}
		if unsynced := strings.HasSuffix(url, "=os"); unsynced != (len(marks) > 0) {
			entries, _ := os.ReadDir(dir)
			t.Errorf("%s: unsynced is %v, the directory has %v", url, len(marks) > 0, entries)
		}
		if !Embedded(url) {
			t.Errorf("%s is not embedded", url)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	for url, want := range map[string]string{
		"embedded?durability=fast":    `the embedded broker: durability "fast": write fsync or os`,
		"embedded?fsync=no":           `the embedded broker has no parameter "fsync": it has durability=fsync or os`,
		"embedded://bob:secret@h?x=1": "the embedded broker has no address: write embedded, and its folder as the data directory",
		"secret@host:6379":            "the broker's URL has no scheme: write embedded or redis://host:6379 or kafka://host:9092",
		"://bob:secret@host":          "the embedded broker has no address: write embedded, and its folder as the data directory",
		"reids://bob:secret@host":     `no broker has the scheme "reids": write embedded or redis://host:6379 or kafka://host:9092`,
	} {
		if _, err := Open(t.Context(), url, Options{DataDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)}); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", url, err, want)
		}
	}
}
