// SPDX-License-Identifier: Apache-2.0

package sanitize

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestTheFirstByteThatIsNotUTF8IsFound(t *testing.T) {
	for in, want := range map[string]int{"": -1, "grüße": -1, "a\xff": 1, "ü\xc3": 2, "\xed\xa0\x80": 0, "a\ufffdb": -1} {
		if got := InvalidUTF8([]byte(in)); got != want {
			t.Errorf("InvalidUTF8(%q) = %d, want %d", in, got, want)
		}
	}
}

func TestATextIsCutBetweenCharacters(t *testing.T) {
	for _, c := range []struct {
		in   string
		most int
		want string
	}{
		{"short", 5, "short"},
		{"longer", 5, "longe…"},
		{"grüße", 3, "gr…"},
		{"grüße", 4, "grü…"},
		{"a😀b", 4, "a…"},
		{"a😀b", 5, "a😀…"},
		{"a\xffb", 5, "a\ufffdb"},
		{"a\xffb", 2, "a\ufffd…"},
		{"x", 0, "…"},
	} {
		if got := Cut(c.in, c.most); got != c.want {
			t.Errorf("Cut(%q, %d) = %q, want %q", c.in, c.most, got, c.want)
		}
	}
}

func TestATextCannotSteerATerminal(t *testing.T) {
	in := "a\x1b[2Jb\n\tc\u202ed\xff\u2028é👩\u200d🦰"
	if got, want := Terminal(in), "a\ufffd[2Jb  c\ufffdd\ufffd\ufffdé👩\u200d🦰"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzSanitize(f *testing.F) {
	f.Add("a\xff😀b", 4)
	f.Add("\x1b[2J", 100)
	f.Fuzz(func(t *testing.T, s string, most int) {
		if (InvalidUTF8([]byte(s)) < 0) != utf8.ValidString(s) {
			t.Errorf("InvalidUTF8(%q) is wrong", s)
		}
		for _, r := range Terminal(s) {
			if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
				t.Errorf("Terminal(%q) has %q", s, r)
			}
		}
		if most < 0 {
			return
		}
		cut := Cut(s, most)
		if !utf8.ValidString(cut) || strings.HasSuffix(cut, "…") != (len(s) > most) && !strings.HasSuffix(s, "…") {
			t.Errorf("Cut(%q, %d) = %q", s, most, cut)
		}
		if utf8.ValidString(s) && !strings.HasPrefix(s, strings.TrimSuffix(cut, "…")) {
			t.Errorf("Cut(%q, %d) = %q", s, most, cut)
		}
	})
}
