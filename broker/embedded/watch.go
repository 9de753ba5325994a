// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// watch renews the mark, and looks whether the directory is still there, until the
// broker is closed.
func (d *driver) watch() {
	was := placeOf(d.dir)
	for range d.each(markEvery) {
		if d.options.onDisk && placeOf(d.dir) != was {
			// Who publishes on would write what nobody finds again.
			d.failure.set(fmt.Errorf("directory %s was removed or replaced: %w", d.dir, fs.ErrNotExist))
			return
		}
		if d.options.onDisk {
			d.lookForBackup()
		}
		switch err := d.fs.ledger.renew(); {
		case err == nil:
		case wantsRoom(err):
			d.fs.room.missing(err)
		case !errors.Is(err, fs.ErrNotExist):
			d.failure.set(fmt.Errorf("write %s: %w", markFile, err))
			return
		}
	}
}

// each yields again and again, with such pauses, until the broker is closed or has
// failed.
func (d *driver) each(pause time.Duration) func(yield func() bool) {
	return func(yield func() bool) {
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if !yield() {
					return
				}
			case <-d.closing:
				return
			case <-d.failure.failed:
				return
			}
		}
	}
}
