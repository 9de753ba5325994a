// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"bytes"
	"strings"
	"testing"
)

// Kafka's own console programs publish a message and read the answer.
func TestPlainClientsPublishAndReadAnswers(t *testing.T) {
	t.Parallel()
	cluster := node(t)
	d := newDesk(t, cluster.URL(), 2)
	c := d.join(d.b)
	producer := cluster.Tool("org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server", cluster.Addrs(), "--topic", d.in,
		"--reader-property", "parse.key=true", "--reader-property", "key.separator=:")
	producer.Stdin = strings.NewReader("customer-7:where is my parcel?\n")
	if out, err := producer.CombinedOutput(); err != nil {
		t.Fatalf("console producer: %v\n%s", err, out)
	}
	batch := d.poll(c)
	if len(batch) != 1 || string(batch[0].Key) != "customer-7" || string(batch[0].Value) != "where is my parcel?" {
		t.Fatalf("polled %+v", batch)
	}
	if err := c.Settle(t.Context(), d.answers(batch)...); err != nil {
		t.Fatal(err)
	}
	consumer := cluster.Tool("org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", cluster.Addrs(), "--topic", d.out,
		"--from-beginning", "--isolation-level", "read_committed", "--max-messages", "1", "--timeout-ms", "20000", "--formatter-property", "print.key=true")
	var stdout, stderr bytes.Buffer
	consumer.Stdout, consumer.Stderr = &stdout, &stderr
	if err := consumer.Run(); err != nil {
		t.Fatalf("console consumer: %v\n%s", err, stderr.String())
	}
	if got := strings.TrimSpace(stdout.String()); got != "customer-7\twhere is my parcel?" {
		t.Errorf("the console consumer read %q", got)
	}
}
