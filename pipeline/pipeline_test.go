// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/model/builtin"
)

func globFiles(pattern string) ([]string, error) {
	files, err := filepath.Glob(pattern)
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("no files match %s", pattern)
	}
	return files, err
}

func parse(t *testing.T, yaml string) *Pipeline {
	t.Helper()
	p, err := Parse("test.yaml", []byte(yaml), testEnv, known()...)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return p
}

func mustLoad(t *testing.T, file string) *Pipeline {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Parse(file, data, testEnv, known()...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s is %#v, want %#v", what, got, want)
	}
}

func TestDefaultsAreFilledIn(t *testing.T) {
	p := mustLoad(t, "testdata/good/smallest.yaml")
	equal(t, "broker", p.Broker, "embedded")
	equal(t, "topic", p.Topics["texts"], Topic{Partitions: 8})
	equal(t, "service", p.Services["sentiment"], Service{
		From: Names{"texts"}, To: "sentiments", Model: Model{Kind: "builtin", Argument: "sentiment", Options: &builtin.SentimentOptions{Field: "text"}},
		Batch: Batch{Auto: true, Max: 256, Bytes: 16 << 20}, Concurrency: 1,
		Retry:   Retry{Attempts: 3, Backoff: Duration(100 * time.Millisecond)},
		Timeout: Duration(30 * time.Second), Start: "beginning",
	})
	equal(t, "directory", p.Dir, filepath.Join("testdata", "good"))
}

func TestEveryFieldIsRead(t *testing.T) {
	p := mustLoad(t, "testdata/good/everything.yaml")
	const day = 24 * Duration(time.Hour)
	equal(t, "broker", p.Broker, "kafka://localhost:9092")
	equal(t, "tickets", p.Topics["tickets"], Topic{Partitions: 12, Retention: 30 * day, RetentionBytes: 10e9})
	equal(t, "tags", p.Topics["tags"], Topic{Partitions: 12, Retention: Forever})
	equal(t, "tagger", p.Services["tagger"], Service{
		From: Names{"tickets", "mails"}, To: "tags",
		Model:   Model{Kind: "builtin", Argument: "tagger", Options: &builtin.TaggerOptions{Field: "body", Weights: "some\ntext\n"}},
		Batch:   Batch{Max: 64, Bytes: 1 << 20, Wait: Duration(20 * time.Millisecond)},
		Latency: Duration(50 * time.Millisecond), Concurrency: 4,
		Retry:   Retry{Attempts: 5, Backoff: Duration(time.Second)},
		Timeout: Duration(90 * time.Second), Start: "end",
	})
	equal(t, "keywords", p.Services["keywords"].Model, Model{Kind: "builtin", Argument: "keywords", Options: &builtin.KeywordsOptions{
		Products: []string{"X30", "Mini"}, Max: 10,
	}})
	equal(t, "nearest", p.Services["nearest"].Model.Options, &builtin.NearestOptions{
		Items: "items.yaml", Top: 3, Threshold: new(-0.5), Label: "checklist", Kind: "class", Field: "text",
	})
	equal(t, "reply", p.Services["reply"].Model, Model{Kind: "go", Argument: "urgency"})
	equal(t, "batch: auto", p.Services["keywords"].Batch, Batch{Auto: true, Max: 256, Bytes: 16 << 20})
	equal(t, "batch: {}", p.Services["nearest"].Batch, Batch{Max: 256, Bytes: 16 << 20})
	equal(t, "desk", p.Gather["desk"], Gather{
		Of: "tickets", From: []string{"tags", "classes"}, To: "desk", Deadline: Duration(10 * time.Second), Start: "7d",
	})
}

func TestViewsOfTheSupportDesk(t *testing.T) {
	p := mustLoad(t, "../examples/support-desk/pipeline.yaml")
	equal(t, "order", p.Order(), []string{"sentiment", "tagger", "embedder", "classifier", "keywords", "checklist"})
	equal(t, "sources", p.Sources(), []string{"tickets"})
	equal(t, "gathers", p.Gathers(), []string{"desk"})
	equal(t, "upstream of keywords", p.Upstream("keywords"), []string{"tagger"})
	equal(t, "upstream of tagger", len(p.Upstream("tagger")), 0)
	equal(t, "parts", p.Parts("desk"), []Part{
		{"sentiment", "sentiments", []string{"sentiment"}},
		{"classifier", "classes", []string{"tagger", "classifier"}},
		{"keywords", "keywords", []string{"tagger", "keywords"}},
		{"checklist", "checklists", []string{"embedder", "checklist"}},
	})
	equal(t, "readers of tags", p.Readers("tags"), []User{{Name: "classifier"}, {Name: "keywords"}})
	writer, ok := p.Writer("desk")
	equal(t, "writer of desk", writer, User{Name: "desk", Gather: true})
	equal(t, "has a writer", ok, true)
	if _, ok := p.Writer("tickets"); ok {
		t.Error("tickets has a writer")
	}
	if _, problems, err := CheckFile("../examples/support-desk/pipeline.yaml", known()...); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestServicesAreOrderedByWhatTheyReadAndThenAsInTheFile(t *testing.T) {
	p := parse(t, `
name: order
topics: {in: {}}
services:
  last: {from: [c, b], to: d, model: {builtin: identity}}
  third: {from: b, to: c, model: {builtin: identity}}
  zeta: {from: in, to: z, model: {builtin: identity}}
  second: {from: a, to: b, model: {builtin: identity}}
  alpha: {from: in, to: a, model: {builtin: identity}}
`)
	equal(t, "order", p.Order(), []string{"zeta", "alpha", "second", "third", "last"})
	equal(t, "upstream of last", p.Upstream("last"), []string{"alpha", "second", "third"})
	equal(t, "topics", p.TopicNames(), []string{"in", "c", "b", "d", "z", "a"})
}

func TestResultTopicsTakeAfterWhatTheyDeriveFrom(t *testing.T) {
	p := parse(t, `
name: topics
topics:
  short: {partitions: 3, retention: 1h, retention_bytes: 1MiB}
  long: {partitions: 3, retention: 7d}
  kept: {retention: forever}
  both.dead: {retention: 30d}
services:
  one: {from: short, to: ones, model: {builtin: identity}}
  both: {from: [short, long], to: twos, model: {builtin: identity}}
  keep: {from: ones, to: kept, model: {builtin: identity}}
gather:
  g: {of: long, from: [twos], to: joined}
`)
	const day = 24 * time.Hour
	equal(t, "topics", p.AllTopics(), []broker.Topic{
		{Name: "both.dead", Partitions: 3, Retention: 30 * day},
		{Name: "joined", Partitions: 3, Retention: 7 * day},
		{Name: "keep.dead", Partitions: 3, Retention: time.Hour},
		{Name: "kept", Partitions: 3},
		{Name: "long", Partitions: 3, Retention: 7 * day},
		{Name: "one.dead", Partitions: 3, Retention: time.Hour},
		{Name: "ones", Partitions: 3, Retention: time.Hour},
		{Name: "short", Partitions: 3, Retention: time.Hour, RetentionBytes: 1 << 20},
		{Name: "twos", Partitions: 3, Retention: 7 * day},
	})
	equal(t, "declared partitions", p.Topics["kept"].Partitions, 3)
}

func TestVariablesAreExpandedInScalars(t *testing.T) {
	p := mustLoad(t, "testdata/good/variables.yaml")
	equal(t, "name", p.Name, "shop")
	equal(t, "broker", p.Broker, "kafka://desk:"+password+"@localhost:9092")
	equal(t, "topic", p.Topics["tickets"], Topic{Partitions: 4, Retention: Duration(7 * 24 * time.Hour)})
	equal(t, "options", p.Services["a"].Model.Options, &builtin.NearestOptions{
		Items: "${NOT_A_VARIABLE} costs $5", Label: password, Top: 4, Threshold: new(0.5), Kind: "class", Field: "text",
	})
}

func TestExpand(t *testing.T) {
	env := func(name string) (string, bool) {
		v, ok := map[string]string{"A": "a", "EMPTY": "", "NESTED": "${A}"}[name]
		return v, ok
	}
	for in, want := range map[string]string{
		"plain":                "plain",
		"$A $ {A} }":           "$A $ {A} }",
		"${A}":                 "a",
		"x${A}y${A}z":          "xayaz",
		"${NONE:-b}":           "b",
		"${NONE:-}":            "",
		"${EMPTY}":             "",
		"${EMPTY:-b}":          "b",
		"${A:-b}":              "a",
		"${NONE:-a:-b${c}":     "a:-b${c",
		"$${A}":                "${A}",
		"$$${A}":               "$${A}",
		"$$A":                  "$$A",
		"${NESTED}":            "${A}",
		"${NONE:-kafka://h:1}": "kafka://h:1",
	} {
		if got, _, wrong := expand(in, env); got != want || len(wrong) > 0 {
			t.Errorf("expand(%q) = %q, %v, want %q", in, got, wrong, want)
		}
	}
	for _, in := range []string{"${", "${}", "${NONE}", "${A", "${1A}", "${A B}", "${A-b}", "${:-b}"} {
		if got, _, wrong := expand(in, env); len(wrong) == 0 {
			t.Errorf("expand(%q) = %q, want an error", in, got)
		}
	}
}

func TestEveryBrokerIsKnown(t *testing.T) {
	for _, url := range []string{"embedded", "kafka://h:1,i", "kafkas://h", "redis://h", "rediss://h"} {
		p := parse(t, "name: x\nbroker: "+url+"\ntopics: {in: {}}\nservices: {a: {from: in, to: out, model: {builtin: identity}}}\n")
		equal(t, "broker", p.Broker, url)
	}
}

func TestDurabilityIsAParameterOfTheBrokersURL(t *testing.T) {
	equal(t, "said", mustLoad(t, "testdata/good/durability.yaml").BrokerURL(), "embedded?durability=os")
	equal(t, "not said", mustLoad(t, "testdata/good/smallest.yaml").BrokerURL(), "embedded")
}

func TestAValueThatCannotBeReadIsNotTold(t *testing.T) {
	for _, field := range []string{"partitions", "retention", "retention_bytes"} {
		_, err := Parse("p.yaml", []byte("name: x\ntopics:\n  in:\n    "+field+`: "${PASSWORD}"`+"\n"), testEnv)
		if err == nil || strings.Contains(err.Error(), password) || !strings.Contains(err.Error(), "${PASSWORD}") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestDurationsAndSizes(t *testing.T) {
	for in, want := range map[string]Duration{
		"500ms": Duration(500 * time.Millisecond), "5s": Duration(5 * time.Second), "90s": Duration(90 * time.Second),
		"24h": Duration(24 * time.Hour), "7d": Duration(7 * 24 * time.Hour), "1d12h": Duration(36 * time.Hour), "forever": Forever,
	} {
		got, err := ParseDuration(in)
		if err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", in, got, err, want)
		}
		if again, err := ParseDuration(got.String()); err != nil || again != got {
			t.Errorf("%q is written as %q, which is read as %v, %v", in, got, again, err)
		}
	}
	for d, want := range map[Duration]string{
		Duration(90 * time.Second): "1m30s", Duration(time.Hour): "1h", Duration(2 * time.Minute): "2m",
		Duration(48 * time.Hour): "2d", Duration(36 * time.Hour): "36h", 0: "0s", Duration(10 * time.Hour): "10h",
		Duration(20 * time.Minute): "20m", Duration(time.Hour + time.Second): "1h0m1s",
	} {
		equal(t, "duration", d.String(), want)
	}
	for in, want := range map[string]Size{
		"1": 1, "65536": 64 << 10, "64KiB": 64 << 10, "8MiB": 8 << 20, "1GB": 1e9, "1.5GiB": 3 << 29, "2 TiB": 2 << 40, "10kB": 10_000, "7B": 7,
	} {
		got, err := ParseSize(in)
		if err != nil || got != want {
			t.Errorf("ParseSize(%q) = %v, %v, want %v", in, got, err, want)
		}
		if again, err := ParseSize(got.String()); err != nil || again != got {
			t.Errorf("%q is written as %q, which is read as %v, %v", in, got, again, err)
		}
	}
	for _, bad := range []string{"", "KiB", "1.5", "5Mb", "9999999999TiB", "NaNGB", "InfGB", "1e99GB", "0x10"} {
		if got, err := ParseSize(bad); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", bad, got)
		}
	}
}

func TestSuggestionsAreNear(t *testing.T) {
	names := []string{"tickets", "tags", "sentiments", "from", "to"}
	for written, want := range map[string]string{
		"ticktes": "tickets", "Tickets": "tickets", "tag": "tags", "form": "from", "sentimants": "sentiments",
		"embeddings": "", "x": "", "": "", "tickets": "",
	} {
		if got, _ := nearest(written, names); got != want {
			t.Errorf("nearest(%q) = %q, want %q", written, got, want)
		}
	}
}

func TestAMissingFileIsNamed(t *testing.T) {
	_, err := Load("testdata/none.yaml")
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "testdata/none.yaml") {
		t.Errorf("Load = %v", err)
	}
	if _, _, err := CheckFile("testdata"); err == nil {
		t.Error("a directory was read")
	}
}

func TestHostileFilesAreRefusedSoon(t *testing.T) {
	repeat := func(s string) string { return strings.Repeat(s, MaxFileBytes/len(s)) }
	for name, text := range map[string]string{
		"too large":       repeat("x") + "xx",
		"keys":            repeat("a: b\n"),
		"brackets":        repeat("["),
		"braces":          repeat("{a: "),
		"dashes":          repeat("- "),
		"question marks":  repeat("? "),
		"colons":          repeat(": "),
		"anchors":         repeat("&a "),
		"tags":            repeat("!!a "),
		"documents":       repeat("---\n"),
		"open quote":      `name: "` + repeat("x"),
		"long text":       `name: ` + strings.Repeat("x", MaxFileBytes-10),
		"comments":        repeat("# a\n"),
		"steep block":     steep(1400),
		"NUL":             repeat("\x00"),
		"not UTF-8":       "name: \xff",
		"escapes":         "name: \"\x1b[31m\x1b]0;x\x07\"\n",
		"aliases of each": "a: &a [*b]\nb: &b [*a]\nname: *a\n",
	} {
		started := time.Now()
		_, err := Parse(name, []byte(text), nil)
		var problems Problems
		if !errors.As(err, &problems) || len(problems) == 0 {
			t.Errorf("%s: error is %v", name, err)
		}
		if took := time.Since(started); took > 10*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
		if strings.ContainsRune(problems.Error(), 0x1b) {
			t.Errorf("%s: an escape sequence of the file is in the error", name)
		}
		if n := len(problems.Error()); n > 100_000 {
			t.Errorf("%s: the error has %d bytes", name, n)
		}
	}
}

func TestDeepNestingIsNotParsed(t *testing.T) {
	for _, text := range []string{
		strings.Repeat("[", maxDepth+1), "a: " + strings.Repeat("{a: ", maxDepth+1), strings.Repeat("- ", maxDepth+1), steep(maxIndent + 2),
	} {
		_, err := Parse("deep.yaml", []byte(text), nil)
		if err == nil || !strings.Contains(err.Error(), "nested too deeply") {
			t.Errorf("error is %v", err)
		}
	}
}

// steep is a block in which each key is indented by one more column.
func steep(depth int) string {
	var b strings.Builder
	for i := range depth {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func TestManyProblemsAreCut(t *testing.T) {
	var b strings.Builder
	for i := range 500 {
		fmt.Fprintf(&b, "field%d: 1\n", i)
	}
	_, problems := Check("p.yaml", []byte(b.String()), nil)
	if len(problems) != maxProblems+1 || !strings.Contains(problems.Error(), "and 402 more") {
		t.Errorf("%d problems; the last is %v", len(problems), problems[len(problems)-1])
	}
}
