// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/millrace-ml/millrace/broker"
)

// room notes that a change of the disk waits for room. Until it has found some,
// appends are refused: the measured free space does not tell of quotas, inodes
// and file descriptors.
type room struct {
	log *slog.Logger

	mu    sync.Mutex
	why   error
	since time.Time // zero: nothing waits
	last  time.Time // when a change was tried last
}

// roomIsBack is how long after the last failed try there is room again.
const roomIsBack = 5 * retryRoom

// missing is called with each try that found no room.
func (r *room) missing(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.since.IsZero() || now.Sub(r.last) > roomIsBack {
		r.since = now
		r.log.Warn("the log waits until it can write: appends are refused", "missing", lacking(why), "error", why)
	}
	r.why, r.last = why, now
}

// found is called when a change that has waited was made.
func (r *room) found() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end()
}

// end ends the wait. The caller holds r.mu.
func (r *room) end() {
	if !r.since.IsZero() {
		r.log.Info("the log can write again", "waited", r.last.Sub(r.since).Round(time.Millisecond))
		r.since = time.Time{}
	}
}

// check fails with ErrFull while a change waits for room.
func (r *room) check() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since.IsZero() {
		return nil
	}
	if time.Since(r.last) > roomIsBack {
		r.end()
		return nil
	}
	return fmt.Errorf("%w: the log lacks %s (%v); give some back and it goes on", broker.ErrFull, lacking(r.why), r.why) //nolint:errorlint // ErrFull alone is matched
}

func lacking(err error) string {
	switch {
	case errors.Is(err, syscall.EDQUOT):
		return "disk quota"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "file descriptors"
	}
	return "disk space or inodes"
}
