// SPDX-License-Identifier: Apache-2.0

package brokers

import (
	"context"

	"github.com/millrace-ml/millrace/broker/embedded"
)

// CheckDirectory checks a data directory of the embedded broker; see
// [embedded.Check].
func CheckDirectory(ctx context.Context, dir, salvage string) (*embedded.Report, error) {
	return embedded.Check(ctx, dir, salvage)
}

// BackUpDirectory copies a data directory of the embedded broker, also one that a
// process has open; see [embedded.Backup].
func BackUpDirectory(ctx context.Context, dir, to string) error {
	return embedded.Backup(ctx, dir, to)
}
