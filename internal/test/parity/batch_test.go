// SPDX-License-Identifier: Apache-2.0

package parity

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestEveryBrokerGivesTheSameAnswers(t *testing.T) {
	d := newDesk(t)
	input, n := d.messages()
	want := d.batch("embedded", input, n, d.pipeline("embedded", "embedded"))
	for _, b := range onBrokers[1:] {
		t.Run(b.name, func(t *testing.T) {
			d := &desk{t, d.dir}
			d.compare(d.batch(b.name, input, n, d.pipeline(b.name, b.open(t))), want)
		})
	}
}

// Each of the processes runs some of the services; the messages are published
// and the answers written by the first.
func TestThreeProcessesGiveTheSameAnswersAsOne(t *testing.T) {
	d := newDesk(t)
	input, n := d.messages()
	want := d.batch("embedded", input, n, d.pipeline("embedded", "embedded"))
	for _, b := range onBrokers[1:] {
		t.Run(b.name, func(t *testing.T) {
			d := &desk{t, d.dir}
			file := d.pipeline(b.name, b.open(t))
			stop1 := d.serve("run", file, "--only", "tagger,classifier,keywords", "--listen", "off")
			stop2 := d.serve("run", file, "--only", "embedder,checklist", "--listen", "off")
			got := d.batch(b.name+"-split", input, n, file, "--only", "sentiment,desk")
			stop1()
			stop2()
			d.compare(got, want)
		})
	}
}

// batch runs a pipeline over the input and returns the answers, made comparable
// and sorted.
func (d *desk) batch(name, input string, n int, args ...string) []string {
	d.Helper()
	output := "answers-" + name + ".jsonl"
	begun := time.Now()
	d.must(append([]string{"batch", "--input", input, "--output", output}, args...)...)
	took := time.Since(begun)
	f, err := os.Open(filepath.Join(d.dir, output))
	if err != nil {
		d.Fatal(err)
	}
	defer f.Close()
	var answers []answer
	var lines []string
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		a := parse(d.T, in.Bytes())
		answers = append(answers, a)
		lines = append(lines, a.same(d.T))
	}
	if err := in.Err(); err != nil {
		d.Fatal(err)
	}
	d.Logf("%s: %d messages, %d answers, %s, in %v", name, n, len(lines), statuses(answers), took.Round(time.Second/10))
	if len(lines) != n {
		d.Errorf("%s: %d messages have %d answers", name, n, len(lines))
	}
	slices.Sort(lines)
	return lines
}

func (d *desk) compare(got, want []string) {
	d.Helper()
	differ := 0
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			if differ++; differ <= 3 {
				d.Errorf("answer %d is\n%s\nbut on the embedded broker\n%s", i, got[i], want[i])
			}
		}
	}
	if len(got) != len(want) || differ > 0 {
		d.Errorf("%d of %d answers differ from the embedded broker's %d", differ, len(got), len(want))
	}
}
