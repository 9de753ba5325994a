// SPDX-License-Identifier: Apache-2.0

package eval_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/internal/eval"
)

func file(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func run(t testing.TB, c eval.Config) *eval.Report {
	t.Helper()
	r, err := eval.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func value(t testing.TB, r *eval.Report, measure string) float64 {
	t.Helper()
	v, ok := r.Value(measure)
	if !ok {
		t.Fatalf("%s was not measured on %s: %+v", measure, r.Model, r.Measures)
	}
	return v
}

const treebank = `# text = It works
1	It	_	PRON	_	_	_	_	_	_
2	works	_	VERB	_	_	_	_	_	_

`

func TestWhatIsWrongWithTheInputIsSaidWithItsPlace(t *testing.T) {
	good := file(t, "good.csv", "text,label\nbad thing,negative\nlovely thing,positive\n")
	for name, test := range map[string]struct {
		config eval.Config
		want   string
	}{
		"no model":             {eval.Config{Model: "sentimentt", Data: []string{good}}, `no model is called "sentimentt"`},
		"no data":              {eval.Config{Model: "sentiment"}, "there is no data"},
		"no such file":         {eval.Config{Model: "sentiment", Data: []string{"none.csv"}}, "none.csv"},
		"a folder":             {eval.Config{Model: "sentiment", Data: []string{t.TempDir()}}, "is a directory"},
		"empty file":           {eval.Config{Model: "sentiment", Data: []string{file(t, "e.csv", "")}}, "holds no record"},
		"only a header":        {eval.Config{Model: "sentiment", Data: []string{file(t, "h.csv", "text,label\n")}}, "holds no record"},
		"no text column":       {eval.Config{Model: "sentiment", Data: []string{file(t, "t.csv", "words,label\na,b\n")}}, "has no column text or message"},
		"no label column":      {eval.Config{Model: "classifier", Data: []string{file(t, "l.csv", "text,topic\na,b\n")}}, "has no column class"},
		"misspelt column":      {eval.Config{Model: "sentiment", Data: []string{good}, Label: "lable"}, `has no column "lable"`},
		"a short row":          {eval.Config{Model: "sentiment", Data: []string{file(t, "s.csv", "text,label\na,negative\nb\n")}}, "s.csv, line 3: has 1 fields"},
		"not JSON":             {eval.Config{Model: "sentiment", Data: []string{file(t, "j.jsonl", "{\"text\":\"a\",\"label\":\"negative\"}\n{oops\n")}}, "j.jsonl, line 2: not JSON"},
		"no object":            {eval.Config{Model: "sentiment", Data: []string{file(t, "o.jsonl", "7\n")}}, "line 1: a record must be an object"},
		"no label":             {eval.Config{Model: "sentiment", Data: []string{file(t, "n.csv", "text,label\na,negative\nb,\n")}}, "line 3: the label is missing"},
		"text that is none":    {eval.Config{Model: "sentiment", Data: []string{file(t, "x.jsonl", `{"text":7,"label":"negative"}`)}}, "line 1: text is no text"},
		"label not known":      {eval.Config{Model: "sentiment", Data: []string{file(t, "u.csv", "text,label\na,positivv\n")}}, `line 2: the model does not know the label "positivv"`},
		"item not known":       {eval.Config{Model: "nearest", Data: []string{file(t, "i.csv", "text,checklist\na,none-such\n")}}, `the label "none-such"`},
		"product not known":    {eval.Config{Model: "keywords", Data: []string{file(t, "p.csv", "text,products\na,Toaster\n")}}, `product "Toaster" is not in the catalogue`},
		"one fold":             {eval.Config{Model: "sentiment", Data: []string{good}, Folds: 1}, "at least 2"},
		"more folds than data": {eval.Config{Model: "sentiment", Data: []string{good}, Folds: 9}, "cannot be dealt out"},
		"every record":         {eval.Config{Model: "sentiment", Data: []string{good}, Every: 1}, "something must be left"},
		"folds and a share":    {eval.Config{Model: "sentiment", Data: []string{good}, Folds: 2, Holdout: 0.5}, "choose one"},
		"folds and weights":    {eval.Config{Model: "sentiment", Data: []string{good}, Folds: 2, Weights: good}, "weights would not be used"},
		"folds of keywords":    {eval.Config{Model: "keywords", Data: []string{good}, Folds: 2}, "keywords is not trained"},
		"folds of embedder":    {eval.Config{Model: "embedder", Data: []string{good}, Folds: 2}, "scripts/distill-embedder"},
		"raw sentiment":        {eval.Config{Model: "sentiment", Data: []string{good}, Raw: true}, "ways to measure the tagger"},
		"one label":            {eval.Config{Model: "classifier", Data: []string{file(t, "1.csv", "text,label\na,x\nb,x\n")}, Folds: 2}, `every text has the label "x"`},
		"bad weights":          {eval.Config{Model: "sentiment", Data: []string{good}, Weights: good}, "not usable as weights"},
		"bad tagger weights":   {eval.Config{Model: "tagger", Data: []string{file(t, "t.conllu", treebank)}, Weights: good}, "not a file of tagger weights"},
		"bad embedder weights": {eval.Config{Model: "embedder", Data: []string{good}, Weights: good}, "not usable as weights of an embedder"},
		"no weights":           {eval.Config{Model: "sentiment", Data: []string{good}, Weights: "none.bin"}, "none.bin"},
		"not CoNLL-U":          {eval.Config{Model: "tagger", Data: []string{good}}, "good.csv: line 1: a word has 10 fields"},
		"empty treebank":       {eval.Config{Model: "tagger", Data: []string{file(t, "e.conllu", "\n\n")}}, "holds no sentence"},
		"not a Universal tag":  {eval.Config{Model: "tagger", Data: []string{file(t, "x.conllu", strings.Replace(treebank, "VERB", "VBZ", 1))}}, `"works", has the tag "VBZ"`},
	} {
		_, err := eval.Run(t.Context(), test.config)
		if _, ok := errors.AsType[*eval.InputError](err); !ok || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: the error is %v, want one about the input: %s", name, err, test.want)
		}
	}
}

func TestColumnsAreFoundOrNamedInEveryFormat(t *testing.T) {
	for name, content := range map[string]string{
		"a.csv":   "message,sentiment,id\n\"awful, really\",negative,1\nlovely,positive,2\n",
		"a.tsv":   "id\ttext\tlabel\n1\tawful, really\tnegative\n2\tlovely\tpositive\n",
		"a.jsonl": `{"text":"awful, really","label":"negative"}` + "\n\n" + `{"text":"lovely","label":"positive","more":[1]}`,
		"a.txt":   "text,label\nawful,negative\nlovely,positive\n",
	} {
		if r := run(t, eval.Config{Model: "sentiment", Data: []string{file(t, name, content)}}); r.Items != 2 {
			t.Errorf("%s: %d texts", name, r.Items)
		}
	}
	odd := file(t, "odd.csv", "label,what they wrote,mood\n1,awful,negative\n2,lovely,positive\n")
	r := run(t, eval.Config{Model: "sentiment", Data: []string{odd, odd}, Text: "what they wrote", Label: "mood"})
	if r.Items != 4 || r.Classes[0].Support != 2 || value(t, r, eval.Accuracy) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestTheTaggerIsMeasuredOnGivenWordsPlainAndRaw(t *testing.T) {
	data := file(t, "a.conllu", `# text = It works.
1	It	_	PRON	_	_	_	_	_	_
2	works	_	VERB	_	_	_	_	_	SpaceAfter=No
3	.	_	PUNCT	_	_	_	_	_	_

`)
	for _, test := range []struct {
		raw, plain bool
		measure    string
		words      int
	}{{false, false, eval.Accuracy, 3}, {false, true, eval.Accuracy, 2}, {true, false, eval.TagF1, 3}, {true, true, eval.TagF1, 2}} {
		r := run(t, eval.Config{Model: "tagger", Data: []string{data}, Raw: test.raw, Plain: test.plain})
		for _, m := range r.Measures {
			if m.Name == test.measure && (m.Of != test.words || m.Value != 1) {
				t.Errorf("raw %v, plain %v: %+v, want all of %d words right", test.raw, test.plain, m, test.words)
			}
		}
	}
}

// mails are two kinds of messages that are easy to tell apart.
func mails(n int) string {
	var b strings.Builder
	b.WriteString("text,label\n")
	for i := range n {
		fmt.Fprintf(&b, "the parcel %d is late,delivery\nplease pay invoice %d now,billing\n", i*7, i*11)
	}
	return b.String()
}

func TestTheSameDataAndSeedTrainTheSameBytes(t *testing.T) {
	data := file(t, "a.csv", mails(20))
	for _, model := range []string{"classifier", "sentiment"} {
		var first, second, other bytes.Buffer
		for out, seed := range map[*bytes.Buffer]uint64{&first: 7, &second: 7, &other: 8} {
			trained, err := eval.Train(t.Context(), eval.Config{Model: model, Data: []string{data}, Seed: seed, Uncalibrated: true})
			if err != nil {
				t.Fatal(err)
			}
			if err := trained.Save(out); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(first.Bytes(), second.Bytes()) || bytes.Equal(first.Bytes(), other.Bytes()) {
			t.Errorf("%s: the same seed must give the same bytes, another one others", model)
		}
	}
}

func TestFoldsMeasureOnEveryTextOnce(t *testing.T) {
	data := file(t, "a.csv", mails(20))
	r := run(t, eval.Config{Model: "classifier", Data: []string{data}, Folds: 4, Mixed: true})
	if r.Items != 40 || value(t, r, eval.Accuracy) != 1 || r.Classes[0].Label != "billing" || r.Classes[0].Support != 20 {
		t.Errorf("%+v", r)
	}
}

func TestEveryNthRecordIsHeldOut(t *testing.T) {
	// Every third record is of a kind of its own, which could be learned only from
	// the others of that kind.
	var b strings.Builder
	b.WriteString("text,label\n")
	for range 10 {
		b.WriteString("the parcel,delivery\nthe invoice,billing\nthe parcel,billing\n")
	}
	r := run(t, eval.Config{Model: "classifier", Data: []string{file(t, "a.csv", b.String())}, Every: 3, Uncalibrated: true})
	if r.Items != 10 || value(t, r, eval.Accuracy) != 0 {
		t.Errorf("%+v", r.Measures)
	}
}

func TestAHeldOutShareIsNotLearnedFrom(t *testing.T) {
	// The labels of the held-out part are right only where the text tells them;
	// here it tells nothing, so a model that has not seen it can but guess.
	var b strings.Builder
	b.WriteString("text,label\n")
	for i := range 60 {
		fmt.Fprintf(&b, "%x,%s\n", uint32(i+1)*2654435761, []string{"odd", "even"}[i*i*7/3%2])
	}
	data := file(t, "noise.csv", b.String())
	r := run(t, eval.Config{Model: "classifier", Data: []string{data}, Holdout: 0.5, Uncalibrated: true})
	if r.Items < 25 || r.Items > 35 || value(t, r, eval.Accuracy) > 0.85 {
		t.Errorf("%+v", r.Measures)
	}
}

func TestMoreDataIsLearnedFromButNotMeasured(t *testing.T) {
	// Of the measured texts none can be told from the others'.
	data := file(t, "a.csv", "text,label\nthe parcel,delivery\nthe invoice,billing\nparcel news,delivery\ninvoice news,billing\n")
	also := file(t, "b.csv", mails(20))
	r := run(t, eval.Config{Model: "classifier", Data: []string{data}, Folds: 2, Also: []string{also}, AlsoWeight: 0.5})
	if r.Items != 4 || value(t, r, eval.Accuracy) != 1 {
		t.Errorf("%+v", r.Measures)
	}
}

func TestNearestLearnsFromTheDataThatItIsNotMeasuredOn(t *testing.T) {
	items := file(t, "items.yaml", "- {id: a, title: The machine leaks}\n- {id: b, title: The machine is loud}\n")
	var rows strings.Builder
	rows.WriteString("text,checklist\n")
	for range 8 {
		rows.WriteString("zebra stripes everywhere,a\npurple monkeys dancing,b\nwhere is my parcel,\n")
	}
	data := file(t, "a.csv", rows.String())
	c := eval.Config{Model: "checklist", Data: []string{data}, Items: items, Mixed: true}
	if r := run(t, c); value(t, r, eval.RankedFirst) > 0.5 {
		t.Errorf("without learning: %+v", r.Measures)
	}
	c.Folds = 4
	if r := run(t, c); r.Items != 24 || value(t, r, eval.RankedFirst) != 1 {
		t.Errorf("with folds: %+v", r.Measures)
	}
}

func TestNearestDoesNotLearnFromWhatItIsMeasuredOn(t *testing.T) {
	items := file(t, "items.yaml", "- {id: a, title: The machine leaks}\n- {id: b, title: The machine is loud}\n")
	// Every third record has another item than its words say.
	data := file(t, "a.csv", "text,checklist\n"+strings.Repeat("zebra stripes everywhere,a\nwhere is my parcel,\nthe machine is loud,a\n", 12))
	c := eval.Config{Model: "nearest", Data: []string{data}, Items: items, Every: 3}
	if r := run(t, c); r.Items != 12 || value(t, r, eval.RightFirst) > 0.5 {
		t.Errorf("%+v", r.Measures)
	}
	c.Also = []string{data} // which tells what those records are
	if r := run(t, c); value(t, r, eval.RightFirst) != 1 {
		t.Errorf("with more data: %+v", r.Measures)
	}
}

func TestSpeedIsMeasuredOnDemand(t *testing.T) {
	data := file(t, "a.csv", "text,label\nawful,negative\nlovely,positive\n")
	if r := run(t, eval.Config{Model: "sentiment", Data: []string{data}}); r.Speed != nil {
		t.Errorf("nobody asked: %+v", r.Speed)
	}
	r := run(t, eval.Config{Model: "sentiment", Data: []string{data}, Speed: 1})
	if r.Speed == nil || r.Speed.Unit != "texts" || !(r.Speed.PerSecond > 0) {
		t.Errorf("%+v", r.Speed)
	}
}

func TestAnOutputIsThereAsAWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "w.bin")
	out, err := eval.NewOutput(path, false)
	if err != nil {
		t.Fatal(err)
	}
	out.Discard()
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("a discarded output left %v", left)
	}
	if out, err = eval.NewOutput(path, false); err != nil {
		t.Fatal(err)
	}
	// Somebody else writes the file meanwhile.
	if err := os.WriteFile(path, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	trained, err := eval.Train(t.Context(), eval.Config{Model: "classifier", Data: []string{file(t, "a.csv", mails(5))}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Commit(trained.Save); err == nil {
		t.Error("a file that came in between was replaced")
	}
	if got, _ := os.ReadFile(path); string(got) != "theirs" {
		t.Errorf("the file holds %.20q", got)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("there are %v", left)
	}
}
