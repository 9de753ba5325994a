// SPDX-License-Identifier: Apache-2.0

// Package redis starts private Redis servers for tests: real ones, each in a
// directory of its own on a free port of the loopback.
//
// The one idea: a server belongs to the test that started it and is only ever
// ended by its own process, so tests never meet the servers of others.
package redis

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/millrace-ml/millrace/internal/test/servers/ports"
)

// Options of a server. The zero value keeps nothing when it ends.
type Options struct {
	// AppendFsync is Redis's setting of that name: "always", "everysec" or "no".
	// Empty turns the append-only file off, so that a restarted server is empty.
	AppendFsync string

	// Password that clients must give; empty for none.
	Password string

	// Args are more settings, such as "--maxmemory", "64mb".
	Args []string
}

// Server is a running Redis server. Its methods fail the test that started it.
type Server struct {
	t       testing.TB
	options Options
	dir     string
	port    int

	mu      sync.Mutex
	process *exec.Cmd
	ended   chan struct{} // closed when process has ended
}

// Start starts a server, which ends with the test. Where no redis-server is
// installed the test is skipped, or fails in CI, where nothing may be missing.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	port, err := free.Take()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, options: o, dir: t.TempDir(), port: port}
	s.Start()
	t.Cleanup(func() { s.end(syscall.SIGKILL) })
	return s
}

func program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	const missing = "%s is not installed: run scripts/fetch-redis.sh"
	if os.Getenv("CI") != "" {
		t.Fatalf(missing, name)
	}
	t.Skipf(missing, name)
	return ""
}

// free are the ports of servers; that of the cluster bus is 10,000 above each.
var free = ports.Range{First: 15_000, Count: 7_000, Distances: []int{10_000}}

// Addr is where the server listens: host:port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL is the address as a pipeline file has it, without the password.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// Client is a plain client of the server, which is closed with the test.
func (s *Server) Client() *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: s.Addr(), Password: s.options.Password, Protocol: 2, DisableIdentity: true})
	s.t.Cleanup(func() { c.Close() })
	return c
}

// Start starts the server again, with what is on its disk, and waits until it
// answers.
func (s *Server) Start() {
	s.t.Helper()
	s.Launch()
	s.WaitReady()
}

// Launch starts a server that was ended, without waiting for it.
func (s *Server) Launch() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repair()
	log, err := os.OpenFile(filepath.Join(s.dir, "redis.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program(s.t, "redis-server"), s.arguments()...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	cmd.SysProcAttr = endWithParent()
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("start redis-server: %v", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	s.process, s.ended = cmd, ended
}

// repair cuts off a transaction that a killed server has written in part. Redis
// would do so by itself, but leaves the transaction's beginning in the file, and
// carries it out when it is started once more; see docs/brokers/redis.md.
func (s *Server) repair() {
	s.t.Helper()
	manifest := filepath.Join(s.dir, "appendonlydir", "appendonly.aof.manifest")
	if _, err := os.Stat(manifest); err != nil {
		return
	}
	fix := exec.Command(program(s.t, "redis-check-aof"), "--fix", manifest)
	fix.Stdin = strings.NewReader("y\n")
	if out, err := fix.CombinedOutput(); err != nil {
		s.t.Fatalf("redis-check-aof --fix: %v\n%s", err, out)
	}
}

func (s *Server) arguments() []string {
	args := []string{
		"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir,
		"--save", "", "--daemonize", "no", "--loglevel", "notice",
	}
	if s.options.AppendFsync == "" {
		args = append(args, "--appendonly", "no")
	} else {
		args = append(args, "--appendonly", "yes", "--appendfsync", s.options.AppendFsync,
			"--auto-aof-rewrite-percentage", "0", "--aof-load-truncated", "no")
	}
	if s.options.Password != "" {
		args = append(args, "--requirepass", s.options.Password)
	}
	return append(args, s.options.Args...)
}

// WaitReady waits until the server has read what is on its disk and answers.
func (s *Server) WaitReady() {
	s.t.Helper()
	c := redis.NewClient(&redis.Options{Addr: s.Addr(), Password: s.options.Password, Protocol: 2, DisableIdentity: true, MaxRetries: -1})
	defer c.Close()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err := c.Ping(ctx).Err()
		cancel()
		if err == nil {
			return
		}
		if !s.running() {
			s.t.Fatalf("redis-server ended at once:\n%s", s.Log())
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("redis-server does not answer: %v\n%s", err, s.Log())
		}
	}
}

func (s *Server) running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return false
	}
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

// Log is what the server has written to its log.
func (s *Server) Log() string {
	text, _ := os.ReadFile(filepath.Join(s.dir, "redis.log"))
	return string(text)
}

// Kill ends the server as kill -9 does.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

// Stop ends the server in good order.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Restart kills the server and starts it again.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	s.Start()
}

// Pause stops the server in its tracks, connections open, until Resume.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		_ = s.process.Process.Signal(sig)
	}
}

func (s *Server) end(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return
	}
	_ = s.process.Process.Signal(sig)
	_ = s.process.Process.Signal(syscall.SIGCONT)
	<-s.ended
	s.process = nil
}
