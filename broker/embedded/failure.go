// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"sync/atomic"

	"github.com/millrace-ml/millrace/broker"
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
	err = &failedError{err}
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

// failedError is what every call gives after a failure. It matches
// [broker.ErrRefused], so that who tries again for as long as a broker is away
// ends instead, and the program can be started anew.
type failedError struct{ err error }

func (e *failedError) Error() string {
	return "the log has failed, open it again to recover: " + e.err.Error()
}

func (e *failedError) Unwrap() error { return e.err }

func (e *failedError) Is(target error) bool { return target == broker.ErrRefused }
