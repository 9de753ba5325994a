// SPDX-License-Identifier: Apache-2.0

package keywords

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kljensen/snowball/english"

	"github.com/millrace-ml/millrace/text/tagger"
	"github.com/millrace-ml/millrace/text/token"
)

// chunk is a noun phrase: tokens [first, last], the last being its head.
type chunk struct {
	first, last int
	words       int // without hyphens and how many there are
	score       float64
}

// maxChunk bounds a phrase, in tokens: longer ones are lists or noise.
const maxChunk = 6

// chunk finds the noun phrases that are no products.
func (s *scratch) chunk(text string, tokens []token.Token, tags []tagger.Tag) {
	s.chunks = s.chunks[:0]
	for i := 0; i < len(tokens); {
		if s.product[i] >= 0 || !begins(tags, i, tokens[i].Of(text)) {
			i++
			continue
		}
		last, words, next := s.grow(text, tokens, tags, i)
		if last >= 0 && s.telling(text, tokens, tags, i, last) {
			s.chunks = append(s.chunks, chunk{first: i, last: last, words: words})
		}
		i = max(next, i+1)
	}
}

// telling tells whether a phrase may be what the text is about: its head is a
// noun that can be, or a number after one.
func (s *scratch) telling(text string, tokens []token.Token, tags []tagger.Tag, first, last int) bool {
	if tags[last] == tagger.NUM {
		return last > first
	}
	return telling(tokens[last].Of(text))
}

// begins tells whether a phrase may begin with the token.
func begins(tags []tagger.Tag, i int, word string) bool {
	if !written(word) {
		return false
	}
	switch tags[i] {
	case tagger.NOUN, tagger.PROPN:
		return true
	case tagger.NUM:
		return i+1 < len(tags) && tags[i+1] == tagger.NOUN
	case tagger.ADJ:
		return !vague(word)
	case tagger.VERB:
		return participle(tags, i, word)
	}
	return false
}

// participle tells whether a verb's form modifies the noun after it: "charging
// light", "flashing drop", "mopping robot".
func participle(tags []tagger.Tag, i int, word string) bool {
	if i+1 >= len(tags) || tags[i+1] != tagger.NOUN || len(word) < 6 {
		return false
	}
	if i > 0 && tags[i-1] != tagger.DET && tags[i-1] != tagger.ADJ && tags[i-1] != tagger.ADP && tags[i-1] != tagger.PRON && tags[i-1] != tagger.NUM {
		return false
	}
	return strings.HasSuffix(lower(word), "ing") || strings.HasSuffix(lower(word), "ed")
}

// grow extends a phrase from its first token: it returns its last noun (-1 if
// it has none), the number of its words, and where to look on.
func (s *scratch) grow(text string, tokens []token.Token, tags []tagger.Tag, first int) (last, words, next int) {
	last = -1
	count := 0
	i := first
	for ; i < len(tokens) && i < first+maxChunk && s.product[i] < 0; i++ {
		word := tokens[i].Of(text)
		if i > first && (gap(text, tokens, i) || tags[i] != tagger.PUNCT && tags[i] != tagger.PART && !written(word)) {
			break
		}
		switch tags[i] {
		case tagger.NUM:
			if last == i-1 && last >= first && digits(word) {
				return i, words + 1, i + 1 // "error 31", "order RH-4821": the number names the noun
			}
			if i == first {
				continue
			}
		case tagger.NOUN, tagger.PROPN:
			count++
			last, words = i, count
			continue
		case tagger.ADJ:
			if last >= 0 && tokens[i].Start > tokens[i-1].End {
				return last, words, i // "battery low": the phrase has ended
			}
			count++
			continue
		case tagger.VERB:
			if i == first {
				count++
				continue
			}
		case tagger.PUNCT, tagger.PART:
			if i > first && bridges(word, tokens, i) {
				continue
			}
		}
		break
	}
	return last, words, i
}

// bridges tells whether a sign ties words of a phrase together.
func bridges(sign string, tokens []token.Token, i int) bool {
	return sign == "-" && glued(tokens, i) || sign == "'s" || sign == "’s"
}

// written tells whether a token is a word or number, not a sign or emoji that
// the tagger took for one.
func written(word string) bool {
	r, _ := utf8.DecodeRuneInString(word)
	return unicode.IsLetter(r) || unicode.IsDigit(r)
}

// digits tells whether a number is written in digits.
func digits(word string) bool { return strings.ContainsAny(word, "0123456789") }

// gap tells whether a line ends between the token and the one before.
func gap(text string, tokens []token.Token, i int) bool {
	return strings.IndexByte(text[tokens[i-1].End:tokens[i].Start], '\n') >= 0
}

// glued tells whether a token stands without space between its neighbours.
func glued(tokens []token.Token, i int) bool {
	return i > 0 && i+1 < len(tokens) && tokens[i-1].End == tokens[i].Start && tokens[i].End == tokens[i+1].Start
}

// rank scores the phrases and moves the best to the result.
func (s *scratch) rank(r *Result, most int, text string, tokens []token.Token) {
	for i := range s.chunks {
		s.chunks[i].score = s.score(i, text, tokens)
	}
	slices.SortStableFunc(s.chunks, func(a, b chunk) int { return cmp.Compare(b.score, a.score) })
	for i := range s.chunks {
		if len(r.Phrases) == most {
			return
		}
		if s.repeats(i, text, tokens) {
			continue
		}
		c := &s.chunks[i]
		r.Phrases = append(r.Phrases, Phrase{tokens[c.first].Start, tokens[c.last].End, c.score})
	}
}

// repeats tells whether a better phrase has the same head.
func (s *scratch) repeats(i int, text string, tokens []token.Token) bool {
	head := tokens[s.chunks[i].last].Of(text)
	for _, better := range s.chunks[:i] {
		if sameStem(head, tokens[better.last].Of(text)) {
			return true
		}
	}
	return false
}

// sameStem compares words by stem. Words that differ in their first letters
// are told apart without making their stems.
func sameStem(a, b string) bool {
	if strings.EqualFold(a, b) {
		return true
	}
	n := min(len(a), len(b), 3)
	if n < 3 || !strings.EqualFold(a[:n], b[:n]) {
		return false
	}
	return english.Stem(a, false) == english.Stem(b, false)
}

// score ranks phrase i of the text: specific ones (several words, or a word
// that is written more than once) and early ones first, vague ones last.
func (s *scratch) score(i int, text string, tokens []token.Token) float64 {
	c := &s.chunks[i]
	head := tokens[c.last].Of(text)
	score := 0.5 + 0.15*float64(min(c.words, 3)-1)
	for k := range s.chunks {
		if k != i && strings.EqualFold(head, tokens[s.chunks[k].last].Of(text)) {
			score += 0.1
			break
		}
	}
	score += 0.1 / float64(1+i)
	if common(head) {
		score -= 0.35
	}
	return min(max(score, 0.05), 1)
}
