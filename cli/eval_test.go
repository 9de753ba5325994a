// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/internal/eval"
)

// letters are labelled with two classes that are easy to tell apart.
func letters(n int) string {
	var b strings.Builder
	b.WriteString("id,message,topic\n")
	for i := range n {
		fmt.Fprintf(&b, "%d,the parcel of order %d is late,delivery\n%d,\"please, pay invoice %d now\",billing\n", 2*i, i*7, 2*i+1, i*11)
	}
	return b.String()
}

const ownClasses = `name: test
topics:
  tickets: {partitions: 2, retention: 7d}
services:
  tagger:     {from: tickets, to: tags,    model: {builtin: tagger, field: message}}
  classifier: {from: tags,    to: classes, model: {builtin: classifier, weights: own.bin}}
gather:
  desk: {of: tickets, from: [classes], to: desk, deadline: 1m}
`

func TestAClassifierIsTrainedMeasuredAndUsed(t *testing.T) {
	report := testdata(t, "eval.txt")
	t.Chdir(t.TempDir())
	write(t, "train.csv", letters(12))
	write(t, "test.csv", "message,topic\nmy parcel is very late,delivery\nwhere is the parcel,billing\nthe invoice was paid,billing\n")
	write(t, "desk.yaml", ownClasses)

	got := call(t, "", "train", "classifier", "--data", "train.csv", "--text", "message", "--label", "topic", "--test", "test.csv", "--output", "own.bin")
	if got.code != exitOK || !strings.Contains(got.err, "own.bin: classifier that tells 2 labels, learned from 24 texts in ") {
		t.Fatalf("exit code %d, %s", got.code, got.err)
	}
	if !strings.HasPrefix(got.out, "classifier on 3 texts of test.csv\nweights just trained\n") {
		t.Errorf("printed %s", got.out)
	}
	measure := []string{"eval", "classifier", "--data", "test.csv", "--text", "message", "--label", "topic", "--weights", "own.bin", "--speed", "0"}
	got = call(t, "", measure...)
	if got.code != exitOK || got.err != "" {
		t.Fatalf("exit code %d, %s", got.code, got.err)
	}
	// How sure the model is changes with the smallest change of the training.
	golden(t, report, regexp.MustCompile(`(calibration error  )0\.\d{4}`).ReplaceAllString(got.out, "${1}0.…"))

	var r eval.Report
	got = call(t, "", append(measure, "--output", "json")...)
	if err := json.Unmarshal([]byte(got.out), &r); err != nil || r.Model != "classifier" || r.Items != 3 || r.Confusion.Counts[0][1] != 1 {
		t.Errorf("%v: %s", err, got.out)
	}

	write(t, "new.jsonl", `{"message":"no parcel came"}`+"\n"+`{"message":"an invoice came"}`+"\n")
	got = call(t, "", "batch", "desk.yaml", "--input", "new.jsonl", "--output", "out.jsonl")
	out, _ := os.ReadFile("out.jsonl")
	if got.code != exitOK || strings.Count(string(out), `"label":"delivery"`) != 1 || strings.Count(string(out), `"label":"billing"`) != 1 {
		t.Errorf("exit code %d, %s, %s", got.code, got.err, out)
	}
}

func TestTheSameTrainingWritesTheSameFileAndReplacesNone(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "train.csv", letters(8))
	train := func(file string, more ...string) result {
		return call(t, "", append([]string{"train", "sentiment", "-d", "train.csv", "--text", "message", "--label", "topic", "-o", file}, more...)...)
	}
	for _, file := range []string{"a.bin", "b.bin"} {
		if got := train(file); got.code != exitOK {
			t.Fatalf("exit code %d, %s", got.code, got.err)
		}
	}
	a, _ := os.ReadFile("a.bin")
	if b, _ := os.ReadFile("b.bin"); len(a) == 0 || string(a) != string(b) {
		t.Errorf("files of %d and %d bytes differ", len(a), len(b))
	}
	got := train("a.bin", "--seed", "9")
	if got.code != exitUsage || got.err != "millrace: a.bin exists already\n  add --force to replace it\n" {
		t.Errorf("exit code %d, %s", got.code, got.err)
	}
	if again, _ := os.ReadFile("a.bin"); string(again) != string(a) {
		t.Error("the file was replaced")
	}
	if got := train("a.bin", "--seed", "9", "--force", "--folds", "2"); got.code != exitOK || !strings.Contains(got.out, "2-fold cross-validation") {
		t.Errorf("exit code %d, %s%s", got.code, got.out, got.err)
	}
	if again, _ := os.ReadFile("a.bin"); string(again) == string(a) {
		t.Error("the file was not replaced")
	}
}

const treebank = `# text = It works
1	It	_	PRON	_	_	_	_	_	_
2	works	_	VERB	_	_	_	_	_	_

# text = It broke
1	It	_	PRON	_	_	_	_	_	_
2	broke	_	VERB	_	_	_	_	_	_

`

func TestATaggerIsTrainedAndMeasured(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "small.conllu", treebank)
	if got := call(t, "", "train", "tagger", "-d", "small.conllu", "-o", "t.bin"); got.code != exitOK {
		t.Fatalf("exit code %d, %s", got.code, got.err)
	}
	got := call(t, "", "eval", "tagger", "-d", "small.conllu", "-w", "t.bin", "--speed", "0")
	if got.code != exitOK || !strings.Contains(got.out, "accuracy  1.0000  4") {
		t.Errorf("exit code %d, %s%s", got.code, got.out, got.err)
	}
	write(t, "desk.yaml", strings.Replace(ownClasses, "field: message", "weights: t.bin", 1))
	if got := call(t, "", "lint", "desk.yaml"); strings.Contains(got.err, "tagger") {
		t.Errorf("the pipeline does not know the tagger's weights: %s", got.err)
	}
}

func TestWhatIsWrongWithDataAndWeightsIsOneLineWithAHintAndExitCode2(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "good.csv", "text,label\nbad,negative\n")
	write(t, "empty.csv", "")
	write(t, "unknown.csv", "text,label\nbad,negativ\n")
	write(t, "bad.conllu", treebank+"1\tbroken\n")
	write(t, "bad.bin", "no weights")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"eval"}, "millrace: accepts 1 arg(s), received 0\n  usage: millrace eval MODEL --data FILE… [flags]\n"},
		{[]string{"eval", "sentimentt", "-d", "good.csv"}, "millrace: no model is called \"sentimentt\"\n  did you mean sentiment?\n"},
		{[]string{"eval", "sentiment"}, "millrace: there is no data to measure on\n  name a file of labelled data with --data\n"},
		{[]string{"eval", "sentiment", "-d", "good.csv", "--label", "lable"}, "millrace: good.csv has no column \"lable\"\n  did you mean label?\n"},
		{[]string{"eval", "sentiment", "-d", "empty.csv"}, "millrace: empty.csv holds no record\n  the first line of a CSV or TSV file names its columns; JSON has one object a line\n"},
		{[]string{"eval", "sentiment", "-d", "unknown.csv"}, "millrace: unknown.csv, line 2: the model does not know the label \"negativ\"\n  did you mean negative?\n"},
		{[]string{"eval", "sentiment", "-d", "good.csv", "-w", "bad.bin"}, "millrace: bad.bin: not usable as weights of a text classifier: the file does not begin with MRWPLIN1\n  name a file that millrace train sentiment made\n"},
		{[]string{"eval", "tagger", "-d", "bad.conllu"}, "millrace: bad.conllu: line 9: a word has 10 fields separated by tabs, this has 2\n  the tagger is measured on CoNLL-U; see universaldependencies.org/format.html\n"},
		{[]string{"eval", "all", "--desk", "."}, "millrace: . holds no labelled messages (training*.jsonl)\n  run it from the repository's root, or name the example's folder\n"},
		{[]string{"train", "sentiment", "-d", "good.csv"}, "millrace: train: there is nowhere to write the weights to\n  name the file for the weights with --output\n"},
		{[]string{"train", "sentiment", "-o", "x.bin"}, "millrace: there is no data to learn from\n  name a file of labelled data with --data\n"},
		{[]string{"train", "embedder", "-d", "good.csv", "-o", "x.bin"}, "millrace: embedder is not trained: its weights are distilled from a larger model by scripts/distill-embedder\n  tagger, sentiment and classifier are trained here\n"},
		{[]string{"train", "keywords", "-d", "good.csv", "-o", "x.bin"}, "millrace: keywords is not trained: it learns nothing; products come from its option catalogue\n  tagger, sentiment and classifier are trained here\n"},
		{[]string{"train", "checklist", "-d", "good.csv", "-o", "x.bin"}, "millrace: nearest is not trained: it has no weights; it learns when it starts, from the files of its option examples\n  tagger, sentiment and classifier are trained here\n"},
		{[]string{"train", "classifier", "-d", "good.csv", "-o", "x.bin"}, "millrace: good.csv: every text has the label \"negative\"\n  a model tells labels apart: it needs two at least\n"},
		{[]string{"train", "classifier", "-d", "good.csv", "-o", "."}, "millrace: . is a directory\n  name a file in it\n"},
	} {
		got := call(t, "", c.args...)
		if got.code != exitUsage || got.err != c.want || got.out != "" {
			t.Errorf("%q: exit code %d\n%q, want\n%q", c.args, got.code, got.err, c.want)
		}
	}
	if left, _ := os.ReadDir("."); len(left) != 5 {
		t.Errorf("something was left behind: %v", left)
	}
}
