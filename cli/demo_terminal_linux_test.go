// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pseudoTerminal makes a terminal: what is written to one end is typed at the
// other. See pty(7).
func pseudoTerminal(t *testing.T, columns, rows uint16) (user, program *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { user.Close() })
	fd := int(user.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return user, program
}

// watched is a program on a terminal and what a person there has seen.
type watched struct {
	t     *testing.T
	cmd   *exec.Cmd
	user  *os.File
	seen  chan []byte
	ended chan struct{} // the program has
	all   bytes.Buffer
}

func onTerminal(t *testing.T, env []string, args ...string) (w *watched, program *os.File) {
	t.Helper()
	user, program := pseudoTerminal(t, 100, 30)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	w = &watched{t: t, cmd: exec.CommandContext(ctx, self, args...), user: user, seen: make(chan []byte), ended: make(chan struct{})}
	w.cmd.Stdin, w.cmd.Stdout, w.cmd.Stderr = program, program, program
	w.cmd.Env = append(append(os.Environ(), asProgram+"=1", "TERM=xterm", "NO_COLOR="), env...)
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = w.cmd.Wait() // the exit code says it
		close(w.ended)
	}()
	go func() {
		for buf := make([]byte, 64<<10); ; {
			n, err := user.Read(buf)
			if err != nil {
				return // the test is over
			}
			select {
			case w.seen <- bytes.Clone(buf[:n]):
			case <-t.Context().Done():
				return
			}
		}
	}()
	return w, program
}

// await waits until a text was seen after what was awaited before.
func (w *watched) await(text string) {
	w.t.Helper()
	limit := time.After(50 * time.Second)
	for ended := w.ended; !strings.Contains(w.all.String(), text); {
		select {
		case b := <-w.seen:
			w.all.Write(b)
		case <-ended:
			// What it wrote last may still be under way.
			ended, limit = nil, time.After(time.Second)
		case <-limit:
			w.t.Fatalf("%q does not come; %q", text, w.all.String())
		}
	}
	w.all.Reset()
}

func (w *watched) press(keys string) {
	w.t.Helper()
	if _, err := w.user.WriteString(keys); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watched) exitCode() int {
	w.t.Helper()
	for {
		select {
		case b := <-w.seen:
			w.all.Write(b)
		case <-w.ended:
			return w.cmd.ProcessState.ExitCode()
		}
	}
}

func TestOnATerminalTheDemoObeysKeysAndGivesTheTerminalBack(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	w, program := onTerminal(t, nil, "demo", "--rate", "20")
	before, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	w.await("\x1b[?1049h")
	w.await("classifier")
	w.await("T-10")
	w.press("p")
	w.await("The customers are paused")
	w.press("p2")
	w.await("tagger is stopped")
	w.press("2")
	w.await("tagger is back")
	w.press(" ")
	w.await("2000 messages at once")
	w.press("\x03") // Ctrl-C
	w.await("\x1b[?1049l")
	w.await("messages answered in")
	if code := w.exitCode(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	after, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	if *before != *after {
		t.Errorf("the terminal was\n%+v\nand is\n%+v", before, after)
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("%v is left in the temporary directory (%v)", left, err)
	}
}

func TestTheDemosTerminalMayBeTakenAwayOrWithoutColour(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	w, _ := onTerminal(t, []string{"NO_COLOR=1"}, "demo")
	w.await("\x1b[?1049h")
	w.await("sentiment")
	if strings.Contains(w.all.String(), "\x1b[3") {
		t.Errorf("there is colour in %q", w.all.String())
	}
	if err := w.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	w.exitCode()
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("%v is left in the temporary directory (%v)", left, err)
	}
}
