// SPDX-License-Identifier: Apache-2.0

package keywords

import (
	"fmt"
	"math/bits"
	"strings"
	"unicode"
	"unicode/utf8"
)

// index finds products by the spellings of their names.
type index struct {
	aliases map[string]alias
	starts  [256]bool // first bytes of aliases, and of slips of them
	slips   []slip    // the aliases in which a slip may be
	brand   map[string]bool
}

// alias is what a spelling stands for.
type alias struct {
	product int32
	weak    bool // a single word that is also used for other things
	exact   bool // no slips: a number in words is too near to other numbers
}

// slip is an alias long enough to be known with a slip in it.
type slip struct {
	text    string
	product int32
	letters uint32
}

const (
	maxAlias = 48 // bytes of a spelling
	minSlip  = 6  // letters from which on one slip is allowed
)

// newIndex derives the spellings of every name:
//
//   - all its words together: "robovacx30";
//   - the words without a number at the end, and the number or model alone:
//     "airpure", "x30", but not "500", which may count anything;
//   - a word that no other product's name has and that is not an everyday one:
//     "mini", "brewmate"; of a name that ends in a word in lower case, such as
//     "Rowan Home app", that word alone and after the first one, as what comes
//     before is the maker's name;
//   - with numbers in words, "xthirty", and in the plural.
//
// A spelling of several products stands for none of them, unless it is the
// whole name of one.
func newIndex(names []string) (*index, error) {
	ix := &index{aliases: make(map[string]alias), brand: make(map[string]bool)}
	whole := make(map[string]string)
	words := make([][]string, len(names))
	count := make(map[string]int) // in how many names a word is
	for p, name := range names {
		words[p] = strings.Fields(name)
		all := string(squash(nil, name))
		if all == "" || len(all) > maxAlias {
			return nil, fmt.Errorf("product %d, %q: a name has 1 to %d letters and digits", p+1, name, maxAlias)
		}
		if other, ok := whole[all]; ok {
			return nil, fmt.Errorf("product %d, %q, is spelled like %q", p+1, name, other)
		}
		whole[all] = name
		seen := make(map[string]bool)
		for _, w := range words[p] {
			if s := string(squash(nil, w)); s != "" && !seen[s] {
				seen[s] = true
				count[s]++
				ix.brand[s] = true
			}
		}
	}
	for p := range names {
		for spelling, weak := range spellings(words[p], count) {
			ix.put(spelling, p, weak)
		}
	}
	for all, name := range whole {
		for p := range names {
			if names[p] == name {
				ix.whole(all, p)
			}
		}
	}
	ix.finish()
	return ix, nil
}

// put adds a spelling; one that another product has too names only the family.
func (ix *index) put(spelling string, product int, weak bool) {
	for s, spelled := range variants(spelling) {
		if a, ok := ix.aliases[s]; ok && int(a.product) != product {
			ix.aliases[s] = alias{product: family, weak: a.weak || weak, exact: spelled}
			continue
		}
		ix.aliases[s] = alias{product: int32(product), weak: weak, exact: spelled}
	}
}

// whole adds a name as it is written, which no other spelling overrules.
func (ix *index) whole(spelling string, product int) {
	for s, spelled := range variants(spelling) {
		ix.aliases[s] = alias{product: int32(product), exact: spelled}
	}
}

func (ix *index) finish() {
	for s, a := range ix.aliases {
		ix.starts[s[0]] = true
		if len(s) >= minSlip && !strings.ContainsAny(s, "0123456789") && !a.weak && !a.exact {
			ix.slips = append(ix.slips, slip{s, a.product, letters([]byte(s))})
			// The slip may be in the first letter: two swapped.
			ix.starts[s[1]] = true
		}
	}
	// A digit's look-alike may begin a name as well.
	for c := range ix.starts {
		if ix.starts[c] && c >= 'a' && c <= 'z' {
			ix.starts[c&^0x20] = true
		}
	}
}

// spellings lists what a name of these words may be shortened to, and whether
// the short form is also a word of its own.
func spellings(words []string, count map[string]int) map[string]bool {
	out := make(map[string]bool)
	add := func(s string, weak bool) {
		if len(s) > 1 {
			out[s] = weak
		}
	}
	squashed := make([]string, len(words))
	for i, w := range words {
		squashed[i] = string(squash(nil, w))
	}
	add(strings.Join(squashed, ""), false)
	last := len(words) - 1
	if last > 0 && generic(words[last]) && !generic(words[0]) {
		add(squashed[last], true)
		add(squashed[0]+squashed[last], false)
		return out
	}
	if last > 0 {
		head := strings.Join(squashed[:last], "")
		if !everyday(head) {
			add(head, false)
		}
	}
	for _, s := range squashed {
		switch {
		case isNumber(s), everyday(s):
		case isModel(s):
			add(s, false)
		case count[s] == 1:
			add(s, last > 0 && len(s) < minSlip)
		default:
			add(s, false) // shared: put makes it the family's
		}
	}
	return out
}

// generic tells whether a word of a name is a common noun: it is in lower case.
func generic(word string) bool {
	r, _ := utf8.DecodeRuneInString(word)
	return unicode.IsLower(r) && strings.ToLower(word) == word
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// isModel tells whether a word has both letters and digits.
func isModel(s string) bool {
	return strings.ContainsAny(s, "0123456789") && strings.ContainsFunc(s, unicode.IsLetter)
}

// variants lists a spelling with its plural, and with its numbers in words, for
// which it says true.
func variants(s string) map[string]bool {
	out := map[string]bool{s: false, s + "s": false}
	if spelled := spellNumbers(s); spelled != s && len(spelled) <= maxAlias {
		out[spelled] = true
	}
	return out
}

// squash appends a word's letters and digits in lower case to dst.
func squash(dst []byte, word string) []byte {
	for i := 0; i < len(word); {
		c := word[i]
		switch {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
			dst = append(dst, c)
		case 'A' <= c && c <= 'Z':
			dst = append(dst, c|0x20)
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(word[i:])
			if unicode.IsLetter(r) || unicode.IsDigit(r) {
				dst = utf8.AppendRune(dst, unicode.ToLower(r))
			}
			i += n
			continue
		}
		i++
	}
	return dst
}

// spellNumbers writes the numbers up to 999 in s as words: x30 as xthirty.
func spellNumbers(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		j := i
		for j < len(s) && '0' <= s[j] && s[j] <= '9' {
			j++
		}
		if j == i {
			b.WriteByte(s[i])
			i++
			continue
		}
		if j-i > 3 || s[i] == '0' {
			return s
		}
		b.WriteString(numberWord(s[i:j]))
		i = j
	}
	return b.String()
}

func numberWord(digits string) string {
	small := [...]string{"", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
		"thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"}
	tens := [...]string{"", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"}
	n := 0
	for _, c := range digits {
		n = n*10 + int(c-'0')
	}
	out := ""
	if n >= 100 {
		out = small[n/100] + "hundred"
		n %= 100
	}
	if n < 20 {
		return out + small[n]
	}
	return out + tens[n/10] + small[n%10]
}

// slipped finds the alias that s is with a slip of the keyboard: a letter too
// many, missing, wrong or swapped; two in long names. Several that are equally
// near, of different products, are none.
func (ix *index) slipped(s []byte) (product int, ok bool) {
	best := 3
	has := letters(s)
	for i := range ix.slips {
		a := &ix.slips[i]
		allowed := 1
		if len(a.text) >= 9 {
			allowed = 2
		}
		if d := len(s) - len(a.text); d > allowed || -d > allowed {
			continue
		}
		if bits.OnesCount32(has^a.letters) > 2*allowed {
			continue // a slip brings in one letter and takes out one at most
		}
		d := distance(s, a.text, allowed)
		switch {
		case d > allowed || d > best:
		case d < best:
			best, product, ok = d, int(a.product), true
		case int(a.product) != product:
			product = family
		}
	}
	return product, ok
}

// letters is the set of bytes of s, folded into 32 bits: it tells most strings
// apart that are not near.
func letters(s []byte) uint32 {
	var set uint32
	for _, c := range s {
		set |= 1 << (c & 31)
	}
	return set
}

// distance is the optimal string alignment distance of Damerau and
// Levenshtein, or more than limit if it is.
func distance(a []byte, b string, limit int) int {
	var rows [3][maxAlias + 10]uint8
	for j := range len(b) + 1 {
		rows[0][j] = uint8(j)
	}
	for i := 1; i <= len(a); i++ {
		now, last, before := &rows[i%3], &rows[(i+2)%3], &rows[(i+1)%3]
		now[0] = uint8(i)
		least := now[0]
		for j := 1; j <= len(b); j++ {
			d := last[j-1]
			if a[i-1] != b[j-1] {
				d++
			}
			d = min(d, last[j]+1, now[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, before[j-2]+1)
			}
			now[j] = d
			least = min(least, d)
		}
		if int(least) > limit {
			return limit + 1
		}
	}
	return int(rows[len(a)%3][len(b)])
}
