// SPDX-License-Identifier: Apache-2.0

package redis

import "syscall"

// endWithParent kills the server when the test program dies without cleaning
// up, as it does after a timeout.
func endWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
