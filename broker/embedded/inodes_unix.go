// SPDX-License-Identifier: Apache-2.0

//go:build linux || darwin

package embedded

import "golang.org/x/sys/unix"

// Inodes tells how many more files a file system can hold, and how many in all;
// 0 in all means that it has no such limit.
func (p privateDisk) Inodes(dir string) (free, total uint64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, 0, err
	}
	return s.Ffree, s.Files, nil
}
