// SPDX-License-Identifier: Apache-2.0

//go:build !race

// The race detector makes this ten times as slow and has nothing to find here:
// "make test" runs these tests in a step of their own.

package eval_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace-ml/millrace/internal/eval"
)

// The floors are a little below what was measured, so that a slip is noticed.
// The targets, and what is measured with more time and data, are in "make eval".

const deskFolder = "../../examples/support-desk"

func messages(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(deskFolder, "training*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the example's labelled messages are not there: %v", err)
	}
	return files
}

type floors map[string]float64

func (f floors) under(t *testing.T, r *eval.Report) {
	t.Helper()
	for measure, least := range f {
		got := value(t, r, measure)
		t.Logf("%s: %s %.4f (floor %.2f), %s", r.Model, measure, got, least, r.Method)
		if got < least {
			t.Errorf("%s: %s is %.4f, the floor is %v", r.Model, measure, got, least)
		}
	}
}

func TestQualityOfSentimentOnMessagesHeldOut(t *testing.T) {
	floors{eval.MacroF1: 0.81, eval.Accuracy: 0.82}.under(t, run(t, eval.Config{Model: "sentiment", Data: messages(t), Holdout: 0.25, Uncalibrated: true}))
}

func TestQualityOfTheClassOnMessagesHeldOut(t *testing.T) {
	floors{eval.MacroF1: 0.77, eval.Accuracy: 0.79}.under(t, run(t, eval.Config{Model: "classifier", Data: messages(t), Holdout: 0.25, Uncalibrated: true}))
}

func TestQualityOfKeywordsOnMessages(t *testing.T) {
	floors{eval.ProductAccuracy: 0.97, eval.KeywordRecall: 0.89}.under(t, run(t, eval.Config{Model: "keywords", Data: messages(t)}))
}

func TestQualityOfTheChecklistOnMessagesHeldOut(t *testing.T) {
	floors{
		eval.RightFirst:  0.80,
		eval.RightThree:  0.87,
		eval.Abstains:    0.88,
		eval.RankedFirst: 0.87,
		eval.RankedThree: 0.96,
	}.under(t, run(t, eval.Config{Model: "nearest", Data: messages(t), Folds: 4}))
}

// Nothing ever learned from these messages, by another writer.
func TestQualityOnMessagesHeldOut(t *testing.T) {
	heldOut := []string{deskFolder + "/heldout.jsonl"}
	floors{eval.MacroF1: 0.78, eval.Accuracy: 0.80}.under(t, run(t, eval.Config{Model: "sentiment", Data: heldOut}))
	floors{eval.MacroF1: 0.83, eval.Accuracy: 0.85}.under(t, run(t, eval.Config{Model: "classifier", Data: heldOut}))
	floors{eval.ProductAccuracy: 0.98, eval.KeywordRecall: 0.91}.under(t, run(t, eval.Config{Model: "keywords", Data: heldOut}))
	floors{
		eval.RightFirst: 0.92,
		eval.RightThree: 0.94,
		eval.Abstains:   0.93,
	}.under(t, run(t, eval.Config{Model: "nearest", Data: heldOut, Also: messages(t)}))
}

func TestQualityOfTheTaggerOnGoldenMessages(t *testing.T) {
	c := eval.Config{Model: "tagger", Data: []string{"testdata/desk.conllu"}}
	floors{eval.Accuracy: 0.95}.under(t, run(t, c))
	c.Plain = true
	floors{eval.Accuracy: 0.95}.under(t, run(t, c))
	c.Raw = true
	floors{eval.TokenF1: 0.98, eval.TagF1: 0.94}.under(t, run(t, c))
}

func TestQualityOfVectorsOnClassesOfMessages(t *testing.T) {
	floors{eval.TopOne: 0.60, eval.TopThree: 0.88}.under(t, run(t, eval.Config{Model: "embedder", Data: messages(t), Label: "class"}))
}

// public names a file of the public data sets, which are not in the repository.
func public(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("MILLRACE_DATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	file := filepath.Join(dir, filepath.FromSlash(name))
	if _, err := os.Stat(file); err != nil {
		t.Skipf("PUBLIC DATA NOT THERE: %s is not measured on; set MILLRACE_DATA to the folder of public data sets", name)
	}
	return file
}

func TestQualityOfTheTaggerOnATreebank(t *testing.T) {
	c := eval.Config{Model: "tagger", Data: []string{public(t, "ud-english-ewt/en_ewt-ud-dev.conllu")}}
	floors{eval.Accuracy: 0.95}.under(t, run(t, c))
	c.Plain = true
	floors{eval.Accuracy: 0.94}.under(t, run(t, c))
}

func TestQualityOfVectorsOnIntents(t *testing.T) {
	floors{eval.TopOne: 0.86, eval.TopThree: 0.955}.under(t, run(t, eval.Config{Model: "embedder", Data: []string{public(t, "banking77/train.csv")}, Every: 5}))
}
