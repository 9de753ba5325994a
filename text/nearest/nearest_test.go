// SPDX-License-Identifier: Apache-2.0

package nearest_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/millrace-ml/millrace/text/embed"
	"github.com/millrace-ml/millrace/text/nearest"
)

func index(t testing.TB, o nearest.Options, items ...nearest.Item) *nearest.Index {
	t.Helper()
	x, err := nearest.New(items, 3, o)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func item(id string, vectors ...[]float32) nearest.Item {
	return nearest.Item{ID: id, Vectors: vectors}
}

func ids(x *nearest.Index, matches []nearest.Match) []string {
	var out []string
	for _, m := range matches {
		out = append(out, x.Item(m.Item).ID)
	}
	return out
}

func ExampleIndex_Search() {
	e := embed.Default()
	x, err := nearest.New([]nearest.Item{
		nearest.Describe(e, "dock", "Robot does not charge", []string{"the battery stays empty on the dock"}, nil),
		nearest.Describe(e, "leak", "Coffee machine leaks", []string{"water runs out under the machine"}, nil),
	}, e.Dim(), nearest.DefaultOptions())
	if err != nil {
		panic(err)
	}
	vector := make([]float32, e.Dim())
	e.Embed(vector, "there is a puddle below my coffee machine")
	for _, m := range x.Search(nil, vector, 1) {
		fmt.Println(x.Item(m.Item).Title)
	}
	e.Embed(vector, "I would like to apply for the job as an accountant")
	fmt.Println(len(x.Search(nil, vector, 1)), "matches")
	// Output:
	// Coffee machine leaks
	// 0 matches
}

func TestSearchPutsTheBestFirst(t *testing.T) {
	x := index(t, nearest.Options{Best: 1, Threshold: -1},
		item("x", []float32{1, 0, 0}), item("y", []float32{0, 1, 0}), item("xy", []float32{5, 5, 0}))
	if got := ids(x, x.Search(nil, []float32{3, 1, 0}, 3)); !slices.Equal(got, []string{"x", "xy", "y"}) {
		t.Errorf("order is %v", got)
	}
	if got := ids(x, x.Search(nil, []float32{3, 1, 0}, 1)); !slices.Equal(got, []string{"x"}) {
		t.Errorf("the first is %v", got)
	}
}

func TestScoresDoNotDependOnLength(t *testing.T) {
	x := index(t, nearest.Options{Best: 1, Threshold: -1}, item("x", []float32{7, 0, 0}))
	for _, length := range []float32{0.1, 1, 50} {
		if got := x.Search(nil, []float32{length, 0, 0}, 1)[0].Score; got < 0.9999 || got > 1.0001 {
			t.Errorf("at length %v the score is %v, want 1", length, got)
		}
	}
}

func TestBestBlendsTheBestViewWithTheMean(t *testing.T) {
	views := item("x", []float32{1, 0, 0}, []float32{0, 1, 0})
	for best, want := range map[float64]float64{1: 1, 0: 0.5, 0.5: 0.75} {
		x := index(t, nearest.Options{Best: best, Threshold: -1}, views)
		if got := x.Search(nil, []float32{1, 0, 0}, 1)[0].Score; got < want-1e-6 || got > want+1e-6 {
			t.Errorf("Best %v: score is %v, want %v", best, got, want)
		}
	}
}

func TestNothingIsFoundBelowTheThreshold(t *testing.T) {
	x := index(t, nearest.Options{Best: 1, Threshold: 0.8}, item("x", []float32{1, 0, 0}))
	if got := x.Search(nil, []float32{1, 1, 0}, 3); len(got) != 0 {
		t.Errorf("found %v", got)
	}
	if got := x.Search(nil, []float32{0, 0, 0}, 3); len(got) != 0 {
		t.Errorf("a vector of zeros found %v", got)
	}
}

func TestItemsThatAreWrongAreRefused(t *testing.T) {
	for want, items := range map[string][]nearest.Item{
		"no items":        nil,
		"no vectors":      {item("a")},
		"has a vector of": {item("a", []float32{1})},
	} {
		if _, err := nearest.New(items, 3, nearest.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
	}
}

// lessons are vectors of which the first dimension tells the item and the third
// that there is none; the second is noise.
func lessons(n int) []nearest.Example {
	random := rand.New(rand.NewPCG(1, 1))
	var out []nearest.Example
	for range n {
		noise := random.Float32() - 0.5
		out = append(out,
			nearest.Example{Vector: []float32{1, noise, 0.1}, Item: 0},
			nearest.Example{Vector: []float32{-1, noise, 0.1}, Item: 1},
			nearest.Example{Vector: []float32{noise, 0.2, 1}, Item: nearest.None})
	}
	return out
}

func TestALearnedIndexRanksAndAbstainsByItsExamples(t *testing.T) {
	// The views say the opposite of the examples, which are many more.
	plain := index(t, nearest.Options{Best: 1, Certainty: 0.5}, item("a", []float32{-1, 1, 0}), item("b", []float32{1, 1, 0}))
	x, err := plain.Learn(context.Background(), lessons(50))
	if err != nil {
		t.Fatal(err)
	}
	if got := ids(x, x.Search(nil, []float32{1, 0.1, 0.1}, 1)); !slices.Equal(got, []string{"a"}) {
		t.Errorf("found %v, want a", got)
	}
	if got := x.Search(nil, []float32{0, 0.1, 1}, 3); len(got) != 0 {
		t.Errorf("found %v where the examples have nothing", got)
	}
	if got := ids(plain, plain.Search(nil, []float32{1, 0.1, 0.1}, 1)); !slices.Equal(got, []string{"b"}) {
		t.Errorf("the index that was learned from has changed: found %v", got)
	}
}

func TestCrossValidationJudgesEveryExampleOnce(t *testing.T) {
	x := index(t, nearest.Options{Best: 1}, item("a", []float32{1, 1, 0}), item("b", []float32{-1, 1, 0}))
	examples := lessons(20)
	held, err := x.CrossValidate(context.Background(), examples, 4)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	right := 0
	for _, h := range held {
		seen[h.Example] = true
		if it := examples[h.Example].Item; it == nearest.None && h.Fits < 0.5 || it != nearest.None && h.Ranks[0] == it {
			right++
		}
	}
	if len(seen) != len(examples) || len(held) != len(examples) || right < len(examples)*9/10 {
		t.Errorf("%d judged, %d of them different, %d right; there are %d", len(held), len(seen), right, len(examples))
	}
}

func TestExamplesThatTeachNothingAreRefused(t *testing.T) {
	x := index(t, nearest.Options{}, item("a", []float32{1, 0, 0}))
	for want, examples := range map[string][]nearest.Example{
		"item 3":       {{Vector: []float32{1, 0, 0}, Item: 3}},
		"1 numbers":    {{Vector: []float32{1}, Item: 0}},
		"find nothing": {{Vector: []float32{1, 0, 0}, Item: 0}},
	} {
		if _, err := x.Learn(context.Background(), examples); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
	}
}

func TestSearchesAreSafeAtOnce(t *testing.T) {
	x := index(t, nearest.Options{Best: 1, Threshold: -1}, item("x", []float32{1, 0, 0}), item("y", []float32{0, 1, 0}))
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for range 200 {
				if got := x.Search(nil, []float32{0, 1, 0}, 1); len(got) != 1 || got[0].Item != 1 {
					t.Errorf("found %v", got)
				}
			}
		})
	}
	wait.Wait()
}

func BenchmarkSearch(b *testing.B) {
	e := embed.Default()
	var items []nearest.Item
	for i := range 24 {
		symptoms := make([]string, 8)
		for j := range symptoms {
			symptoms[j] = fmt.Sprintf("symptom %d of item %d", j, i)
		}
		items = append(items, nearest.Describe(e, fmt.Sprint(i), "item", symptoms, nil))
	}
	x, err := nearest.New(items, e.Dim(), nearest.DefaultOptions())
	if err != nil {
		b.Fatal(err)
	}
	vector := make([]float32, e.Dim())
	e.Embed(vector, "symptom 3 of item 7")
	var matches []nearest.Match
	b.ReportAllocs()
	for b.Loop() {
		matches = x.Search(matches[:0], vector, 3)
	}
}
