// SPDX-License-Identifier: Apache-2.0

package linear_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/text/linear"
)

const kind = "test"

var small = func() linear.Options {
	o := linear.DefaultOptions()
	o.Buckets = 1 << 12
	o.Negation = true
	return o
}()

func vector(o linear.Options, text string) *linear.Vector {
	v := new(linear.Vector)
	v.AddText(&o, text)
	return v
}

// fruit are texts about apples and about pears.
func fruit(o linear.Options, n int) (labels []string, examples []linear.Example) {
	for i := range n {
		examples = append(examples,
			linear.Example{Vector: vector(o, fmt.Sprintf("%d red apples on the table", i)), Label: 0},
			linear.Example{Vector: vector(o, fmt.Sprintf("a basket with %d green pears", i)), Label: 1})
	}
	return []string{"apple", "pear"}, examples
}

func train(t testing.TB, o linear.Options, training linear.Training) *linear.Model {
	t.Helper()
	labels, examples := fruit(o, 30)
	m, err := linear.Train(context.Background(), o, labels, examples, training)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func written(t testing.TB, m *linear.Model) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := m.Write(&b, kind); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestTrainingLearnsToTellTextsApart(t *testing.T) {
	m := train(t, small, linear.Training{})
	for text, want := range map[string]string{"an apple, red": "apple", "grene pears": "pear", "APPLES!": "apple"} {
		p, best := m.Probabilities(nil, vector(small, text))
		if m.Label(best) != want {
			t.Errorf("%q is %s, want %s: %v", text, m.Label(best), want, p)
		}
		if math.Abs(p[0]+p[1]-1) > 1e-9 {
			t.Errorf("probabilities sum to %v", p[0]+p[1])
		}
	}
}

func TestTrainingGivesTheSameBytes(t *testing.T) {
	a, b := written(t, train(t, small, linear.Training{Seed: 4})), written(t, train(t, small, linear.Training{Seed: 4}))
	if !bytes.Equal(a, b) {
		t.Error("the same seed gave other weights")
	}
	if bytes.Equal(a, written(t, train(t, small, linear.Training{Seed: 5}))) {
		t.Error("another seed gave the same weights, so the comparison says nothing")
	}
}

func TestDenseVectorsAreLearnedFrom(t *testing.T) {
	o := linear.Options{Buckets: 1, Dense: 2, DenseWeight: 3}
	var examples []linear.Example
	for range 20 {
		examples = append(examples,
			linear.Example{Vector: &linear.Vector{Dense: []float32{1, 0}}, Label: 0},
			linear.Example{Vector: &linear.Vector{Dense: []float32{0, 1}}, Label: 1})
	}
	m, err := linear.Train(context.Background(), o, []string{"x", "y"}, examples, linear.Training{Folds: -1})
	if err != nil {
		t.Fatal(err)
	}
	if p, best := m.Probabilities(nil, &linear.Vector{Dense: []float32{0, 1}}); best != 1 || p[1] < 0.8 {
		t.Errorf("probabilities are %v", p)
	}
}

func TestNegationMakesFeaturesOfItsOwn(t *testing.T) {
	plain, with := small, small
	plain.Negation = false
	count := func(o linear.Options, text string) int {
		o.CharMax, o.CharMin = 0, 0
		return vector(o, text).Len()
	}
	for text, want := range map[string]int{
		"it does not work":     1,
		"it doesn't work":      1,
		"it doesn’t work well": 2,
		"not good, but works":  1, // the comma ends it
		"never a b c d e f":    4, // it reaches four words
		"nothing to see":       2,
		"notable worker":       0,
		"a note. not":          0,
	} {
		if got := count(with, text) - count(plain, text); got != want {
			t.Errorf("%q has %d negated words, want %d", text, got, want)
		}
	}
}

func TestTheShapeTellsHowATextIsBuilt(t *testing.T) {
	o := linear.Options{Buckets: 1 << 16, ShapeWeight: 1}
	for _, same := range [][2]string{
		{"where is my parcel?", "what is the price?"},
		{"It broke on 12 May.", "I saw no 99 men."},
		{"Hello. It works.", "Thanks. My mop..."},
	} {
		if !vector(o, same[0]).Equal(vector(o, same[1])) {
			t.Errorf("%q and %q are built alike, but have other features", same[0], same[1])
		}
	}
	for _, other := range [][2]string{
		{"it works", "it works!"},
		{"it works!", "it works!!"},
		{"it works.", "it works?"},
		{"it works. it is good.", "it works, it is good."},
		{"it works again", "it WORKS again"},
		{"it works again", "It works again"},
		{"so quiet", "so \"quiet\""},
		{"order 123", "order 12345"},
		{"it works", "it works again now that we have cleaned it"},
	} {
		if vector(o, other[0]).Equal(vector(o, other[1])) {
			t.Errorf("%q and %q are built differently, but have the same features", other[0], other[1])
		}
	}
}

func TestWordsFoldWhatCustomersVary(t *testing.T) {
	small := small
	small.ShapeWeight = 0
	for _, same := range [][2]string{
		{"DON'T", "don’t"}, {"dont", "don't"}, {"order 123", "order 987"}, {"ÜBER", "über"}, {"a  b\n", "a b"},
	} {
		if !vector(small, same[0]).Equal(vector(small, same[1])) {
			t.Errorf("%q and %q have other features", same[0], same[1])
		}
	}
	if vector(small, "good").Equal(vector(small, "good!")) {
		t.Error("an exclamation mark makes no difference")
	}
}

func TestCrossValidationKeepsGroupsTogether(t *testing.T) {
	labels, examples := fruit(small, 30)
	// One group of which each half says the opposite of the other: whoever has
	// seen one half is wrong about the other.
	odd := vector(small, "zzyzx quux")
	for i := range 10 {
		examples = append(examples, linear.Example{Vector: odd, Label: 0, Group: "odd", Weight: 5},
			linear.Example{Vector: vector(small, fmt.Sprint("apples ", i)), Label: 0, Auxiliary: true})
	}
	held, err := linear.CrossValidate(context.Background(), small, labels, examples, linear.Training{Folds: 5})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, h := range held {
		seen[h.Example] = true
		if examples[h.Example].Auxiliary {
			t.Errorf("auxiliary example %d was tested on", h.Example)
		}
		if p := h.Probabilities(1); examples[h.Example].Group == "odd" && p[0] > 0.9 {
			t.Errorf("the group was learned from and tested on: %v", p)
		}
	}
	if len(seen) != 70 || len(held) != 70 {
		t.Errorf("%d predictions on %d examples, want 70", len(held), len(seen))
	}
}

func TestATemperatureAboveOneCoolsOverconfidence(t *testing.T) {
	// Sure of itself every time, right seven times of ten.
	var held []linear.Held
	for i := range 100 {
		h := linear.Held{Scores: []float64{6, 0}}
		if i%10 >= 7 {
			h.Label = 1
		}
		held = append(held, h)
	}
	temperature := linear.Temperature(held)
	if p := held[0].Probabilities(temperature); math.Abs(p[0]-0.7) > 0.01 {
		t.Errorf("at temperature %v the probability is %v, want 0.7", temperature, p[0])
	}
}

func TestTrainingRefusesWhatItCannotLearn(t *testing.T) {
	labels, examples := fruit(small, 2)
	bad := small
	bad.Buckets = 1000
	for want, try := range map[string]func() error{
		"power of two": func() error {
			_, err := linear.Train(context.Background(), bad, labels, examples, linear.Training{})
			return err
		},
		"two labels": func() error {
			_, err := linear.Train(context.Background(), small, labels[:1], examples, linear.Training{})
			return err
		},
		"no examples": func() error {
			_, err := linear.Train(context.Background(), small, labels, nil, linear.Training{})
			return err
		},
		"label 7": func() error {
			_, err := linear.Train(context.Background(), small, labels, []linear.Example{{Vector: vector(small, "x"), Label: 7}}, linear.Training{})
			return err
		},
	} {
		if err := try(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := linear.Train(ctx, small, labels, examples, linear.Training{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled training ended with %v", err)
	}
}

func TestWeightsSurviveTheFile(t *testing.T) {
	m := train(t, small, linear.Training{})
	again, err := linear.Read(written(t, m), kind)
	if err != nil {
		t.Fatal(err)
	}
	v := vector(small, "an apple or a pear?")
	if a, b := m.Scores(nil, v), again.Scores(nil, v); !slices.Equal(a, b) || m.Temperature() != again.Temperature() {
		t.Errorf("scores are %v, were %v", b, a)
	}
	if !slices.Equal(again.Labels(), m.Labels()) || again.Options() != m.Options() {
		t.Errorf("labels or options changed: %v, %+v", again.Labels(), again.Options())
	}
}

func TestDamagedWeightsAreRefused(t *testing.T) {
	good := written(t, train(t, small, linear.Training{Folds: -1}))
	flipped := slices.Clone(good)
	flipped[len(flipped)/2] ^= 1
	for name, data := range map[string][]byte{
		"empty": nil, "cut off": good[:len(good)-100], "flipped": flipped, "something else": []byte("a poem about weights"),
	} {
		if _, err := linear.Read(data, kind); !errors.Is(err, linear.ErrWeights) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	if _, err := linear.Read(good, "other"); !errors.Is(err, linear.ErrWeights) || !strings.Contains(err.Error(), "test") {
		t.Errorf("weights of another kind: error is %v", err)
	}
}

func FuzzRead(f *testing.F) {
	o := small
	o.Buckets = 4
	good := written(f, train(f, o, linear.Training{Folds: -1, Epochs: 1}))
	f.Add(good)
	f.Add(good[:40])
	f.Add([]byte("MRWPLIN1\x05\x00\x00\x00{}   \x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := linear.Read(data, kind)
		if err != nil {
			if !errors.Is(err, linear.ErrWeights) {
				t.Fatalf("error %v is not ErrWeights", err)
			}
			return
		}
		m.Probabilities(nil, vector(m.Options(), "some text"))
	})
}

func BenchmarkPredict(b *testing.B) {
	o := linear.DefaultOptions()
	m := train(b, o, linear.Training{Folds: -1, Epochs: 1})
	v := new(linear.Vector)
	p := make([]float64, 0, 2)
	text := "Hi, my RoboVac X30 does not find its dock any more since the last update. What else can I do?"
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		v.Reset()
		v.AddText(&o, text)
		p, _ = m.Probabilities(p[:0], v)
	}
}
