// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"net"
	"net/http"
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

// freePort is an address that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
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
			port := freePort(t)
			run := launch(t, "run", "desk.yaml", "--listen", port)
			conn, err := silent.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil { // it waits for an answer now
				t.Fatal(err)
			}
			for at, want := range map[string]int{"/healthz": 200, "/readyz": 503, "/v1/topics": 503} {
				resp, err := http.Get("http://" + port + at)
				if err != nil {
					t.Fatal(err)
				}
				if resp.Body.Close(); resp.StatusCode != want {
					t.Errorf("%s: %s while it waits for its broker", at, resp.Status)
				}
			}
			if code := run.stop(syscall.SIGTERM); code != exitOK {
				t.Errorf("exit code %d\n%s", code, run.logged())
			}
		})
	}
}
