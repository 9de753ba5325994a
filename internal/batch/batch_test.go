// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace"
	"github.com/millrace-ml/millrace/broker/embedded"
	"github.com/millrace-ml/millrace/pipeline"
)

const joined = `
name: test
topics: {tickets: {partitions: 4}}
services:
  tagger: {from: tickets, to: tags,  model: {builtin: identity}}
  mood:   {from: tickets, to: moods, model: {builtin: identity}, batch: {max: 16}}
gather:
  desk: {of: tickets, from: [tags, moods], to: desk}
`

const chained = `
name: test
topics: {tickets: {partitions: 4}}
services:
  one: {from: tickets, to: ones, model: {builtin: identity}}
  two: {from: ones,    to: twos, model: {builtin: identity}}
`

type setUp struct {
	*testing.T
	fs     vfs.FS
	graph  string
	output string
}

func newSetUp(t *testing.T, graph string) *setUp {
	return &setUp{t, vfs.NewMem(), graph, filepath.Join(t.TempDir(), "out.jsonl")}
}

// run runs a batch over the input until ctx ends.
func (s *setUp) run(ctx context.Context, input string, change ...func(*Config)) (Progress, error) {
	s.Helper()
	p, err := pipeline.Parse("test.yaml", []byte(s.graph), nil)
	if err != nil {
		s.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	b, err := embedded.Open("data", embedded.Options{FS: s.fs, Logger: quiet})
	if err != nil {
		s.Fatal(err)
	}
	defer b.Close()
	c := Config{
		Pipeline: p, Broker: b,
		App:   millrace.Options{Logger: quiet, Grace: 5 * time.Second},
		Input: strings.NewReader(input), Name: "in.jsonl",
		Output: s.output, Rejected: RejectedPath(s.output),
	}
	for _, f := range change {
		f(&c)
	}
	return Run(ctx, c)
}

func (s *setUp) lines() []string {
	s.Helper()
	data, err := os.ReadFile(s.output)
	if err != nil {
		s.Fatal(err)
	}
	if len(data) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

// want checks that each of n ids is in the output once.
func (s *setUp) want(n int) {
	s.Helper()
	seen := map[string]int{}
	for _, line := range s.lines() {
		var a struct{ ID, Status string }
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			s.Fatalf("%s: %v", line, err)
		}
		if a.Status != "complete" {
			s.Errorf("%s is %s", a.ID, a.Status)
		}
		seen[a.ID]++
	}
	for i := range n {
		if id := fmt.Sprintf("T-%d", i); seen[id] != 1 {
			s.Errorf("%s is there %d times", id, seen[id])
		}
	}
	if len(seen) != n {
		s.Errorf("%d ids, want %d", len(seen), n)
	}
}

func tickets(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{\"id\":\"T-%d\",\"text\":\"hello\"}\n", i)
	}
	return b.String()
}

func TestEveryLineIsAnsweredOnce(t *testing.T) {
	s := newSetUp(t, joined)
	p, err := s.run(t.Context(), tickets(3000))
	if err != nil {
		t.Fatal(err)
	}
	s.want(3000)
	if p.Published != 3000 || p.Written != 3000 || p.Rejected != 0 || !p.Ended {
		t.Errorf("progress %+v", p)
	}
}

func TestAPipelineWithoutAGatherEndsToo(t *testing.T) {
	s := newSetUp(t, chained)
	if _, err := s.run(t.Context(), tickets(3000)); err != nil {
		t.Fatal(err)
	}
	if n := len(s.lines()); n != 3000 {
		t.Errorf("%d lines", n)
	}
}

func TestAServiceThatIsCalledBatchIsRefused(t *testing.T) {
	s := newSetUp(t, strings.ReplaceAll(chained, "two:", "batch:"))
	if _, err := s.run(t.Context(), tickets(1)); err == nil || !strings.HasPrefix(err.Error(), "batch has the name") {
		t.Errorf("got %v", err)
	}
}

func TestAnEmptyInputIsAnEmptyOutput(t *testing.T) {
	for _, graph := range []string{joined, chained} {
		s := newSetUp(t, graph)
		if _, err := s.run(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		if n := len(s.lines()); n != 0 {
			t.Errorf("%d lines", n)
		}
	}
}

func TestAnInterruptedBatchGoesOnWhereItStopped(t *testing.T) {
	const n = 8000
	array := "[" + strings.ReplaceAll(strings.TrimSpace(tickets(n)), "\n", ",") + "]"
	for name, input := range map[string]string{"lines": tickets(n), "an array on one line": array} {
		t.Run(name, func(t *testing.T) { interrupt(t, input, n) })
	}
}

// interrupt runs a batch over n records, and interrupts it again and again.
func interrupt(t *testing.T, input string, n int) {
	s := newSetUp(t, joined)
	named := func(c *Config) { c.Name = "-" }
	interruptions := 0
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(interruptions+1)*60*time.Millisecond)
		_, err := s.run(ctx, input, named)
		stopped := ctx.Err() != nil
		cancel()
		if err == nil {
			break
		}
		if !stopped {
			t.Fatal(err)
		}
		interruptions++
		// What was written without being settled is no part of the output.
		f, err := os.OpenFile(s.output, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString(`{"id":"half a li`)
		f.Close()
	}
	s.want(n)
	if interruptions == 0 {
		t.Error("the batch was never interrupted")
	}
	if _, err := s.run(t.Context(), input, named); err != nil {
		t.Errorf("run again when complete: %v", err)
	}
	s.want(n)
	if _, err := s.run(t.Context(), tickets(5), named); err == nil || !strings.Contains(err.Error(), "another") {
		t.Errorf("run with another input: %v", err)
	}
}

func TestLinesThatAreNoInputAreNamedAndTheRestIsAnswered(t *testing.T) {
	s := newSetUp(t, joined)
	input := "\ufeff" + `{"id":"T-0"}` + "\r\n" +
		"{\"id\":\n" +
		"\n" +
		"{\"id\":\"\xff\"}\n" +
		strings.Repeat("[", 200) + strings.Repeat("]", 200) + "\n" +
		`{"id":"` + strings.Repeat("x", 9<<20) + `"}` + "\n" +
		`{"a":1} {"b":2}` + "\n" +
		`{"id":"T-1"}`
	p, err := s.run(t.Context(), input)
	if err != nil {
		t.Fatal(err)
	}
	s.want(2)
	if p.Rejected != 5 {
		t.Errorf("%d rejected", p.Rejected)
	}
	data, err := os.ReadFile(strings.TrimSuffix(s.output, ".jsonl") + ".rejected.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range bytes.Lines(data) {
		var r struct {
			Line   int
			Reason string
		}
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%d: %s", r.Line, r.Reason))
	}
	want := []string{
		"2: not JSON: unexpected end at byte 6",
		"4: invalid UTF-8 at byte 7",
		"5: more than 128 arrays and objects in each other at byte 128",
		"6: longer than 8387584 bytes, the limit of a record",
		"7: not JSON: invalid character '{' after top-level value at byte 8",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("rejected:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
