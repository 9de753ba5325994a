// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"strings"
	"testing"
)

func TestNegativeOptionsAreRefused(t *testing.T) {
	for name, o := range map[string]Options{
		"MaxRecordBytes":  {MaxRecordBytes: -1},
		"HandoverTimeout": {HandoverTimeout: -1},
	} {
		b, err := Open(t.Context(), "redis://127.0.0.1:1", o)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s gives %v, %v", name, b, err)
		}
	}
}
