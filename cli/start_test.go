// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// What is wrong with the address is found before anything is made.
func TestAWrongAddressLeavesNothingBehind(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "desk.yaml", desk)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, address := range []string{"0.0.0.0:8088", "8088", "example.org:80", taken.Addr().String()} {
		got := call(t, "", "run", "desk.yaml", "--listen", address, "--data-dir", "data")
		if got.code != exitUsage || !strings.Contains(got.err, address) {
			t.Errorf("--listen %s: exit code %d\n%s", address, got.code, got.err)
		}
		if _, err := os.Stat("data"); err == nil {
			t.Fatalf("--listen %s made the data directory", address)
		}
	}
}

// A broker that takes connections and says nothing keeps run from starting.
func TestAProcessThatIsStoppedWhileItStartsHasNotFailed(t *testing.T) {
	for _, scheme := range []string{"redis", "kafka"} {
		t.Run(scheme, func(t *testing.T) {
			t.Chdir(t.TempDir())
			silent, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer silent.Close()
			write(t, "desk.yaml", fmt.Sprintf("broker: %s://%s\n%s", scheme, silent.Addr(), desk))
			run := launch(t, "run", "desk.yaml", "--listen", "127.0.0.1:0")
			conn, err := silent.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil { // it waits for an answer now
				t.Fatal(err)
			}
			if code := run.stop(syscall.SIGTERM); code != exitOK {
				t.Errorf("exit code %d\n%s", code, run.logged())
			}
		})
	}
}
