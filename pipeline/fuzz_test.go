// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// Whatever the bytes are, Check ends soon and without a panic, either with a
// pipeline or with errors that have a place; it tells no variable's value; what
// it accepts can be written down and read again as the same; and a graph that
// is accepted is sound.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/bad/*.yaml", "../examples/*/pipeline.yaml"} {
		files, err := globFiles(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(checkBytes)
}

// words are what TestMutatedFiles puts in the place of others.
var words = []string{
	"tickets", "mails", "tags", "tagger", "desk", "classes", "x", "y", "a", "from", "to", "of", "name", "partitions", "retention",
	"model", "builtin", "identity", "go", "urgency", "nearest", "items", "auto", "8", "0", "-1", "4", "1.5", "0x10", "1e9", ".nan", "true", "null", "~", "forever", "5s", "7d",
	"64KiB", "\"${PASSWORD}\"", "${EMPTY:-x}", "${N:-3}", "\"$${x}\"", "\"\"", "'it''s'", "|", ">", "&a", "*a", "<<", "!!str", "?", "-",
	"{", "}", "[", "]", ":", ",", "\n", "\n  ", "\"\\u0007\"", "ä", "日本", "\t", "#", "---", "a.dead", "tagger.dead",
}

// Changing files word by word goes deeper than changing bytes.
func TestMutatedFiles(t *testing.T) {
	files, err := globFiles("testdata/good/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	piece := regexp.MustCompile(`[\w.$-]+|\s+|.`)
	accepted := 0
	for i, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		pieces := piece.FindAllString(string(data), -1)
		r := rand.New(rand.NewPCG(uint64(i), 1))
		for range 600 {
			changed := slices.Clone(pieces)
			for range 1 + r.IntN(4) {
				at := r.IntN(len(changed))
				switch r.IntN(4) {
				case 0:
					changed = slices.Insert(changed, at, words[r.IntN(len(words))])
				case 1:
					changed[at] = ""
				case 2:
					changed[at] = changed[r.IntN(len(changed))]
				default:
					changed[at] = words[r.IntN(len(words))]
				}
			}
			text := strings.Join(changed, "")
			if checkBytes(t, []byte(text)); t.Failed() {
				t.Fatalf("the file is\n%s", text)
			}
			if _, err := Parse("f.yaml", []byte(text), testEnv, known()...); err == nil {
				accepted++
			}
		}
	}
	if accepted < 100 {
		t.Errorf("only %d changed files were accepted, too few to say much", accepted)
	}
}

func checkBytes(t *testing.T, data []byte) {
	started := time.Now()
	p, problems := Check("f.yaml", data, testEnv, known()...)
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("%d bytes took %v", len(data), took)
	}
	if (p == nil) != (problems.Errors() > 0) {
		t.Fatalf("pipeline is nil: %v, but there are %d errors", p == nil, problems.Errors())
	}
	if !bytes.Contains(data, []byte(password)) && strings.Contains(problems.Error(), password) {
		t.Errorf("the problems tell the value of a variable:\n%v", problems)
	}
	if p != nil {
		checkRoundTrip(t, p)
		checkSound(t, p)
	}
}

// checkRoundTrip writes a pipeline as JSON, which is YAML, and reads it again.
func checkRoundTrip(t *testing.T, p *Pipeline) {
	t.Helper()
	written := encode(t, p)
	again, err := Parse("f.yaml", written, nil, known()...)
	if err != nil {
		t.Fatalf("what was accepted is refused when it is written again: %v\n%s", err, written)
	}
	if got := encode(t, again); !bytes.Equal(got, written) {
		t.Errorf("read again, the pipeline has become\n%s\nit was\n%s", got, written)
	}
	if !reflect.DeepEqual(again.AllTopics(), p.AllTopics()) {
		t.Errorf("read again, the topics have become %v, they were %v", again.AllTopics(), p.AllTopics())
	}
}

func encode(t *testing.T, p *Pipeline) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(p); err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(b.Bytes(), []byte("${"), []byte("$${"))
}

// checkSound checks what Load promises about a graph.
func checkSound(t *testing.T, p *Pipeline) {
	t.Helper()
	partitions := map[string]int{}
	for _, topic := range p.AllTopics() {
		if topic.Partitions < 1 {
			t.Errorf("topic %s has %d partitions", topic.Name, topic.Partitions)
		}
		partitions[topic.Name] = topic.Partitions
	}
	place := map[string]int{}
	for i, s := range p.Order() {
		place[s] = i
	}
	if len(place) != len(p.Services) {
		t.Errorf("%d services are in order, there are %d", len(place), len(p.Services))
	}
	for name, s := range p.Services {
		for _, topic := range s.From {
			if w, ok := p.Writer(topic); ok && !w.Gather && place[w.Name] >= place[name] {
				t.Errorf("service %s comes before %s, which it reads from", name, w.Name)
			}
			if partitions[topic] != partitions[s.To] || partitions[topic] != partitions[DeadTopic(name)] {
				t.Errorf("service %s: partitions differ: %v", name, partitions)
			}
		}
		if s.Concurrency < 1 || s.Batch.Max < 1 || s.Retry.Attempts < 1 || s.Timeout <= 0 {
			t.Errorf("service %s lacks a default: %+v", name, s)
		}
	}
	for name, g := range p.Gather {
		parts := p.Parts(name)
		if len(parts) != len(g.From) {
			t.Errorf("gather %s has %d parts of %d topics", name, len(parts), len(g.From))
		}
		for _, part := range parts {
			if len(part.Via) == 0 || part.Via[len(part.Via)-1] != part.Service {
				t.Errorf("gather %s: part %s comes via %v", name, part.Service, part.Via)
			}
			if partitions[part.Topic] != partitions[g.Of] {
				t.Errorf("gather %s: partitions differ: %v", name, partitions)
			}
		}
	}
}
