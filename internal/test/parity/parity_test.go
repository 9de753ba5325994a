// SPDX-License-Identifier: Apache-2.0

package parity

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace-ml/millrace/cli"
	"github.com/millrace-ml/millrace/internal/records"
	kafka "github.com/millrace-ml/millrace/internal/test/servers/kafka"
	redis "github.com/millrace-ml/millrace/internal/test/servers/redis"
)

// asProgram, in the environment, makes the test binary the program itself.
const asProgram = "MILLRACE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(cli.Main(cli.Options{}))
	}
	code := m.Run()
	if cluster != nil {
		cluster.Stop()
	}
	os.Exit(code)
}

var (
	start   sync.Once
	cluster *kafka.Cluster
	failure error
)

// onKafka is the address of an empty Kafka. The server is started once, as that
// takes seconds, and emptied for each test.
func onKafka(t *testing.T) string {
	t.Helper()
	start.Do(func() { cluster, failure = kafka.Start(kafka.Options{}) })
	kafka.Require(t, failure)
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.Addrs()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	groups, err := admin.ListGroups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.DeleteGroups(t.Context(), groups.Groups()...); err != nil {
		t.Fatal(err)
	}
	topics, err := admin.ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	topics.FilterInternal()
	if names := topics.Names(); len(names) > 0 {
		if _, err := admin.DeleteTopics(t.Context(), names...); err != nil {
			t.Fatal(err)
		}
	}
	return cluster.URL()
}

// onRedis is the address of an empty Redis.
func onRedis(t *testing.T) string {
	t.Helper()
	return redis.Start(t, redis.Options{AppendFsync: "everysec"}).URL()
}

// onBrokers are all, by name; the first one is what the others must equal.
var onBrokers = []struct {
	name string
	open func(t *testing.T) (url string)
}{
	{"embedded", func(*testing.T) string { return "embedded" }},
	{"redis", onRedis},
	{"kafka", onKafka},
}

// desk is a folder with the support desk's pipeline.
type desk struct {
	*testing.T
	dir string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t, t.TempDir()}
	if err := os.CopyFS(d.dir, os.DirFS("../../../examples/support-desk")); err != nil {
		t.Fatal(err)
	}
	return d
}

var brokerLine = regexp.MustCompile(`(?m)^broker: .*$`)

// pipeline writes the example's pipeline file with another broker line, and
// nothing else changed, and returns its name.
func (d *desk) pipeline(name, url string) string {
	d.Helper()
	text, err := os.ReadFile(filepath.Join(d.dir, "pipeline.yaml"))
	if err != nil {
		d.Fatal(err)
	}
	if n := len(brokerLine.FindAll(text, -1)); n != 1 {
		d.Fatalf("the example names its broker %d times", n)
	}
	file := "pipeline-" + name + ".yaml"
	d.write(file, brokerLine.ReplaceAll(text, []byte("broker: "+url)))
	return file
}

func (d *desk) write(file string, content []byte) {
	d.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, file), content, 0o644); err != nil {
		d.Fatal(err)
	}
}

// messages is the input's file name and how many messages it has.
func (d *desk) messages() (file string, n int) {
	d.Helper()
	if csv := os.Getenv("MILLRACE_PARITY_CSV"); csv != "" {
		absolute, err := filepath.Abs(csv)
		if err != nil {
			d.Fatal(err)
		}
		return absolute, len(d.values(absolute))
	}
	most := 500
	if os.Getenv("MILLRACE_LONG") != "" {
		most = 1 << 30
	}
	var all bytes.Buffer
	for _, name := range []string{"tickets.jsonl", "heldout.jsonl", "training.jsonl", "training-2.jsonl"} {
		f, err := os.Open(filepath.Join(d.dir, name))
		if err != nil {
			d.Fatal(err)
		}
		defer f.Close()
		for lines := bufio.NewScanner(f); n < most && lines.Scan(); n++ {
			var m struct {
				ID   string `json:"id,omitempty"`
				Text string `json:"text"`
			}
			if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
				d.Fatal(err)
			}
			if n%3 == 0 {
				m.ID = "" // a message without an id of its own
			}
			line, err := json.Marshal(m)
			if err != nil {
				d.Fatal(err)
			}
			all.Write(append(line, '\n'))
		}
	}
	d.write("messages.jsonl", all.Bytes())
	return "messages.jsonl", n
}

// values are the messages of a file.
func (d *desk) values(file string) [][]byte {
	d.Helper()
	if !filepath.IsAbs(file) {
		file = filepath.Join(d.dir, file)
	}
	f, err := os.Open(file)
	if err != nil {
		d.Fatal(err)
	}
	defer f.Close()
	values, err := records.Values(f, records.Options{Name: file})
	if err != nil {
		d.Fatal(err)
	}
	return values
}

// millrace is the program, to be started in the desk's folder.
func (d *desk) millrace(args ...string) *exec.Cmd {
	d.Helper()
	self, err := os.Executable()
	if err != nil {
		d.Fatal(err)
	}
	cmd := exec.CommandContext(d.Context(), self, args...)
	cmd.Dir, cmd.Env = d.dir, append(os.Environ(), asProgram+"=1")
	return cmd
}

// must runs the program to its end, which must be good, and returns what it prints.
func (d *desk) must(args ...string) string {
	d.Helper()
	cmd := d.millrace(args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		d.Fatalf("millrace %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return string(out)
}

// serve starts the program and waits until it serves; the returned function stops
// it in good order.
func (d *desk) serve(args ...string) (stop func()) {
	d.Helper()
	cmd := d.millrace(args...)
	log := &serverLog{running: make(chan struct{})}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		d.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil {
			d.Errorf("millrace %s: %v\n%s", strings.Join(args, " "), err, log.text.Bytes())
		}
	})
	d.Cleanup(stop)
	select {
	case <-log.running:
	case err := <-ended:
		ended <- err
		d.Fatalf("millrace %s has ended: %v\n%s", strings.Join(args, " "), err, log.text.Bytes())
	}
	return stop
}

// serverLog is a process's log, which tells when it serves.
type serverLog struct {
	text    bytes.Buffer
	running chan struct{} // closed when it does
	once    sync.Once
}

func (l *serverLog) Write(p []byte) (int, error) {
	l.text.Write(p)
	if bytes.Contains(l.text.Bytes(), []byte(`"msg":"running"`)) {
		l.once.Do(func() { close(l.running) })
	}
	return len(p), nil
}

// answer is a line of the desk's output.
type answer struct {
	ID       string                    `json:"id"`
	Status   string                    `json:"status"`
	Revision int                       `json:"revision"`
	Source   json.RawMessage           `json:"source"`
	Parts    map[string]map[string]any `json:"parts"`
}

// same is an answer without what must differ: how long its parts took and,
// where a message has no id of its own, its place, which is its offset.
func (a answer) same(t *testing.T) string {
	t.Helper()
	for _, p := range a.Parts {
		delete(p, "latency_ms")
	}
	if strings.HasPrefix(a.ID, "tickets/") {
		a.ID = "(place)"
	}
	line, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	return string(line)
}

func parse(t *testing.T, line []byte) answer {
	t.Helper()
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return a
}

// statuses counts answers: "498 complete, 2 partial".
func statuses(answers []answer) string {
	var list []string
	for _, status := range []string{"complete", "partial"} {
		n := 0
		for _, a := range answers {
			if a.Status == status {
				n++
			}
		}
		list = append(list, fmt.Sprint(n, " ", status))
	}
	return strings.Join(list, ", ")
}
