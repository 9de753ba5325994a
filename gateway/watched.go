// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
)

// recheck is how often files are looked at, at most.
const recheck = time.Second

// watched is what was read of files, and is read again when they have changed. No
// goroutine waits for that: whoever needs it looks.
type watched[T any] struct {
	files []string
	read  func() (T, error)
	log   *slog.Logger

	mu     sync.Mutex
	looked time.Time
	seen   []stamp // of the files, as they were read last
	value  T
}

// stamp tells versions of a file apart.
type stamp struct {
	modified time.Time
	size     int64
}

// watch reads the files for the first time.
func watch[T any](read func() (T, error), log *slog.Logger, files ...string) (*watched[T], error) {
	if log == nil {
		log = slog.Default()
	}
	w := &watched[T]{files: files, read: read, log: log, looked: time.Now()}
	w.seen = w.stamps() // before it is read: a change meanwhile is seen later
	var err error
	w.value, err = read()
	return w, err
}

func (w *watched[T]) stamps() []stamp {
	all := make([]stamp, len(w.files))
	for i, name := range w.files {
		if info, err := os.Stat(name); err == nil {
			all[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return all
}

// get is what the files say. While they cannot be read it is what they said before,
// as in the middle of their being replaced.
func (w *watched[T]) get() T {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.looked) < recheck {
		return w.value
	}
	w.looked = time.Now()
	now := w.stamps()
	if slices.Equal(now, w.seen) {
		return w.value
	}
	w.seen = now
	value, err := w.read()
	if err != nil {
		w.log.Error("a changed file cannot be used, what it said before holds", "file", w.files[0], "error", err)
		return w.value
	}
	w.log.Info("read again, as it has changed", "file", w.files[0])
	w.value = value
	return w.value
}
