// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheSameLineIsLoggedOnceInAWhileAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := lines{to: slog.New(slog.NewTextHandler(&out, nil))}
		for range 1000 {
			l.log(slog.LevelError, "the same")
		}
		l.log(slog.LevelError, "another")
		if n := strings.Count(out.String(), "\n"); n != 2 {
			t.Errorf("%d lines were logged, want 2:\n%s", n, &out)
		}
		time.Sleep(lineEvery)
		l.log(slog.LevelError, "the same")
		if !strings.Contains(out.String(), "left_out=999") {
			t.Errorf("those that were left out are not counted:\n%s", &out)
		}
	})
}
