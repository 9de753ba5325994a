// SPDX-License-Identifier: Apache-2.0

package token_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/millrace-ml/millrace/text/token"
)

// split joins the tokens of a text with bars.
func split(text string) string {
	var parts []string
	for _, t := range token.Append(nil, text) {
		parts = append(parts, t.Of(text))
	}
	return strings.Join(parts, "|")
}

func TestTextsAreSplitAsInTheTreebank(t *testing.T) {
	for text, want := range map[string]string{
		"":      "",
		" \n\t": "",
		// contractions
		"I don't, she'll, it's":     "I|do|n't|,|she|'ll|,|it|'s",
		"i dont cant wont im gonna": "i|do|nt|ca|nt|wo|nt|i|m|gon|na",
		"We cannot. CAN'T!":         "We|can|not|.|CA|N'T|!",
		"it’s the customers’ fault": "it|’s|the|customers|’|fault",
		"O'Brien o'clock n't":       "O'Brien|o'clock|n't",
		// sentences and marks
		`He said "no" (twice)...`:            `He|said|"|no|"|(|twice|)|...`,
		"Really?! Yes!!! -- so":              "Really|?!|Yes|!!!|--|so",
		"great.Thanks,all":                   "great|.|Thanks|,|all",
		"Dr. No, U.S. vs. me at 5 p.m. etc.": "Dr.|No|,|U.S.|vs.|me|at|5|p.m.|etc.",
		// hyphens and slashes
		"help-desk e-mail non-stick": "help|-|desk|e-mail|non-stick",
		"x-30 RH-48213 B2-X9":        "x-30|RH-48213|B2-X9",
		"10-15 on/off 24/7 w/o":      "10|-|15|on|/|off|24/7|w/o",
		"713-853-3989 2001-2002":     "713-853-3989|2001|-|2002",
		// numbers
		"$1,000.50 5% at 7:30am": "$|1,000.50|5|%|at|7:30|am",
		"#12 v2.1.3 30°C":        "#|12|v2.1.3|30|°|C",
		// addresses
		"see https://a.co/x?y=1.":            "see|https://a.co/x?y=1|.",
		"(www.rowan.com)":                    "(|www.rowan.com|)",
		"mail anna.b@rowan-home.com, please": "mail|anna.b@rowan-home.com|,|please",
		"@rowanhome #fail":                   "@rowanhome|#|fail",
		"log.txt from rowan.com":             "log.txt|from|rowan.com",
		// emoticons and emoji
		"ok :) no :-( fine;)": "ok|:)|no|:-(|fine|;)",
		"this: (that) 10:30":  "this|:|(|that|)|10:30",
		"nice 👍🏽👩‍👧🇩🇪🇫🇷❤️":    "nice|👍🏽|👩‍👧|🇩🇪|🇫🇷|❤️",
		// other scripts and bytes that are no text
		"Küche — naïve… 東京": "Küche|—|naïve|…|東京",
		"a\xffb \xf0\x9f":   "a\xffb|\xf0\x9f",
		"a\u00a0b\u200bc":   "a|b|c",
	} {
		if got := split(text); got != want {
			t.Errorf("%q\ngot  %s\nwant %s", text, got, want)
		}
	}
}

func FuzzTokensCoverTheText(f *testing.F) {
	for _, s := range []string{"don't x-30 a.b@c.de", "''``--", "http://", "a,b@c", "\xff\xe2\x80", "👩‍", "1:2:3-4/5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at := 0
		for _, tok := range token.Append(nil, text) {
			if tok.Start < at || tok.End <= tok.Start || tok.End > len(text) {
				t.Fatalf("token %v after byte %d of %q", tok, at, text)
			}
			for _, r := range text[at:tok.Start] {
				if !unicode.IsSpace(r) && !unicode.IsControl(r) && r != 0x200b && r != 0xfeff {
					t.Fatalf("%q lost between the tokens of %q", r, text)
				}
			}
			at = tok.End
		}
	})
}

func TestNothingIsAllocatedForTokens(t *testing.T) {
	text := strings.Repeat("The robot doesn't charge, see https://a.co/x or mail a@b.com! ", 20)
	tokens := token.Append(nil, text)
	if n := testing.AllocsPerRun(100, func() { tokens = token.Append(tokens[:0], text) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A rule that looks ahead through the whole text again and again would take
// minutes here.
func TestTimeIsLinearInOddTexts(t *testing.T) {
	for _, odd := range []string{"a,", "a@", "1-", "1:", "a.", "a'", "'", "www.", "http://", "(", "👩‍", "a-b/", "\xff", ":-", "1,1"} {
		text := strings.Repeat(odd, 1<<20/len(odd)) + "@b.com"
		token.Append(nil, text)
	}
}

func BenchmarkAppend(b *testing.B) {
	text := "Hello, I bought the RoboVac X30 in March and since the last update it doesn't find its dock (see photo). Any ideas? anna@example.com"
	tokens := token.Append(nil, text)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		tokens = token.Append(tokens[:0], text)
	}
}
