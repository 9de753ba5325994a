// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"fmt"
	"sync/atomic"
)

// failure is set once when the log can no longer be written for another reason
// than a full disk. After a failed fsync nobody knows what is on the disk, so
// the broker stops: every call gives the error until the directory is opened
// again, which recovers from what is really there.
type failure struct {
	err    atomic.Pointer[error]
	failed chan struct{} // closed when it is set: ends the calls that wait
}

func (f *failure) set(err error) {
	err = fmt.Errorf("the log has failed, open it again to recover: %w", err)
	if f.err.CompareAndSwap(nil, &err) {
		close(f.failed)
	}
}

func (f *failure) get() error {
	if p := f.err.Load(); p != nil {
		return *p
	}
	return nil
}
