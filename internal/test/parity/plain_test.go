// SPDX-License-Identifier: Apache-2.0

package parity

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The commands of the docs' sections on plain clients, as they are written there
// but for the server's address, publish a ticket and read its answer.
func TestPlainClientsPublishATicketAndReadItsAnswer(t *testing.T) {
	t.Run("redis", func(t *testing.T) {
		url := onRedis(t)
		_, port, _ := strings.Cut(strings.TrimPrefix(url, "redis://"), ":")
		answerOfPlainClients(t, url, "redis.md", "redis-cli", "redis-cli -p "+port)
	})
	t.Run("kafka", func(t *testing.T) {
		url := onKafka(t)
		answerOfPlainClients(t, url, "kafka.md",
			"localhost:9092", cluster.Addrs(),
			"bin/kafka-console-producer.sh", quoted(cluster.Tool("org.apache.kafka.tools.ConsoleProducer")),
			"bin/kafka-console-consumer.sh", quoted(cluster.Tool("org.apache.kafka.tools.consumer.ConsoleConsumer")))
	})
}

func answerOfPlainClients(t *testing.T, url, page string, replace ...string) {
	t.Helper()
	d := newDesk(t)
	defer d.serve("run", d.pipeline("plain", url), "--listen", "127.0.0.1:0")()
	commands := strings.NewReplacer(replace...).Replace(plainCommands(t, page))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", commands)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s%s", err, commands, stdout.Bytes(), stderr.Bytes())
	}
	for line := range strings.Lines(stdout.String()) {
		if !strings.HasPrefix(line, `{"id":`) {
			continue
		}
		a := parse(t, []byte(line))
		var source struct{ Text string }
		if err := json.Unmarshal(a.Source, &source); err != nil || !strings.Contains(commands, source.Text) || source.Text == "" {
			t.Errorf("the answer is to %s", a.Source)
		}
		if a.Status != "complete" || len(a.Parts) != 4 {
			t.Errorf("the answer is %s", line)
		}
		return
	}
	t.Errorf("no answer came:\n%s\n%s%s", commands, stdout.Bytes(), stderr.Bytes())
}

// plainCommands are the commands of a page's section on plain clients.
func plainCommands(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/brokers/" + page)
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## Plain clients\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var commands strings.Builder
	for line := range strings.Lines(section) {
		if command, is := strings.CutPrefix(line, "$ "); is {
			commands.WriteString(command)
		}
	}
	if !found || commands.Len() == 0 {
		t.Fatalf("%s has no commands of plain clients", page)
	}
	return commands.String()
}

// quoted is a command as a shell reads it.
func quoted(cmd *exec.Cmd) string {
	var words []string
	for _, word := range cmd.Args {
		words = append(words, "'"+strings.ReplaceAll(word, "'", `'\''`)+"'")
	}
	return strings.Join(words, " ")
}
