// SPDX-License-Identifier: Apache-2.0

package outside

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/millrace-ml/millrace/internal/test/servers/kafka"
)

const (
	millrace = "github.com/millrace-ml/millrace"
	name     = "example.org/outside" // of the module
)

func TestMain(m *testing.M) {
	code := m.Run()
	if kafkaBegun.Load() {
		if cluster, err := startKafka(); err == nil {
			cluster.Stop()
		}
	}
	if err := goleak.Find(); code == 0 && err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		code = 1
	}
	os.Exit(code)
}

// startKafka starts a cluster, once for all tests, or waits until it is started.
var startKafka = sync.OnceValues(func() (*kafka.Cluster, error) { return kafka.Start(kafka.Options{}) })

func onKafka(t *testing.T) string {
	t.Helper()
	cluster, err := startKafka()
	kafka.Require(t, err)
	return cluster.URL()
}

var kafkaBegun atomic.Bool // TestMain has to end it

// beginKafka lets it start while the test builds what it needs.
func beginKafka() {
	kafkaBegun.Store(true)
	go startKafka()
}

// module is one of somebody else's, in a folder of its own.
type module struct {
	*testing.T
	dir string
}

var moduleLine = regexp.MustCompile(`(?m)^module .*$`)

// newModule makes a module that requires Millrace as it is here, and whatever
// Millrace requires, so that nothing has to be looked up.
func newModule(t *testing.T) module {
	t.Helper()
	if testing.Short() {
		t.Skip("builds programs")
	}
	m := module{t, t.TempDir()}
	repository, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	requires := moduleLine.ReplaceAllString(read(t, "go.mod"), "module "+name)
	m.write("go.mod", requires+"\nrequire "+millrace+" v0.0.0\n\nreplace "+millrace+" => "+repository+"\n")
	m.write("go.sum", read(t, "go.sum"))
	return m
}

// read is a file of the repository.
func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../..", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (m module) write(path, text string) {
	m.Helper()
	path = filepath.Join(m.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		m.Fatal(err)
	}
}

// goTool runs a go command in the module, without the network, and returns what
// it prints.
func (m module) goTool(args ...string) string {
	m.Helper()
	cmd := exec.CommandContext(m.Context(), "go", args...)
	cmd.Dir = m.dir
	// As the repository is built, so that its packages are compiled once.
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod -trimpath", "GOPROXY=off", "GOWORK=off", "CGO_ENABLED=0")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		m.Fatalf("go %s: %v\n%s%s", strings.Join(args, " "), err, errs.String(), out.String())
	}
	return out.String()
}

// quickly leaves out what only debuggers read, which takes half the time of a link.
const quickly = "-ldflags=-s -w"
