// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/internal/test/servers/kafka"
	"github.com/millrace-ml/millrace/internal/test/servers/redis"
)

// takeover is how soon the others go on without a killed worker.
const takeover = 2 * time.Second

// killings are what is killed, and when the gather answers: in good time, or
// before a killed worker is replaced, so that answers are mended.
var killings = []struct {
	name                       string
	spareWorkers, spareServers bool
	deadline                   time.Duration
}{
	{"workers are killed", false, true, time.Hour},
	{"servers are killed", true, false, time.Hour},
	{"both are killed and parts come late", false, false, 10 * time.Millisecond},
}

// onServers runs the crash test with two workers on a broker's servers, which
// start makes for each of the killings.
func onServers(t *testing.T, kills, messages int, start func(t *testing.T) (url string, servers []Victim)) {
	for _, k := range killings {
		t.Run(k.name, func(t *testing.T) {
			c := config(t, k.deadline)
			c.Kills = number(t, killsVariable, kills)
			c.Messages = number(t, messagesVariable, messages)
			c.Broker, c.Servers = start(t)
			c.Broker += fmt.Sprintf("?takeover=%v", takeover)
			c.Workers, c.Life = 2, takeover+time.Second
			c.SpareWorkers, c.SpareServers = k.spareWorkers, k.spareServers
			report := run(t, c)
			if late := k.deadline < time.Hour; late != (report.Revisions > 0) {
				t.Errorf("%d answers were mended with a deadline of %v", report.Revisions, k.deadline)
			}
		})
	}
}

// TestCrashOnRedis has the server fsync every write before it answers. A killed
// process loses nothing that it had written, fsynced or not, because the kernel
// keeps it: what this shows is that the server acknowledges nothing before it
// has written it, and that the driver loses and doubles nothing. That the disk
// has it after a power cut is Redis's word, which is not tested here.
func TestCrashOnRedis(t *testing.T) {
	onServers(t, 4, 8_000, func(t *testing.T) (string, []Victim) {
		s := redis.Start(t, redis.Options{AppendFsync: "always"})
		return s.URL(), []Victim{redisServer{s}}
	})
}

type redisServer struct{ *redis.Server }

func (s redisServer) Name() string                { return "redis" }
func (s redisServer) Start() error                { s.Launch(); return nil }
func (s redisServer) Ready(context.Context) error { s.WaitReady(); return nil }
func (s redisServer) Kill() error                 { s.Server.Kill(); return nil }

// TestCrashOnKafka has one node by default, and three of which two acknowledge
// in its long form. Kafka does not fsync before it acknowledges, and is not made
// to: as above, the kernel keeps what a killed node had written.
func TestCrashOnKafka(t *testing.T) {
	onServers(t, 2, 3_000, func(t *testing.T) (string, []Victim) {
		c := kafka.ForTest(t, kafka.Options{Nodes: number(t, "MILLRACE_CRASH_NODES", 1)})
		var nodes []Victim
		for i, n := range c.Nodes {
			nodes = append(nodes, kafkaNode{n, c, fmt.Sprintf("node %d", i+1)})
		}
		return c.URL(), nodes
	})
}

type kafkaNode struct {
	*kafka.Node
	cluster *kafka.Cluster
	name    string
}

func (n kafkaNode) Name() string                { return n.name }
func (n kafkaNode) Start() error                { return n.Launch() }
func (n kafkaNode) Ready(context.Context) error { return n.cluster.WaitReady(3 * time.Minute) }
func (n kafkaNode) Kill() error                 { n.Node.Kill(); return nil }
