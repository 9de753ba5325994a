// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"context"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/internal/bench"
	kafkaservers "github.com/millrace-ml/millrace/internal/test/servers/kafka"
	redisservers "github.com/millrace-ml/millrace/internal/test/servers/redis"
)

var duration = flag.Duration("for", 2*time.Second, "how long to measure each loop")

// row is a server with the speeds of three loops on it, in records of 200 bytes
// a second.
type row struct {
	server, client string
	bare, millrace float64 // exactly once, 256 records at a time
	watermill      float64 // at least once, one record at a time
}

// TestTable prints a table in Markdown. It fails only when a loop does not work:
// the figures are for people.
func TestTable(t *testing.T) {
	rows := []row{
		onKafka(t),
		onRedis(t, "Redis, `appendfsync always`", "always"),
		onRedis(t, "Redis, `appendfsync everysec`", "everysec"),
		onRedis(t, "Redis, `appendonly no`", ""),
	}
	fmt.Println("| server | client alone | Millrace | ratio | Watermill, at least once | ratio |")
	fmt.Println("| --- | ---: | ---: | ---: | ---: | ---: |")
	for _, r := range rows {
		if r.bare <= 0 || r.millrace <= 0 || r.watermill <= 0 {
			t.Errorf("%s: a loop stood still: %+v", r.server, r)
		}
		fmt.Printf("| %s | %s: %.0f | %.0f | **%.2f** | %.0f | %.1f |\n",
			r.server, r.client, r.bare, r.millrace, r.millrace/r.bare, r.watermill, r.millrace/r.watermill)
	}
}

func onKafka(t *testing.T) row {
	c, err := kafkaservers.Start(kafkaservers.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	settle, err := bench.KafkaSettle(t.Context(), c.URL(), 2**duration)
	if err != nil {
		t.Fatal(err)
	}
	return row{
		server: "Apache Kafka " + kafkaservers.Version, client: "`GroupTransactSession`",
		bare: settle.Bare, millrace: settle.Loop,
		watermill: must(kafkaWatermill(t.Context(), c.Addrs(), *duration))(t),
	}
}

func onRedis(t *testing.T, name, fsync string) row {
	s := redisservers.Start(t, redisservers.Options{AppendFsync: fsync})
	defer s.Stop()
	settle, err := bench.RedisSettle(t.Context(), s.Addr(), 2**duration)
	if err != nil {
		t.Fatal(err)
	}
	return row{
		server: name, client: "`XREAD` and the script",
		bare: settle.Bare, millrace: settle.Loop,
		watermill: must(redisWatermill(t.Context(), s.Addr(), *duration))(t),
	}
}

func must(v float64, err error) func(t *testing.T) float64 {
	return func(t *testing.T) float64 {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// answered counts for the time how many messages a Watermill loop answers. What
// it begins with is not counted: the subscriber may still be joining.
func answered(ctx context.Context, answer func() error, d time.Duration) (perSecond float64, err error) {
	if err := answer(); err != nil {
		return 0, err
	}
	n, begin := 0, time.Now()
	for time.Since(begin) < d && ctx.Err() == nil {
		if err := answer(); err != nil {
			return 0, err
		}
		n++
	}
	return float64(n) / time.Since(begin).Seconds(), ctx.Err()
}
