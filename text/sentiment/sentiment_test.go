// SPDX-License-Identifier: Apache-2.0

package sentiment_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/text/linear"
	"github.com/millrace-ml/millrace/text/sentiment"
)

func label(text string) string {
	_, best := sentiment.English().Predict(nil, text)
	return sentiment.English().Label(best)
}

func TestNegationTurnsTheSentiment(t *testing.T) {
	for text, want := range map[string]string{
		"I am very happy with the robot":       "positive",
		"I am not happy with the robot at all": "negative",
		"great, thank you, love it":            "positive",
		"useless and terrible, never again":    "negative",
	} {
		if got := label(text); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
}

func TestOddTextsAreAnswered(t *testing.T) {
	for _, text := range []string{"", " ", "\xff\xfe", "🙂", strings.Repeat("word ", 50_000)} {
		p, _ := sentiment.English().Predict(nil, text)
		sum := 0.0
		for _, x := range p {
			sum += x
		}
		if len(p) != 3 || sum < 0.999 || sum > 1.001 {
			t.Errorf("%.20q: probabilities are %v", text, p)
		}
	}
}

func TestTrainedWeightsSurviveTheFile(t *testing.T) {
	var examples []sentiment.Example
	for i := range 20 {
		examples = append(examples,
			sentiment.Example{Text: fmt.Sprint("lovely day number ", i), Label: "up"},
			sentiment.Example{Text: fmt.Sprint("dreadful night number ", i), Label: "down"})
	}
	o, training := sentiment.Options()
	o.Buckets = 1 << 10
	m, err := sentiment.Train(context.Background(), examples, o, training)
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err := m.Save(&file); err != nil {
		t.Fatal(err)
	}
	again, err := sentiment.Load(&file)
	if err != nil {
		t.Fatal(err)
	}
	a, best := m.Predict(nil, "a dreadful morning")
	b, _ := again.Predict(nil, "a dreadful morning")
	if !slices.Equal(a, b) || m.Label(best) != "down" {
		t.Errorf("probabilities are %v, were %v; the label is %s", b, a, m.Label(best))
	}
}

func TestOtherWeightsAreRefused(t *testing.T) {
	if _, err := sentiment.Load(strings.NewReader("MRWPLIN1 but nothing more")); !errors.Is(err, linear.ErrWeights) {
		t.Errorf("error is %v", err)
	}
}

const message = "I am still waiting for my refund, and nobody answers. Not what I expected from you, I used to love this shop!"

func BenchmarkPredict(b *testing.B) {
	m := sentiment.English()
	p := make([]float64, 0, 3)
	b.ReportAllocs()
	b.SetBytes(int64(len(message)))
	for b.Loop() {
		p, _ = m.Predict(p[:0], message)
	}
}

func TestEvaluateCountsWhatIsRight(t *testing.T) {
	r := sentiment.English().Evaluate([]sentiment.Example{
		{Text: "Thank you, I love it!", Label: "positive"},
		{Text: "Thank you, I love it!", Label: "no such label"},
	})
	if r.Texts != 2 || r.Accuracy != 0.5 {
		t.Errorf("report is %+v", r)
	}
}
