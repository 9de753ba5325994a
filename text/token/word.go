// SPDX-License-Identifier: Apache-2.0

package token

import (
	"strings"
	"unicode/utf8"
)

// word emits the tokens of the word that begins at the letter or digit at, and
// returns where the last one ends.
func (s *splitter) word(at, end int) int {
	if stop := s.address(at, end); stop > at {
		s.emit(at, stop)
		return stop
	}
	stop := s.wordEnd(at, end)
	if s.abbreviation(at, stop, end) {
		stop++
		s.emit(at, stop)
		return stop
	}
	s.contraction(at, stop)
	return stop
}

// address returns where the web or mail address at the scanner ends, or at if
// there is none. Punctuation at its end belongs to the sentence.
func (s *splitter) address(at, end int) int {
	rest := s.text[at:end]
	if !s.hasAt && !hasPrefixFold(rest, "http") && !hasPrefixFold(rest, "www.") && !hasPrefixFold(rest, "ftp://") {
		return at
	}
	web := hasPrefixFold(rest, "http://") || hasPrefixFold(rest, "https://") ||
		hasPrefixFold(rest, "www.") || hasPrefixFold(rest, "ftp://")
	if !web {
		rest = rest[:min(len(rest), maxMail)]
		end = at + len(rest)
		n := strings.IndexByte(rest, '@')
		if n <= 0 || n+1 >= len(rest) || !s.wordAt(at+n+1) || strings.ContainsAny(rest[:n], "()<>[]\"/,;") {
			return at
		}
		if cut := strings.IndexAny(rest[n:], "()<>[]\",;"); cut > 0 {
			end = at + n + cut
		}
	}
	for end > at && strings.IndexByte(".,;:!?)]}>\"'*", s.text[end-1]) >= 0 {
		end--
	}
	return end
}

// maxMail bounds a mail address, as RFC 5321 does.
const maxMail = 254

func hasPrefixFold(s, lower string) bool {
	return len(s) >= len(lower) && equalFold(s[:len(lower)], lower)
}

// equalFold compares ASCII without case; lower is in lower case.
func equalFold(s, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// wordEnd returns where the word that begins at ends: runs of letters and
// digits, joined by marks that belong inside a word.
func (s *splitter) wordEnd(at, end int) int {
	part := at // where the last run begins
	stop := s.run(at, end)
	for stop < end-1 {
		n := s.joint(at, part, stop, end)
		if n == 0 {
			break
		}
		part = stop + n
		stop = s.run(part, end)
	}
	return stop
}

// joint is the length of the mark at stop if it joins text[part:stop] to the
// run after it, 0 if it parts them.
func (s *splitter) joint(at, part, stop, end int) int {
	n := 1
	c := s.text[stop]
	if c >= utf8.RuneSelf {
		if !strings.HasPrefix(s.text[stop:end], "’") {
			return 0
		}
		c, n = '\'', len("’")
	}
	if stop+n >= end || !s.wordAt(stop+n) {
		return 0
	}
	before := s.text[part:stop]
	after := s.text[stop+n : s.run(stop+n, min(end, stop+n+maxRun))]
	joins := false
	switch c {
	case '\'', '`':
		joins = true
	case '.':
		joins = joinsDot(before, after)
	case ',':
		joins = digits(before) && len(after) == 3 && digits(after)
	case ':':
		joins = digits(before) && isDigitByte(after[0])
	case '/':
		joins = digits(before) && digits(after) || len(before) == 1 && len(after) == 1
	case '-':
		joins = s.joinsHyphen(at, part, stop, end)
	case '&':
		joins = len(before) <= 2 && len(after) <= 2 && part == at
	case '@':
		joins = true
	}
	if joins {
		return n
	}
	return 0
}

// maxRun bounds how far a rule looks ahead: longer runs are no numbers,
// prefixes or file endings, and looking at them whole again and again would
// make the time quadratic.
const maxRun = 32

// joinsDot keeps numbers, initials, host and file names whole, and parts
// sentences that were written without a space.
func joinsDot(before, after string) bool {
	if isDigitByte(before[len(before)-1]) && isDigitByte(after[0]) {
		return true
	}
	if len(before) == 1 && len(after) <= 2 {
		return true
	}
	return isEnding(after)
}

// isEnding tells whether s ends host or file names.
func isEnding(s string) bool {
	if len(s) < 2 || len(s) > 4 {
		return false
	}
	var low [4]byte
	for i := range len(s) {
		low[i] = s[i] | 0x20
	}
	switch string(low[:len(s)]) {
	case "com", "org", "net", "edu", "gov", "info", "co", "uk", "de", "io", "eu", "ca", "biz", "tv",
		"doc", "docx", "xls", "pdf", "jpg", "jpeg", "png", "gif", "txt", "zip", "html", "htm", "php", "url", "exe",
		"ppt", "csv", "mp3", "mp4", "mov", "heic", "app", "apk":
		return true
	}
	return false
}

// joinsHyphen keeps prefixed words, numbered names, phone numbers and dates
// whole; other hyphens are tokens.
func (s *splitter) joinsHyphen(at, part, stop, end int) bool {
	before := s.text[part:stop]
	next := s.run(stop+1, min(end, stop+1+maxRun))
	after := s.text[stop+1 : next]
	if digits(before) && digits(after) {
		// A second hyphen, or groups too long for a range of small numbers.
		more := next+1 < end && s.text[next] == '-' && isDigitByte(s.text[next+1])
		years := len(before) == 4 && len(after) == 4
		return part > at || more || len(before) >= 3 && len(after) >= 3 && !years
	}
	if isDigitByte(after[0]) {
		return true // x-30, RH-48213, mid-80s
	}
	if isPrefix(before) {
		return true
	}
	// Codes such as 4B-XR: digits and letters on both sides or no small letter.
	return mixed(before) && (mixed(after) || upper(after))
}

func isPrefix(s string) bool {
	if len(s) > 7 {
		return false
	}
	var low [7]byte
	for i := range len(s) {
		low[i] = s[i] | 0x20
	}
	switch string(low[:len(s)]) {
	case "e", "non", "pre", "post", "anti", "co", "ex", "mid", "multi", "semi", "re", "un", "pro", "sub",
		"inter", "intra", "counter", "ultra", "micro", "neo", "pseudo", "bi", "tri", "de", "dis", "mini", "mega", "over", "super":
		return true
	}
	return false
}

func digits(s string) bool {
	for i := range len(s) {
		if !isDigitByte(s[i]) {
			return false
		}
	}
	return true
}

// mixed tells whether s has both digits and letters.
func mixed(s string) bool {
	var letter, digit bool
	for i := range len(s) {
		digit = digit || isDigitByte(s[i])
		letter = letter || isLetterByte(s[i])
	}
	return letter && digit
}

func upper(s string) bool {
	for i := range len(s) {
		if s[i] < 'A' || s[i] > 'Z' {
			return false
		}
	}
	return true
}

// abbreviation tells whether the dot after text[at:stop] belongs to it.
func (s *splitter) abbreviation(at, stop, end int) bool {
	if stop >= end || s.text[stop] != '.' || stop+1 < end && s.text[stop+1] == '.' {
		return false
	}
	w := s.text[at:stop]
	if len(w) == 1 {
		return isLetterByte(w[0]) && w[0] != 'I' && w[0] < 'a' // an initial
	}
	if len(w) > 6 {
		return false
	}
	if strings.IndexByte(w, '.') == 1 {
		return isLetterByte(w[0]) && !strings.ContainsAny(w, "0123456789") // U.S., p.m., e.g.
	}
	var low [6]byte
	for i := range len(w) {
		low[i] = w[i] | 0x20
	}
	switch string(low[:len(w)]) {
	case "mr", "mrs", "ms", "dr", "st", "prof", "rev", "gen", "sen", "rep", "gov", "lt", "sgt", "capt", "jr", "sr",
		"inc", "ltd", "corp", "vs", "etc", "approx", "dept", "est", "attn", "ext", "tel",
		"jan", "feb", "aug", "sept", "oct", "nov", "dec", "thur":
		return true
	}
	return false
}
