// SPDX-License-Identifier: Apache-2.0

package nearest_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/millrace-ml/millrace/text/nearest"
)

var docks = []nearest.Item{
	{ID: "dock", Vectors: [][]float32{{1, 0, 0}}, Texts: []string{"does not charge"}},
	{ID: "leak", Vectors: [][]float32{{0, 1, 0}}, Texts: []string{"water on the floor"}},
}

// lessons are about a dock or a leak, which the vector tells. Whether they want
// help or are content, only the words tell. Those about something else have a
// vector of their own.
func lessons(n int) []nearest.Example {
	random := rand.New(rand.NewPCG(1, 1))
	var out []nearest.Example
	for range n {
		dock := []float32{1, random.Float32() / 3, random.Float32() / 3}
		leak := []float32{random.Float32() / 3, 1, random.Float32() / 3}
		out = append(out,
			nearest.Example{Text: "please help", Vector: dock, Item: 0},
			nearest.Example{Text: "please help me", Vector: leak, Item: 1},
			nearest.Example{Text: "thank you, all is well", Vector: dock, Item: nearest.None, Kind: "praise"},
			nearest.Example{Text: "all is well again", Vector: leak, Item: nearest.None, Kind: "praise"},
			nearest.Example{Text: "please help", Vector: []float32{0, random.Float32() / 3, 1}, Item: nearest.None, Kind: "elsewhere"})
	}
	return out
}

func learn(t testing.TB, items []nearest.Item, examples []nearest.Example, certainty float64) *nearest.Learned {
	t.Helper()
	f, err := nearest.Learn(context.Background(), items, examples, certainty)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestALearnedFinderTellsTheItemByTheVectorAndTheNeedByTheWords(t *testing.T) {
	f := learn(t, docks, lessons(50), 0.5)
	for _, test := range []struct {
		text   string
		vector []float32
		want   string
	}{
		{"please help", []float32{3, 0.1, 0.1}, "dock"},
		{"help, please", []float32{0, 0.5, 0}, "leak"},
		{"all is well", []float32{1, 0, 0.1}, ""},
		{"all is well", []float32{0, 1, 0.1}, ""},
		{"please help", []float32{0, 0, 1}, ""},
		{"please help", []float32{0, 0, 0}, ""},
	} {
		got := ""
		if matches := f.Search(nil, test.text, test.vector, 1); len(matches) > 0 {
			got = docks[matches[0].Item].ID
		}
		if got != test.want {
			t.Errorf("%q with %v found %q, want %q", test.text, test.vector, got, test.want)
		}
	}
}

func TestALearnedFinderFindsAnItemWithoutExamplesByItsViews(t *testing.T) {
	items := append([]nearest.Item{{ID: "noise", Vectors: [][]float32{{-1, -1, 0}}, Texts: []string{"it rattles"}}}, docks...)
	examples := lessons(20)
	for i := range examples {
		if examples[i].Item != nearest.None {
			examples[i].Item++
		}
	}
	f := learn(t, items, examples, 0.1)
	if got := f.Search(nil, "it rattles, please help", []float32{-1, -1, 0}, 1); len(got) != 1 || items[got[0].Item].ID != "noise" {
		t.Errorf("found %v", got)
	}
}

func TestALearnedFinderGivesTheBestFirstAndNoMoreThanAskedFor(t *testing.T) {
	f := learn(t, docks, lessons(50), 0)
	both := f.Search(nil, "please help", []float32{1, 0.9, 0}, 2)
	if len(both) != 2 || both[0].Score < both[1].Score || both[0].Score+both[1].Score > 1 {
		t.Fatalf("found %v", both)
	}
	if one := f.Search(both[:1], "please help", []float32{1, 0.9, 0}, 1); len(one) != 2 || one[1] != both[0] {
		t.Errorf("found %v, want the best appended", one)
	}
}

func TestCrossValidationJudgesEveryExampleOnce(t *testing.T) {
	examples := lessons(20)
	held, err := nearest.CrossValidate(context.Background(), docks, examples, 4, 0)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	right := 0
	for _, h := range held {
		seen[h.Example] = true
		if it := examples[h.Example].Item; it == nearest.None && h.Fits < 0.5 || it != nearest.None && h.Ranks[0] == it && h.Fits > 0.5 {
			right++
		}
		if len(h.Ranks) != len(docks) {
			t.Fatalf("%d items are ranked, there are %d", len(h.Ranks), len(docks))
		}
	}
	if len(seen) != len(examples) || len(held) != len(examples) || right < len(examples)*9/10 {
		t.Errorf("%d judged, %d of them different, %d right; there are %d", len(held), len(seen), right, len(examples))
	}
}

func TestExamplesThatTeachNothingAreRefused(t *testing.T) {
	for want, examples := range map[string][]nearest.Example{
		"item 3":       {{Vector: []float32{1, 0, 0}, Item: 3}},
		"1 numbers":    {{Vector: []float32{1}, Item: 0}},
		"find nothing": {{Vector: []float32{1, 0, 0}, Item: 0}},
	} {
		if _, err := nearest.Learn(context.Background(), docks, examples, 0.5); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
	}
	if _, err := nearest.Learn(context.Background(), nil, lessons(1), 0.5); err == nil || !strings.Contains(err.Error(), "no items") {
		t.Errorf("error is %v, want one about no items", err)
	}
}

func TestLearnedSearchesAreSafeAtOnce(t *testing.T) {
	f := learn(t, docks, lessons(50), 0.5)
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for range 200 {
				if got := f.Search(nil, "please help", []float32{0, 1, 0}, 1); len(got) != 1 || got[0].Item != 1 {
					t.Errorf("found %v", got)
				}
			}
		})
	}
	wait.Wait()
}
