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
	tick := time.NewTicker(markEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-d.closing:
			return
		case <-d.failure.failed:
			return
		}
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
