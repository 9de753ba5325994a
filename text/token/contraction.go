// SPDX-License-Identifier: Apache-2.0

package token

// contraction emits text[at:end], a word without its punctuation, in the parts
// that are words of their own: "do|n't", "it|'s", "can|not", "7:30|am".
func (s *splitter) contraction(at, end int) {
	cut := end - s.clitic(at, end)
	if cut > at && cut < end {
		s.emit(at, cut)
		s.emit(cut, end)
		return
	}
	s.emit(at, end)
}

// clitic is the length of the last part of a contraction, 0 if it is none.
func (s *splitter) clitic(at, end int) int {
	w := s.text[at:end]
	if len(w) < 2 {
		return 0
	}
	if n := afterApostrophe(w); n > 0 {
		return n
	}
	if isDigitByte(w[0]) {
		return meridiem(w)
	}
	if len(w) > len("shouldnt") {
		return 0
	}
	var low [len("shouldnt")]byte
	for i := range len(w) {
		low[i] = w[i] | 0x20
	}
	return bare(string(low[:len(w)]))
}

// afterApostrophe is the length of 's, 'm, 'd, 're, 've, 'll or n't at the end.
func afterApostrophe(w string) int {
	for n := 1; n <= 2 && n < len(w); n++ {
		mark := apostropheBefore(w, len(w)-n)
		if mark == 0 {
			continue
		}
		a, b := w[len(w)-n]|0x20, w[len(w)-1]|0x20
		switch {
		case n == 1 && (a == 's' || a == 'm' || a == 'd'):
			return mark + 1
		case n == 1 && a == 't' && len(w) > mark+2 && w[len(w)-mark-2]|0x20 == 'n':
			return mark + 2
		case n == 2 && (a == 'r' && b == 'e' || a == 'v' && b == 'e' || a == 'l' && b == 'l'):
			return mark + 2
		}
	}
	return 0
}

// apostropheBefore is the length of the apostrophe that ends at i.
func apostropheBefore(w string, i int) int {
	switch {
	case w[i-1] == '\'' || w[i-1] == '`':
		return 1
	case i >= 3 && w[i-3:i] == "’":
		return 3
	}
	return 0
}

// meridiem is the length of am or pm after a time.
func meridiem(w string) int {
	n := len(w)
	if n >= 3 && w[n-1]|0x20 == 'm' && (w[n-2]|0x20 == 'a' || w[n-2]|0x20 == 'p') && isDigitByte(w[n-3]) {
		return 2
	}
	return 0
}

// bare is the length of the last part of a contraction without an apostrophe.
// Those that are words themselves (its, well, were, ill, id) stay whole.
func bare(w string) int {
	switch w {
	case "dont", "cant", "wont", "didnt", "doesnt", "isnt", "wasnt", "arent", "arnt", "couldnt", "wouldnt", "shouldnt",
		"havent", "hasnt", "hadnt", "werent", "aint", "mustnt", "neednt", "dosent", "wasent", "dident":
		return 2
	case "im", "thats", "whats", "theres", "heres", "hes", "shes", "lets", "wheres", "whos", "hows":
		return 1
	case "ive", "youve", "theyve", "weve", "youre", "theyre", "itll", "youll", "theyll":
		return 2
	case "cannot":
		return 3
	case "gonna", "gotta", "wanna":
		return 2
	}
	return 0
}
