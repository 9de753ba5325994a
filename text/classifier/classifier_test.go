// SPDX-License-Identifier: Apache-2.0

package classifier_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/text/classifier"
	"github.com/millrace-ml/millrace/text/linear"
)

func TestTheLabelsAreTheSupportDesks(t *testing.T) {
	want := []string{"complaint", "compliment", "delivery", "help_needed", "other", "question", "return_refund"}
	if got := classifier.English().Labels(); !slices.Equal(got, want) {
		t.Errorf("labels are %v", got)
	}
}

func TestOddTextsAreAnswered(t *testing.T) {
	for _, text := range []string{"", " ", "\xff\xfe", "🙂", strings.Repeat("word ", 20_000)} {
		for _, tagged := range []classifier.Tagged{classifier.Tag(text), {Text: text}} {
			p, _ := classifier.English().Predict(nil, tagged)
			sum := 0.0
			for _, x := range p {
				sum += x
			}
			if len(p) != 7 || sum < 0.999 || sum > 1.001 {
				t.Errorf("%.20q: probabilities are %v", text, p)
			}
		}
	}
}

func TestPartsOfSpeechAreLearnedFrom(t *testing.T) {
	// The same words in another order: only the pairs of tags tell them apart.
	var examples []classifier.Example
	o := linear.Options{Buckets: 1 << 10, NamedWeight: 1}
	for range 5 {
		examples = append(examples,
			classifier.Example{Tagged: classifier.Tag("charge the robot"), Label: "order"},
			classifier.Example{Tagged: classifier.Tag("the robot charge"), Label: "name"})
	}
	m, err := classifier.Train(context.Background(), examples, o, linear.Training{Folds: -1})
	if err != nil {
		t.Fatal(err)
	}
	if _, best := m.Predict(nil, classifier.Tag("clean the filter")); m.Label(best) != "order" {
		t.Errorf("the label is %s, want order", m.Label(best))
	}
}

func TestWeightsOfAnotherModelAreRefused(t *testing.T) {
	_, err := classifier.Load(strings.NewReader("these are no weights"))
	if !errors.Is(err, linear.ErrWeights) {
		t.Errorf("error is %v", err)
	}
}

func TestWeightsSurviveTheFile(t *testing.T) {
	m := classifier.English()
	var file bytes.Buffer
	if err := m.Save(&file); err != nil {
		t.Fatal(err)
	}
	again, err := classifier.Load(&file)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := m.Predict(nil, classifier.Tag(message))
	b, _ := again.Predict(nil, classifier.Tag(message))
	if !slices.Equal(a, b) {
		t.Errorf("probabilities are %v, were %v", b, a)
	}
}

const message = "Hi, my RoboVac X30 does not find its dock any more since the last update. I have cleaned the contacts twice, what else can I do?"

func BenchmarkPredict(b *testing.B) {
	m := classifier.English()
	tagged := classifier.Tag(message)
	p := make([]float64, 0, 7)
	b.ReportAllocs()
	b.SetBytes(int64(len(message)))
	for b.Loop() {
		p, _ = m.Predict(p[:0], tagged)
	}
}

func TestEvaluateCountsWhatIsRight(t *testing.T) {
	r := classifier.English().Evaluate([]classifier.Example{
		{Tagged: classifier.Tag("Where is my parcel?"), Label: "delivery"},
		{Tagged: classifier.Tag("Where is my parcel?"), Label: "no such label"},
	})
	if r.Texts != 2 || r.Accuracy != 0.5 {
		t.Errorf("report is %+v", r)
	}
}
