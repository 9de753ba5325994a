// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// startLimit is how long a process may take until it serves, stopLimit until it
// has drained. The machine may be busy with other tests.
const (
	startLimit = time.Minute
	stopLimit  = time.Minute
)

// worker is a process that runs the pipeline.
type worker struct {
	name    string
	patient bool // its broker may be out of reach when it starts
	command []string
	env     []string
	log     string // file of its standard error, of all lives

	mu   sync.Mutex
	life *life
}

// life is one process of a worker.
type life struct {
	cmd     *exec.Cmd
	address string        // of its HTTP, once serving is closed
	serving chan struct{} // closed when it serves
	ended   chan struct{} // closed when it is gone
	err     error         // how it ended
	tail    []string      // the last lines it logged
}

func newWorker(c Config, file string, number int) *worker {
	name := fmt.Sprintf("worker-%d", number+1)
	command := append([]string(nil), c.Command...)
	command = append(command, "run", file, "--data-dir", dataDir(c.Dir), "--listen", "127.0.0.1:0", "--log-format", "json", "--log-level", "info")
	return &worker{name: name, patient: len(c.Servers) > 0, command: command, env: c.Env, log: filepath.Join(c.Dir, name+".log")}
}

// Name implements [Victim].
func (w *worker) Name() string { return w.name }

// Start implements [Victim].
func (w *worker) Start() error {
	l := &life{
		cmd:     exec.Command(w.command[0], w.command[1:]...),
		serving: make(chan struct{}), ended: make(chan struct{}),
	}
	l.cmd.Env = w.env
	said, err := l.cmd.StderrPipe()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(w.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := l.cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("start %s: %w", w.name, err), log.Close())
	}
	go func() {
		defer close(l.ended)
		l.listen(io.TeeReader(said, log))
		l.err = errors.Join(l.cmd.Wait(), log.Close())
	}()
	w.mu.Lock()
	w.life = l
	w.mu.Unlock()
	return nil
}

// listen reads what the process logs until it ends.
func (l *life) listen(said io.Reader) {
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		l.tail = append(l.tail[max(0, len(l.tail)-20):], lines.Text())
		var entry struct{ Msg, HTTP string }
		if l.address == "" && json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Msg == "running" {
			l.address = entry.HTTP
			close(l.serving)
		}
	}
	_, _ = io.Copy(io.Discard, said) // a line too long to scan must not block it
}

func (w *worker) current() *life {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.life
}

// Ready implements [Victim].
func (w *worker) Ready(ctx context.Context) error {
	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	for {
		l := w.current()
		select {
		case <-l.serving:
			return nil
		case <-l.ended:
			if !w.patient || !l.gaveUp() {
				return fmt.Errorf("%s ended before it served: %w\n%s", w.name, l.err, strings.Join(l.tail, "\n"))
			}
			if err := w.Start(); err != nil {
				return err
			}
		case <-limit.C:
			return fmt.Errorf("%s does not serve after %v\n%s", w.name, startLimit, strings.Join(l.tail, "\n"))
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// gaveUp reports whether a process that has ended did so with an error of its
// own before it served, as one does that does not reach its broker.
func (l *life) gaveUp() bool {
	exit, ok := errors.AsType[*exec.ExitError](l.err)
	return ok && exit.ExitCode() == 1 && l.address == ""
}

// settles waits until the process has settled a batch, but not beyond the limit.
// It reports whether it has.
func (w *worker) settles(ctx context.Context, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for ctx.Err() == nil {
		if m, err := metrics(ctx, w.address()); err == nil && m["millrace_batch_records_count"] > 0 {
			return true
		}
		pause(ctx, 20*time.Millisecond)
	}
	return false
}

// address is where the process of this moment serves HTTP, or "" when it does not.
func (w *worker) address() string {
	l := w.current()
	select {
	case <-l.serving:
		return l.address
	default:
		return ""
	}
}

// Kill implements [Victim]. A process that ended by itself is an error.
func (w *worker) Kill() error {
	l := w.current()
	if l == nil {
		return nil
	}
	select {
	case <-l.ended:
		if w.patient && l.gaveUp() {
			return nil
		}
		return fmt.Errorf("%s had ended before it was killed: %w\n%s", w.name, l.err, strings.Join(l.tail, "\n"))
	default:
	}
	if err := l.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill %s: %w", w.name, err)
	}
	<-l.ended
	if exit := (*exec.ExitError)(nil); !errors.As(l.err, &exit) || exit.Exited() {
		return fmt.Errorf("%s ended by itself as it was killed: %w\n%s", w.name, l.err, strings.Join(l.tail, "\n"))
	}
	return nil
}

// alive is an error that says how the process ended, if it has.
func (w *worker) alive() error {
	l := w.current()
	select {
	case <-l.ended:
		return fmt.Errorf("%s has ended by itself: %w\n%s", w.name, l.err, strings.Join(l.tail, "\n"))
	default:
		return nil
	}
}

// stop asks the process to end and returns nil if it ends with exit code 0.
func (w *worker) stop() error {
	l := w.current()
	if err := l.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop %s: %w", w.name, err)
	}
	select {
	case <-l.ended:
	case <-time.After(stopLimit):
		return fmt.Errorf("%s still runs %v after SIGTERM", w.name, stopLimit)
	}
	if l.err != nil {
		return fmt.Errorf("%s after SIGTERM: %w\n%s", w.name, l.err, strings.Join(l.tail, "\n"))
	}
	return nil
}
