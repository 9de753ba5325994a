// SPDX-License-Identifier: Apache-2.0

package keywords_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/text/keywords"
	"github.com/millrace-ml/millrace/text/tagger"
	"github.com/millrace-ml/millrace/text/token"
)

var catalogue = []string{"RoboVac X30", "RoboVac Mini", "AquaMop S2", "AirPure 500", "SteamPress Go", "BrewMate Duo", "Rowan Home app"}

func newExtractor(t testing.TB) *keywords.Extractor {
	t.Helper()
	e, err := keywords.New(keywords.Options{Products: catalogue})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func extract(e *keywords.Extractor, text string) keywords.Result {
	var r keywords.Result
	tokens := token.Append(nil, text)
	e.Extract(&r, text, tokens, tagger.English().Append(nil, text, tokens))
	return r
}

func TestTwoTextsAreAboutTheSameProductWhenTheyNameOneInCommon(t *testing.T) {
	e := newExtractor(t)
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"my robovac x-30 wont charge", "The X thirty is stuck again", true},
		{"the air pure five hundred smells", "AirPure: filter light stays on", true},
		{"X30 and steam press arrived", "is the SteamPress Go safe for silk?", true},
		{"my robovac x-30 wont charge", "my robovac mini wont charge", false},
		{"my robovac wont charge", "my robovac wont charge", false}, // which of the two is not said
		{"it wont charge", "it wont charge", false},
		{"my robovac x-30 wont charge", "it wont charge", false},
	} {
		a, b := extract(e, test.a), extract(e, test.b)
		if keywords.SameProduct(&a, &b) != test.want || keywords.SameProduct(&b, &a) != test.want {
			t.Errorf("%q and %q: the same product is not %v", test.a, test.b, test.want)
		}
	}
}

func TestProductsAreFoundInTheSpellingsOfCustomers(t *testing.T) {
	e := newExtractor(t)
	for text, want := range map[string][]int{
		"my robovac x-30 wont charge":                {0},
		"The X30 is great, the Robo Vac Mini is not": {0, 1},
		"X 30 dead":                          {0},
		"our x thirty":                       {0},
		"robovacx30!!":                       {0},
		"RoboVac X-30's battery":             {0},
		"the minis":                          {1},
		"aqua mop leaks":                     {2},
		"Aqua-Mop S-2":                       {2},
		"s two":                              {2},
		"air pure 500":                       {3},
		"Airpuer smells":                     {3},
		"air pure five hundred":              {3},
		"steam press go":                     {4},
		"streampress":                        {4},
		"brewmate and duo":                   {5},
		"Brew Mate, then":                    {5},
		"the app, i mean the Rowan Home app": {6},
		"rowan app":                          {6},
		"my bank app":                        nil, // another app
		"the robovac":                        nil, // which one is not said
		"ROBOVAC":                            nil,
		"I go home, 500 times a day, and press steam": nil,
		"thirty minutes in two rooms":                 nil,
		"a roommate brews":                            nil,
		"":                                            nil,
	} {
		got := extract(e, text).Products
		if !slices.Equal(got, want) {
			t.Errorf("%q: products %v, want %v", text, got, want)
		}
	}
}

func TestMentionsAreWhereTheTextNamesAProduct(t *testing.T) {
	text := "Is the Robo-Vac X 30 better than brewmate?"
	r := extract(newExtractor(t), text)
	var got []string
	for _, m := range r.Mentions {
		got = append(got, fmt.Sprint(m.Product, " ", text[m.Start:m.End]))
	}
	if want := []string{"0 Robo-Vac X 30", "5 brewmate"}; !slices.Equal(got, want) {
		t.Errorf("mentions %q, want %q", got, want)
	}
}

func TestAnotherCataloguesNamesAreDerivedTheSameWay(t *testing.T) {
	e, err := keywords.New(keywords.Options{Products: []string{"Küchenheld 7", "Zap! Pro", "Zap! Lite", "Lumen"}})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][]int{
		"mein KÜCHENHELD 7": {0}, "kuechenheld": {0}, "küchen-held": {0}, "zap pro": {1}, "the lite": {2}, "zap": nil, "lumens": {3},
	} {
		if got := extract(e, text).Products; !slices.Equal(got, want) {
			t.Errorf("%q: products %v, want %v", text, got, want)
		}
	}
}

func TestCataloguesThatCannotBeToldApartAreRefused(t *testing.T) {
	for _, products := range [][]string{{"A 1", "a-1"}, {"!"}, {strings.Repeat("long", 20)}} {
		if _, err := keywords.New(keywords.Options{Products: products}); err == nil {
			t.Errorf("%q was taken", products)
		}
	}
}

// phrases are the texts of the phrases found, best first.
func phrases(e *keywords.Extractor, text string) []string {
	var out []string
	for _, p := range extract(e, text).Phrases {
		out = append(out, text[p.Start:p.End])
	}
	return out
}

func TestPhrasesAreNounPhrasesWithoutArticlesAndProducts(t *testing.T) {
	got := phrases(newExtractor(t), "Hello, the X30 left a deep scratch on my wooden floor.")
	slices.Sort(got)
	if want := []string{"deep scratch", "wooden floor"}; !slices.Equal(got, want) {
		t.Errorf("phrases %q, want %q", got, want)
	}
}

func TestPhrasesOfOneStemAreGivenOnceAndSixAtMost(t *testing.T) {
	e := newExtractor(t)
	if got := phrases(e, "The filter, two filters, FILTERS and the dust filter."); len(got) != 1 || got[0] != "dust filter" {
		t.Errorf("phrases %q, want only the dust filter", got)
	}
	got := extract(e, "a cable, a battery, a wheel, a brush, a sensor, a pump, a nozzle and a lid")
	if len(got.Phrases) != 6 {
		t.Errorf("%d phrases", len(got.Phrases))
	}
	for i, p := range got.Phrases {
		if p.Score <= 0 || p.Score > 1 || i > 0 && p.Score > got.Phrases[i-1].Score {
			t.Errorf("score %v after %v", p.Score, got.Phrases[max(i-1, 0)].Score)
		}
	}
}

func FuzzPhrasesAndMentionsLieInTheText(f *testing.F) {
	e := newExtractor(f)
	f.Add("my robovac x-30 won't charge at the docking station")
	f.Add("x-- -- 30 robo-\xff-vac \n mini's")
	f.Fuzz(func(t *testing.T, text string) {
		r := extract(e, text)
		if len(r.Phrases) > 6 {
			t.Fatalf("%d phrases", len(r.Phrases))
		}
		for _, p := range r.Phrases {
			if p.Start < 0 || p.End <= p.Start || p.End > len(text) {
				t.Fatalf("phrase %+v of %q", p, text)
			}
		}
		for _, m := range r.Mentions {
			if m.End <= m.Start || m.End > len(text) || !slices.Contains(r.Products, m.Product) {
				t.Fatalf("mention %+v of %q", m, text)
			}
		}
	})
}

func BenchmarkExtract(b *testing.B) {
	e := newExtractor(b)
	text := "Hello, my robovac x-30 wont charge anymore since the last update. I've tried cleaning the charging contacts twice, what else can I do? The docking station's light is green."
	tokens := token.Append(nil, text)
	tags := tagger.English().Append(nil, text, tokens)
	var r keywords.Result
	b.ReportAllocs()
	for b.Loop() {
		e.Extract(&r, text, tokens, tags)
	}
}
