// SPDX-License-Identifier: Apache-2.0

package linear

// shape counts how a text is built. Whether somebody asks, scolds or thanks
// shows in its length and its marks as much as in its words, and those do not
// change with the subject.
type shape struct {
	words, sentences   int
	asks, exclaims     int
	shouted            int  // words all in capitals
	number             bool // of four digits or more, as orders have
	quoted             bool
	lowered            bool // begins with a small letter, as chats do
	letters, capitals  int  // of the word at hand
	digits             int  // the same
	sinceMark          int  // words of the sentence at hand
	lastMark, sawFirst byte
}

// What is told of a shape; the order is part of the hashes.
const (
	lengthShape byte = iota
	sentencesShape
	asksShape
	exclaimsShape
	markShape
	lengthAndMarkShape
	shoutedShape
	numberShape
	quotedShape
	loweredShape
)

// most is where counts of marks end: three question marks are as good as ten.
const most = 3

func (s *shape) letter(c byte) {
	s.letters++
	small := 'a' <= c && c <= 'z'
	if !small {
		s.capitals++
	}
	if s.sawFirst == 0 {
		s.sawFirst, s.lowered = c, small
	}
}

func (s *shape) endWord() {
	if s.letters > 1 && s.capitals == s.letters && s.digits == 0 {
		s.shouted++
	}
	if s.digits >= 4 {
		s.number = true
	}
	s.words++
	s.sinceMark++
	s.lastMark = 0
	s.letters, s.capitals, s.digits = 0, 0, 0
}

func (s *shape) mark(c byte) {
	switch c {
	case '?':
		s.asks++
	case '!':
		s.exclaims++
	case '"':
		s.quoted = true
		return
	case '.', '\n':
	default:
		return
	}
	if c != '\n' {
		s.lastMark = c
	}
	s.endSentence()
}

// endSentence counts what has two words; "e.g." has not.
func (s *shape) endSentence() {
	if s.sinceMark >= 2 {
		s.sentences++
		s.sinceMark = 0
	}
}

func (s *shape) addTo(v *Vector, o *Options) {
	s.endSentence()
	length := lengthClass(s.words)
	for _, told := range [...][2]byte{
		{lengthShape, length},
		{sentencesShape, byte(min(s.sentences, 2*most))},
		{asksShape, byte(min(s.asks, most))},
		{exclaimsShape, byte(min(s.exclaims, most))},
		{markShape, s.lastMark},
		{shoutedShape, byte(min(s.shouted, most))},
		{numberShape, truth(s.number)},
		{quotedShape, truth(s.quoted)},
		{loweredShape, truth(s.lowered)},
	} {
		v.groups[shapes] = append(v.groups[shapes], o.row(step(step(shapeSeed, told[0]), told[1])))
	}
	both := step(step(step(shapeSeed, lengthAndMarkShape), length), s.lastMark)
	v.groups[shapes] = append(v.groups[shapes], o.row(both))
}

// lengthClass tells a word from a phrase, a sentence, a message and a letter.
func lengthClass(words int) byte {
	for i, limit := range [...]int{1, 2, 3, 6, 10, 16, 25, 40, 70} {
		if words <= limit {
			return byte(i)
		}
	}
	return 9
}

func truth(b bool) byte {
	if b {
		return 1
	}
	return 0
}
