// SPDX-License-Identifier: Apache-2.0

package nearest_test

import (
	"fmt"
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
