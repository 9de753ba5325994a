// SPDX-License-Identifier: Apache-2.0

// Package kafka starts private Apache Kafka clusters for tests: real ones, from
// the jars that scripts/fetch-kafka.sh fetches, run with the machine's Java.
//
// The one idea: a start costs seconds, so a cluster is started once for all
// tests of a package (in TestMain) and ended by its own processes; tests keep
// apart by the names of their topics and groups.
package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Version is the Apache Kafka that the tests run on unless they name another.
const Version = "4.2.1"

// ErrMissing means that Kafka's jars or Java are not on this machine.
var ErrMissing = errors.New("Apache Kafka is not here: run scripts/fetch-kafka.sh, and install Java 17 or newer")

// Options of a cluster. The zero value is one node of [Version].
type Options struct {
	Version string // empty: [Version]
	Nodes   int    // 0: 1. Three nodes replicate everything, two of them acknowledge

	// Advertise tells clients another address of a node, such as a proxy's. It
	// is called once for each node before any is started.
	Advertise func(node int, addr string) string

	// Protocol is what clients speak: "" or "PLAINTEXT", "SSL", "SASL_PLAINTEXT"
	// or "SASL_SSL". Its settings are in Properties, with the prefix
	// "listener.name.clients.".
	Protocol string

	// Scram are the passwords of users, for both SCRAM mechanisms.
	Scram map[string]string

	// Properties are added to server.properties of each node.
	Properties map[string]string
}

// Cluster is a set of running nodes, each broker and controller in one.
type Cluster struct {
	Nodes []*Node

	jars string
	dir  string
	id   string
}

// Jars finds the folder with the jars of a version ("" is [Version]).
func Jars(version string) (string, error) {
	if version == "" {
		version = Version
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	jars := filepath.Join(cache, version)
	if _, err := os.Stat(filepath.Join(jars, "complete")); err != nil {
		return "", fmt.Errorf("%w (looked for version %s)", ErrMissing, version)
	}
	if _, err := exec.LookPath("java"); err != nil {
		return "", fmt.Errorf("%w: %w", ErrMissing, err)
	}
	return jars, nil
}

// cacheDir is the folder that scripts/fetch-kafka.sh fills.
func cacheDir() (string, error) {
	if xdg := os.Getenv("XDG_CACHE_HOME"); xdg != "" {
		return filepath.Join(xdg, "millrace", "kafka"), nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			if _, err := os.Stat(filepath.Join(dir, "scripts", "fetch-kafka.sh")); err == nil {
				return filepath.Join(dir, ".cache", "kafka"), nil
			}
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%w: this is not inside the repository", ErrMissing)
		}
	}
}

// ForTest starts a cluster that ends with the test. Where Kafka is missing the
// test is skipped; see [Require].
func ForTest(t testing.TB, o Options) *Cluster {
	t.Helper()
	c, err := Start(o)
	Require(t, err)
	t.Cleanup(c.Stop)
	return c
}

// Require skips the test after an error that is [ErrMissing], or fails it in CI,
// where nothing may be missing. It fails the test after any other error.
func Require(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case errors.Is(err, ErrMissing) && os.Getenv("CI") == "":
		t.Skip(err)
	default:
		t.Fatal(err)
	}
}

// Start starts a cluster and returns when it can be used. The caller ends it
// with [Cluster.Stop].
func Start(o Options) (*Cluster, error) {
	jars, err := Jars(o.Version)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "millrace-kafka-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{jars: jars, dir: dir, id: "AAAAAAAAAAAAAAAAAAAAAA"} // 16 zero bytes, in base64
	if err := c.start(o); err != nil {
		c.Stop()
		return nil, fmt.Errorf("start Kafka: %w", err)
	}
	return c, nil
}

func (c *Cluster) start(o Options) error {
	for i := range max(1, o.Nodes) {
		n, err := newNode(c, i+1)
		if err != nil {
			return err
		}
		if n.advertised = n.addr; o.Advertise != nil {
			n.advertised = o.Advertise(i, n.addr)
		}
		c.Nodes = append(c.Nodes, n)
	}
	for _, n := range c.Nodes {
		if err := n.format(c.properties(n, o), o.Scram); err != nil {
			return err
		}
		if err := n.Launch(); err != nil {
			return err
		}
	}
	return c.WaitReady(60 * time.Second)
}

// properties is a node's server.properties: what starts and ends quickly and
// needs little.
func (c *Cluster) properties(n *Node, o Options) string {
	var voters []string
	for _, m := range c.Nodes {
		voters = append(voters, fmt.Sprintf("%d@%s", m.id, m.controller))
	}
	replicas := len(c.Nodes)
	alone := func(value, otherwise string) string { // one node waits for no others
		if replicas == 1 {
			return value
		}
		return otherwise
	}
	p := map[string]string{
		"process.roles":                            "broker,controller",
		"node.id":                                  fmt.Sprint(n.id),
		"controller.quorum.voters":                 strings.Join(voters, ","),
		"controller.listener.names":                "CONTROLLER",
		"inter.broker.listener.name":               "INTERNAL",
		"listeners":                                fmt.Sprintf("CLIENTS://%s,INTERNAL://%s,CONTROLLER://%s", n.addr, n.internal, n.controller),
		"advertised.listeners":                     fmt.Sprintf("CLIENTS://%s,INTERNAL://%s", n.advertised, n.internal),
		"listener.security.protocol.map":           "CLIENTS:" + cmp.Or(o.Protocol, "PLAINTEXT") + ",INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"log.dirs":                                 filepath.Join(n.dir, "data"),
		"auto.create.topics.enable":                "false",
		"default.replication.factor":               fmt.Sprint(replicas),
		"min.insync.replicas":                      fmt.Sprint(min(2, replicas)),
		"offsets.topic.num.partitions":             "4",
		"offsets.topic.replication.factor":         fmt.Sprint(replicas),
		"transaction.state.log.num.partitions":     "4",
		"transaction.state.log.replication.factor": fmt.Sprint(replicas),
		"transaction.state.log.min.isr":            fmt.Sprint(min(2, replicas)),
		"transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
		"group.initial.rebalance.delay.ms":                            "0",
		"group.min.session.timeout.ms":                                "200",
		"group.coordinator.rebalance.protocols":                       "classic,consumer",
		"share.coordinator.state.topic.num.partitions":                "1",
		"share.coordinator.state.topic.replication.factor":            "1",
		"broker.session.timeout.ms":                                   alone("1500", "4000"),
		"broker.heartbeat.interval.ms":                                alone("200", "400"),
		"controller.quorum.election.timeout.ms":                       alone("500", "1500"),
		"controller.quorum.fetch.timeout.ms":                          alone("1000", "3000"),
		"controller.quorum.election.backoff.max.ms":                   "200",
		"replica.lag.time.max.ms":                                     "3000",
		"log.segment.bytes":                                           "67108864",
		"log.index.size.max.bytes":                                    "65536",
		"log.cleaner.dedupe.buffer.size":                              "4194304",
		"num.network.threads":                                         "2",
		"num.io.threads":                                              "4",
		"background.threads":                                          "2",
		"unstable.api.versions.enable":                                "false",
		"controlled.shutdown.enable":                                  "false",
		"log.initial.task.delay.ms":                                   "100",
	}
	for k, v := range o.Properties {
		p[k] = v
	}
	var b strings.Builder
	for k, v := range p {
		fmt.Fprintf(&b, "%s=%s\n", k, v)
	}
	return b.String()
}

// Addrs are the nodes' addresses as clients use them, separated by commas.
func (c *Cluster) Addrs() string {
	var list []string
	for _, n := range c.Nodes {
		list = append(list, n.advertised)
	}
	return strings.Join(list, ",")
}

// URL is the cluster's address as a pipeline file has it.
func (c *Cluster) URL() string { return "kafka://" + c.Addrs() }

// WaitReady waits until every node knows of all of them and each partition is on
// all of its replicas, so that any one node may fail. It asks where they talk to
// each other.
func (c *Cluster) WaitReady(atMost time.Duration) error {
	deadline := time.Now().Add(atMost)
	for _, n := range c.Nodes {
		for err := errors.New("not asked"); err != nil; {
			if !n.running() {
				return fmt.Errorf("node %d has ended:\n%s", n.id, n.tail())
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("node %d is not ready after %v: %w\n%s", n.id, atMost, err, n.tail())
			}
			if err = c.ready(n); err != nil {
				time.Sleep(50 * time.Millisecond)
			}
		}
	}
	return nil
}

func (c *Cluster) ready(n *Node) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(n.internal), kgo.RetryTimeout(time.Second))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	resp, err := client.SeedBrokers()[0].Request(ctx, kmsg.NewPtrMetadataRequest())
	if err != nil {
		return err
	}
	known := resp.(*kmsg.MetadataResponse)
	if n := len(known.Brokers); n < len(c.Nodes) {
		return fmt.Errorf("it knows %d of %d nodes", n, len(c.Nodes))
	}
	for _, topic := range known.Topics {
		for _, p := range topic.Partitions {
			if len(p.ISR) < len(p.Replicas) {
				return fmt.Errorf("%d of %d replicas of %s[%d] are in sync", len(p.ISR), len(p.Replicas), *topic.Topic, p.Partition)
			}
		}
	}
	return nil
}

// Stop ends all nodes at once and removes their data.
func (c *Cluster) Stop() {
	for _, n := range c.Nodes {
		n.Kill()
	}
	os.RemoveAll(c.dir)
}
