// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace"
	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/brokers"
	"github.com/millrace-ml/millrace/gateway"
	"github.com/millrace-ml/millrace/pipeline"
)

// target says whose topics a command means.
type target struct {
	file    string // of a pipeline
	dataDir string
	server  string
	results bool // topics that hold results may be published to, too
}

// helpTarget is the part of a command's help that explains the flags.
const helpTarget = `

The topics are those of the pipeline file that -p names, of a --data-dir, or of
a running process at --server. Without any it is the one data directory under
millrace-data. When a process has the data directory open, it is asked by HTTP,
with the token in MILLRACE_TOKEN if it asks for one.`

func (t *target) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&t.file, "pipeline", "p", "", "use the topics of this pipeline file")
	f.StringVar(&t.dataDir, "data-dir", "", "use the topics in this data directory")
	f.StringVar(&t.server, "server", "", "use the topics of the process at this URL, such as http://127.0.0.1:8088")
	complete(cmd, "pipeline", cobra.FixedCompletions([]cobra.Completion{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt))
	complete(cmd, "data-dir", cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs))
	complete(cmd, "server", cobra.NoFileCompletions)
}

// connection is a way to a broker. There is one for all: HTTP, to the process
// that has the data directory or, when none has, to a gateway in this one.
type connection struct {
	*gateway.Client
	close func() error
}

// purpose is what a command opens a broker for.
type purpose int

const (
	toRead   purpose = iota // and changes nothing
	toWrite                 // in topics and groups that exist
	toCreate                // also the topics of the target's pipeline
)

// connect opens the way to a target.
func (c *console) connect(ctx context.Context, t target, to purpose) (*connection, error) {
	if t.server != "" {
		return remote(t)
	}
	var p *pipeline.Pipeline
	if t.file != "" {
		var err error
		if p, err = c.load(t.file); err != nil {
			return nil, err
		}
	}
	if p == nil || brokers.Embedded(p.Broker) {
		dir, err := t.directory(p)
		if err != nil {
			return nil, err
		}
		t.dataDir = dir
		address, err := owner(ctx, dir)
		if err != nil {
			return nil, err
		}
		if address != "" {
			return &connection{clientOf(address), func() error { return nil }}, nil
		}
		if _, err := os.Stat(dir); err != nil && (to != toCreate || p == nil) {
			return nil, usage("start it with millrace run, or name another place with -p, --data-dir or --server",
				"there is no data directory %s: nothing has run or been published there", dir)
		}
	}
	return c.local(ctx, t, p, to)
}

// tokenVariable has the token for processes that ask for one. A flag would show it
// to everybody who lists the processes of the machine.
const tokenVariable = "MILLRACE_TOKEN"

// clientOf is a client of the process at a URL.
func clientOf(base string) *gateway.Client {
	return &gateway.Client{Base: base, Token: os.Getenv(tokenVariable)}
}

func remote(t target) (*connection, error) {
	if t.file != "" || t.dataDir != "" {
		return nil, usage("", "--server says it all: leave out -p and --data-dir")
	}
	u, err := url.Parse(t.server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, usage("write it as http://127.0.0.1:8088", "--server %q is not a URL", t.server)
	}
	return &connection{clientOf(t.server), func() error { return nil }}, nil
}

// directory is the data directory that is meant.
func (t *target) directory(p *pipeline.Pipeline) (string, error) {
	switch {
	case t.dataDir != "":
		return t.dataDir, nil
	case p != nil:
		return p.DataDir(), nil
	}
	entries, err := os.ReadDir(pipeline.DataParent)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	var dirs []string
	for _, e := range entries {
		if e.IsDir() {
			dirs = append(dirs, filepath.Join(pipeline.DataParent, e.Name()))
		}
	}
	switch len(dirs) {
	case 0:
		return "", usage("name a pipeline file with -p, a --data-dir, or a --server", "which topics? There is no data directory under %s", pipeline.DataParent)
	case 1:
		return dirs[0], nil
	}
	return "", usage("name a pipeline file with -p, or one of them with --data-dir", "which topics? There are %s", strings.Join(dirs, ", "))
}

// owner is the address of the process that has a data directory; empty when none
// has. A process that has just started is given time to tell its address.
func owner(ctx context.Context, dir string) (string, error) {
	const patience = 5 * time.Second
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for begun := time.Now(); ; {
		pid, address, err := brokers.Owner(dir)
		if err != nil || pid == 0 || address != "" {
			return address, err
		}
		if time.Since(begun) > patience {
			return "", hinted(fmt.Errorf("process %d has data directory %s and serves no HTTP", pid, dir), "wait until it ends; a process that runs on is reached unless it was started with --listen off, or by its URL with --server")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// local opens the broker and puts a gateway before it, in this process.
func (c *console) local(ctx context.Context, t target, p *pipeline.Pipeline, to purpose) (*connection, error) {
	log := c.logger(slog.LevelWarn)
	var brokerURL string
	var o gateway.Options
	if p != nil {
		brokerURL, o.Sources, o.Services = p.BrokerURL(), p.Sources(), p.Order()
	}
	if t.results {
		o.Sources, o.Results = nil, true
	}
	o.Logger = log
	b, err := brokers.Open(ctx, brokerURL, brokers.Options{DataDir: t.dataDir, Logger: log, ReadOnly: to == toRead})
	if err != nil {
		return nil, inUse(err)
	}
	if p != nil {
		if o.Retry, err = millrace.Retrier(b, p, millrace.Options{Models: c.models, Logger: log}); err != nil {
			return nil, errors.Join(err, b.Close())
		}
	}
	if to == toCreate && p != nil {
		if err := b.CreateTopics(ctx, p.AllTopics()...); err != nil {
			return nil, errors.Join(fmt.Errorf("create the pipeline's topics: %w", err), b.Close())
		}
	}
	conn, err := within(b, o)
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return conn, nil
}

// within serves a broker to a client in the same process, without a port.
func within(b *broker.Broker, o gateway.Options) (*connection, error) {
	g, err := gateway.New(b, o)
	if err != nil {
		return nil, err
	}
	ln := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	serving, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Serve(serving, ln, 5*time.Second) }()
	transport := &http.Transport{DialContext: ln.dial}
	client := &gateway.Client{Base: "http://127.0.0.1", HTTP: &http.Client{Transport: transport}}
	return &connection{client, func() error {
		end()
		transport.CloseIdleConnections()
		return errors.Join(<-ended, b.Close())
	}}, nil
}

// pipes is a listener whose connections are pipes in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements net.Listener.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr implements net.Listener.
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "this process", Net: "pipe"} }

// use connects, works and closes.
func (c *console) use(ctx context.Context, t target, to purpose, work func(*connection) error) error {
	conn, err := c.connect(ctx, t, to)
	if err != nil {
		return err
	}
	err = unreachable(work(conn))
	if err := errors.Join(err, conn.close()); err != nil {
		return err
	}
	return nil
}

// unreachable tells what to do when no process answers.
func unreachable(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok && !errors.Is(err, context.Canceled) {
		hint := "is it running? Start it with millrace run"
		if _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); untrusted {
			hint = "SSL_CERT_FILE=FILE names the certificates to trust, such as the process's own"
		}
		return hinted(fmt.Errorf("no answer from the process: %w", e.Err), hint)
	}
	return err
}

// completeTopics completes topics: the pipeline file's, or those of the process
// that runs.
func (t *target) completeTopics(onlySources bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		if p, err := pipeline.Load(t.file); err == nil {
			if onlySources {
				return p.Sources(), cobra.ShellCompDirectiveNoFileComp
			}
			return p.TopicNames(), cobra.ShellCompDirectiveNoFileComp
		}
		var names []cobra.Completion
		for _, topic := range t.runningTopics(cmd.Context()) {
			if topic.Source || !onlySources {
				names = append(names, topic.Name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// runningTopics are those of the target's process, or none if none runs.
func (t *target) runningTopics(ctx context.Context) []gateway.Topic {
	client := t.running()
	if client == nil {
		return nil
	}
	topics, err := client.Topics(ctx)
	if err != nil {
		return nil
	}
	return topics
}

// completeGroups completes the consumer groups of the process that runs.
func (t *target) completeGroups(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	client := t.running()
	if client == nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	groups, err := client.Groups(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []cobra.Completion
	for _, g := range groups {
		names = append(names, g.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// running is a client of the target's process, or nil if none runs.
func (t *target) running() *gateway.Client {
	if t.server != "" {
		return clientOf(t.server)
	}
	var p *pipeline.Pipeline
	if t.file != "" {
		var err error
		if p, err = pipeline.Load(t.file); err != nil {
			return nil
		}
	}
	dir, err := t.directory(p)
	if err != nil {
		return nil
	}
	if _, address, err := brokers.Owner(dir); err == nil && address != "" {
		return clientOf(address)
	}
	return nil
}
