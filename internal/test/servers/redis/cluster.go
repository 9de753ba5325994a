// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Cluster is a Redis Cluster of three masters without replicas.
type Cluster struct {
	Nodes []*Server
}

// StartCluster starts a cluster, which ends with the test.
func StartCluster(t testing.TB, o Options) *Cluster {
	t.Helper()
	o.Args = append([]string{
		"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "2000",
		"--cluster-require-full-coverage", "no",
	}, o.Args...)
	c := &Cluster{}
	args := []string{"--cluster", "create"}
	for range 3 {
		s := Start(t, o)
		c.Nodes = append(c.Nodes, s)
		args = append(args, s.Addr())
	}
	args = append(args, "--cluster-replicas", "0", "--cluster-yes")
	if out, err := exec.Command(program(t, "redis-cli"), args...).CombinedOutput(); err != nil {
		t.Fatalf("redis-cli %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	c.waitUntilReady(t)
	return c
}

// URL is the cluster's address as a pipeline file has it.
func (c *Cluster) URL() string {
	var hosts []string
	for _, s := range c.Nodes {
		hosts = append(hosts, s.Addr())
	}
	return "redis://" + strings.Join(hosts, ",")
}

// waitUntilReady waits until every node knows of the others that all slots are
// served.
func (c *Cluster) waitUntilReady(t testing.TB) {
	t.Helper()
	for _, s := range c.Nodes {
		client := s.Client()
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			info, err := client.ClusterInfo(context.Background()).Result()
			if err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_slots_ok:16384") {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the cluster's node %s is not ready: %v\n%s", s.Addr(), err, info)
			}
		}
	}
}

// NodeOf returns the node that keeps the key.
func (c *Cluster) NodeOf(t testing.TB, key string) *Server {
	t.Helper()
	client := c.Nodes[0].Client()
	slot, err := client.ClusterKeySlot(context.Background(), key).Result()
	if err != nil {
		t.Fatal(err)
	}
	slots, err := client.ClusterSlots(context.Background()).Result() //nolint:staticcheck // ClusterShards is unknown to Redis 6
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range slots {
		if int64(r.Start) <= slot && slot <= int64(r.End) {
			for _, s := range c.Nodes {
				if len(r.Nodes) > 0 && r.Nodes[0].Addr == s.Addr() {
					return s
				}
			}
		}
	}
	t.Fatalf("no node keeps slot %d", slot)
	return nil
}
