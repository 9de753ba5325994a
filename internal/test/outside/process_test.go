// SPDX-License-Identifier: Apache-2.0

package outside

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// desk is a folder with the example's pipeline on some broker, and the programs
// that run there.
type desk struct {
	*testing.T
	dir string
	env []string
}

func (d desk) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env = d.dir, append(os.Environ(), d.env...)
	return cmd
}

// call runs a program that has to succeed and returns what it prints.
func (d desk) call(program string, args ...string) string {
	d.Helper()
	cmd := d.command(d.Context(), program, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		d.Fatalf("%s: %v\n%s%s", strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String()
}

// server is a program that serves HTTP until it is stopped.
type server struct {
	desk
	base string
	cmd  *exec.Cmd
	log  *log
}

// log is a process's standard error.
type log struct {
	mu      sync.Mutex
	text    bytes.Buffer
	address chan string // the first that it tells
}

var address = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.text.Write(p)
	if at := address.Find(l.text.Bytes()); at != nil {
		select {
		case l.address <- string(at):
		default:
		}
	}
	return n, err
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start starts a program and waits for the address that it logs.
func (d desk) start(program string, args ...string) *server {
	d.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	s := &server{desk: d, cmd: d.command(ctx, program, args...), log: &log{address: make(chan string, 1)}}
	s.cmd.Stderr = s.log
	if err := s.cmd.Start(); err != nil {
		cancel()
		d.Fatal(err)
	}
	d.Cleanup(func() {
		cancel()
		_ = s.cmd.Wait() // stop may have waited
	})
	select {
	case s.base = <-s.log.address:
	case <-time.After(time.Minute):
		d.Fatalf("it tells no address:\n%s", s.log)
	}
	return s
}

// stop lets the program drain, which it has to do cleanly.
func (s *server) stop() {
	s.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		s.Errorf("it ended with %v:\n%s", err, s.log)
	}
}

// get returns what is at a path, or fails unless the status is 200.
func (s *server) get(path string) string {
	s.Helper()
	request, err := http.NewRequestWithContext(s.Context(), http.MethodGet, s.base+path, nil)
	if err != nil {
		s.Fatal(err)
	}
	return s.do(request)
}

// publish publishes records, each a JSON object.
func (s *server) publish(topic string, records ...string) {
	s.Helper()
	body := strings.NewReader(strings.Join(records, "\n"))
	request, err := http.NewRequestWithContext(s.Context(), http.MethodPost, s.base+"/v1/topics/"+topic+"/records?key=customer", body)
	if err != nil {
		s.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-ndjson")
	s.do(request)
}

func (s *server) do(request *http.Request) string {
	s.Helper()
	client := http.Client{Timeout: time.Minute}
	defer client.CloseIdleConnections()
	answer, err := client.Do(request)
	if err != nil {
		s.Fatalf("%v\n%s", err, s.log)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		s.Fatalf("%s %s: %s, %v\n%s\n%s", request.Method, request.URL, answer.Status, err, body, s.log)
	}
	return string(body)
}

// answer is a gathered record.
type answer struct {
	Revision int
	Status   string
	Source   struct{ Customer string }
	Parts    map[string]struct {
		Status, Error string
		Value         json.RawMessage
	}
}

// answers waits for so many records of the gather, from the beginning.
func (s *server) answers(n string) []answer {
	s.Helper()
	lines := json.NewDecoder(strings.NewReader(s.get("/v1/topics/desk/records?follow=true&max=" + n)))
	var all []answer
	for lines.More() {
		var record struct{ Value answer }
		if err := lines.Decode(&record); err != nil {
			s.Fatal(err)
		}
		all = append(all, record.Value)
	}
	return all
}
