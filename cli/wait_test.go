// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// nowhere is the address of a server that is not there.
func nowhere(t *testing.T) string {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func TestRunWaitsForItsBrokerUntilItIsStopped(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "desk.yaml", strings.Replace(desk, "name: test", "name: test\nbroker: redis://"+nowhere(t), 1))
	run := launch(t, "run", "desk.yaml", "--listen", "127.0.0.1:0", "--log-level", "info")
	run.await("Redis is out of reach, trying again until it is back")
	if code := run.stop(os.Signal(syscall.SIGTERM)); code != exitOK {
		t.Errorf("exit code %d\n%s", code, run.logged())
	}
}

func TestRunEndsWhenItIsNotToWaitForItsBroker(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "desk.yaml", strings.Replace(desk, "name: test", "name: test\nbroker: redis://"+nowhere(t), 1))
	got := call(t, "", "run", "desk.yaml", "--listen", "127.0.0.1:0", "--wait", "0")
	if got.code != exitFailed || !strings.Contains(got.err, "the broker is out of reach") {
		t.Errorf("exit code %d\n%s", got.code, got.err)
	}
	got = call(t, "", "run", "desk.yaml", "--wait", "long")
	if got.code != exitUsage || !strings.Contains(got.err, "write a time such as 30s, 0, or forever") {
		t.Errorf("exit code %d\n%s", got.code, got.err)
	}
}
