// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Millrace's own files in a data directory are JSON and a line with its checksum,
// replaced as a whole: what is there was written by us and is not damaged.

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// temporary ends the name of a file that will be renamed.
const temporary = ".tmp"

const sealLine = "crc32c "

// writeSealed replaces a file, durably.
func writeSealed(fsys vfs.FS, dir, name string, v any) error {
	data, err := seal(v)
	if err != nil {
		return err
	}
	if err := replaceFile(fsys, dir, name, data); err != nil {
		return err
	}
	return syncDir(fsys, dir)
}

func seal(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	data = append(data, '\n')
	return fmt.Appendf(data, "%s%08x\n", sealLine, crc32.Checksum(data, castagnoli)), nil
}

// replaceFile replaces a file in one step, so that a reader never sees a half.
func replaceFile(fsys vfs.FS, dir, name string, data []byte) error {
	path := fsys.PathJoin(dir, name)
	f, err := fsys.Create(path+temporary, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return fsys.Rename(path+temporary, path)
}

// readSealed reads what writeSealed has written. The error matches ErrDamaged when
// it is not that.
func readSealed(fsys vfs.FS, dir, name string, v any) error {
	data, err := readFile(fsys, fsys.PathJoin(dir, name))
	if err != nil {
		return err
	}
	at := bytes.LastIndex(data, []byte(sealLine))
	if at < 0 || string(data[at:]) != fmt.Sprintf("%s%08x\n", sealLine, crc32.Checksum(data[:at], castagnoli)) {
		return fmt.Errorf("%w: file %s is not as it was written", ErrDamaged, name)
	}
	if err := json.Unmarshal(data[:at], v); err != nil {
		return fmt.Errorf("%w: file %s: %w", ErrDamaged, name, err)
	}
	return nil
}

func readFile(fsys vfs.FS, path string) ([]byte, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	return data, errors.Join(err, f.Close())
}
