// SPDX-License-Identifier: Apache-2.0

package keywords_test

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace-ml/millrace/text/keywords"
	"github.com/millrace-ml/millrace/text/tagger"
)

// labelled reads the example's labelled messages.
func labelled(t *testing.T) []keywords.Labelled {
	t.Helper()
	names, err := filepath.Glob("../../examples/support-desk/training*.jsonl")
	if err != nil || len(names) == 0 {
		t.Fatalf("the example's labelled messages are not there: %v", err)
	}
	var all []keywords.Labelled
	for _, name := range names {
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(file)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var l keywords.Labelled
			if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			all = append(all, l)
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// The floors are a little below what was measured, so that a slip is noticed.
func TestTheExamplesMessagesAreUnderstood(t *testing.T) {
	q, err := keywords.Evaluate(newExtractor(t), tagger.English(), labelled(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", q)
	if q.ProductAccuracy < 0.97 {
		t.Errorf("products are right in %.3f of the texts, wanted 0.97", q.ProductAccuracy)
	}
	if q.KeywordRecall < 0.89 {
		t.Errorf("%.3f of the keywords are found, wanted 0.89", q.KeywordRecall)
	}
}

func TestEvaluateCountsExactAndNearKeywords(t *testing.T) {
	q, err := keywords.Evaluate(newExtractor(t), tagger.English(), []keywords.Labelled{
		{Text: "the X30 has a dust filter", Keywords: []string{"dust filters", "filter", "wheel"}, Products: []string{"RoboVac X30"}},
		{Text: "the robovac", Products: []string{"RoboVac X30"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if q.Texts != 2 || q.Keywords != 3 || q.ProductAccuracy != 0.5 || q.ExactRecall != 1.0/3 || q.KeywordRecall != 2.0/3 {
		t.Errorf("%+v", q)
	}
	if _, err := keywords.Evaluate(newExtractor(t), tagger.English(), []keywords.Labelled{{Products: []string{"Toaster"}}}); err == nil {
		t.Error("an unknown product is no error")
	}
}
