// SPDX-License-Identifier: Apache-2.0

package brokers

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/millrace-ml/millrace/broker/embedded"
)

// Owner tells which process has a data directory open and the address that it
// noted for others, if any. The pid is 0 when none has.
func Owner(dataDir string) (pid int, address string, err error) {
	pid, address, err = embedded.Owner(dataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, "", nil
	}
	if err != nil {
		return 0, "", fmt.Errorf("find out who has the data directory: %w", err)
	}
	return pid, address, nil
}

// Embedded reports whether a pipeline's broker is the embedded one, which only
// one process can open at a time.
func Embedded(address string) bool { return brokerKind(address) == "embedded" }
