// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/millrace-ml/millrace/internal/test/servers/ports"
)

// Node is one process of a cluster. It listens on three ports of the loopback.
type Node struct {
	c          *Cluster
	id         int
	dir        string
	addr       string // for clients
	advertised string // what clients are told
	internal   string // for other nodes
	controller string

	mu      sync.Mutex
	process *exec.Cmd
	ended   chan struct{} // closed when process has ended
}

// free are the ports of nodes.
var free = ports.Range{First: 10_000, Count: 5_000}

func newNode(c *Cluster, id int) (*Node, error) {
	n := &Node{c: c, id: id, dir: filepath.Join(c.dir, fmt.Sprint(id))}
	for _, addr := range []*string{&n.addr, &n.internal, &n.controller} {
		port, err := free.Take()
		if err != nil {
			return nil, err
		}
		*addr = net.JoinHostPort("127.0.0.1", fmt.Sprint(port))
	}
	return n, os.MkdirAll(n.dir, 0o755)
}

// Addr is the node's own address, behind any proxy.
func (n *Node) Addr() string { return n.addr }

func (n *Node) java(class string, args ...string) *exec.Cmd {
	heap := "-Xmx512m"
	args = append([]string{
		heap, "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Djava.awt.headless=true",
		"-cp", filepath.Join(n.c.jars, "*"), class,
	}, args...)
	return exec.Command("java", args...)
}

// Tool returns a command of Kafka's own tools, to be run by the caller.
func (c *Cluster) Tool(class string, args ...string) *exec.Cmd {
	return c.Nodes[0].java(class, args...)
}

// format writes the node's settings and prepares its data folder.
func (n *Node) format(properties string, scram map[string]string) error {
	file := filepath.Join(n.dir, "server.properties")
	if err := os.WriteFile(file, []byte(properties), 0o644); err != nil {
		return err
	}
	args := []string{"format", "--cluster-id", n.c.id, "--config", file}
	for user, password := range scram {
		for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
			args = append(args, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", mechanism, user, password))
		}
	}
	out, err := n.java("kafka.tools.StorageTool", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("format node %d: %w\n%s", n.id, err, out)
	}
	return nil
}

// Launch starts a node that was ended, without waiting for it: see
// [Cluster.WaitReady].
func (n *Node) Launch() error {
	log, err := os.OpenFile(filepath.Join(n.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := n.java("kafka.Kafka", filepath.Join(n.dir, "server.properties"))
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, endWithParent()
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.process, n.ended = cmd, ended
	return nil
}

func (n *Node) running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil {
		return false
	}
	select {
	case <-n.ended:
		return false
	default:
		return true
	}
}

func (n *Node) tail() string {
	log, err := os.ReadFile(filepath.Join(n.dir, "log"))
	if err != nil {
		return err.Error()
	}
	if len(log) > 4000 {
		log = log[len(log)-4000:]
	}
	return string(bytes.TrimSpace(log))
}

// Kill ends the process as kill -9 does. What the operating system has taken
// stays; Restart goes on with it.
func (n *Node) Kill() { n.end(syscall.SIGKILL) }

// Shutdown lets the node end by itself.
func (n *Node) Shutdown() { n.end(syscall.SIGTERM) }

func (n *Node) end(sig syscall.Signal) {
	n.mu.Lock()
	process, ended := n.process, n.ended
	n.process = nil
	n.mu.Unlock()
	if process == nil {
		return
	}
	_ = process.Process.Signal(sig)
	_ = process.Process.Signal(syscall.SIGCONT)
	<-ended
}

// Restart starts a node that was ended and waits until it can be used.
func (n *Node) Restart() error {
	if err := n.Launch(); err != nil {
		return fmt.Errorf("restart node %d: %w", n.id, err)
	}
	return n.c.WaitReady(60 * time.Second)
}

// Pause stops the process without ending it: its clients get no answers.
func (n *Node) Pause() error { return n.signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (n *Node) Resume() error { return n.signal(syscall.SIGCONT) }

func (n *Node) signal(sig syscall.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil {
		return fmt.Errorf("node %d does not run", n.id)
	}
	return n.process.Process.Signal(sig)
}
