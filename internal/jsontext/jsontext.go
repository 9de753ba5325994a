// SPDX-License-Identifier: Apache-2.0

// Package jsontext checks, takes apart and writes JSON (RFC 8259) as bytes,
// without building values of it.
//
// The one idea: what comes from outside costs no more than its length. Nothing
// here recurses, and every function takes linear time and, but for what it
// returns, constant memory.
package jsontext

// Limits of how many arrays and objects may stand in each other.
const (
	// MaxDepth is the limit of what any part of Millrace reads.
	MaxDepth = 2 * IntakeDepth

	// IntakeDepth is the limit of what is taken in from outside. It is half, as
	// gathers wrap what was taken in, one around the other. A value that would be
	// too deep inside of an answer is text in it, so that what is written can be read.
	IntakeDepth = 128
)

// scanner walks over a text. Its methods report whether there was what they are
// named after, and leave it behind.
type scanner struct {
	b []byte
	i int
}

func (s *scanner) space() {
	for s.i < len(s.b) && isSpace(s.b[s.i]) {
		s.i++
	}
}

// isSpace tells JSON's white space.
func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// next skips white space and returns the byte after it, 0 at the end. (No token
// of JSON is the byte 0.)
func (s *scanner) next() byte {
	s.space()
	if s.i >= len(s.b) {
		return 0
	}
	return s.b[s.i]
}

func (s *scanner) take(c byte) bool {
	if s.next() != c || s.i >= len(s.b) {
		return false
	}
	s.i++
	return true
}

func (s *scanner) string() bool {
	if !s.take('"') {
		return false
	}
	for {
		b := s.b[s.i:]
		i := 0
		for i < len(b) && b[i] >= ' ' && b[i] != '"' && b[i] != '\\' {
			i++
		}
		s.i += i
		switch {
		case i == len(b) || b[i] < ' ':
			return false
		case b[i] == '"':
			s.i++
			return true
		case !s.escape():
			return false
		}
	}
}

func (s *scanner) escape() bool {
	s.i++
	if s.i >= len(s.b) {
		return false
	}
	switch s.b[s.i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i++
		return true
	case 'u':
		if len(s.b)-s.i < 5 {
			return false
		}
		for _, c := range s.b[s.i+1 : s.i+5] {
			if !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'f') {
				return false
			}
		}
		s.i += 5
		return true
	}
	return false
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func (s *scanner) digits() bool {
	b := s.b[s.i:]
	n := 0
	for n < len(b) && isDigit(b[n]) {
		n++
	}
	s.i += n
	return n > 0
}

func (s *scanner) at(c byte) bool { return s.i < len(s.b) && s.b[s.i] == c }

func (s *scanner) number() bool {
	if s.at('-') {
		s.i++
	}
	if s.at('0') {
		s.i++
	} else if !s.digits() {
		return false
	}
	if s.at('.') {
		s.i++
		if !s.digits() {
			return false
		}
	}
	if s.at('e') || s.at('E') {
		s.i++
		if s.at('+') || s.at('-') {
			s.i++
		}
		return s.digits()
	}
	return true
}

func (s *scanner) word(w string) bool {
	if len(s.b)-s.i < len(w) || string(s.b[s.i:s.i+len(w)]) != w {
		return false
	}
	s.i += len(w)
	return true
}

// scalar leaves a value behind that is no array or object.
func (s *scanner) scalar() bool {
	switch s.next() {
	case '"':
		return s.string()
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	return s.number()
}

// nesting is what is open around a place: arrays, and objects.
type nesting struct {
	objects [MaxDepth/64 + 1]uint64 // a bit for each level, set for an object
	depth   int
}

func (n *nesting) open(object bool) {
	bit := uint64(1) << (n.depth % 64)
	n.objects[n.depth/64] &^= bit
	if object {
		n.objects[n.depth/64] |= bit
	}
	n.depth++
}

func (n *nesting) inObject() bool {
	return n.objects[(n.depth-1)/64]&(1<<((n.depth-1)%64)) != 0
}

// value leaves a value behind, with at most depth arrays and objects in each
// other. Depth is at most MaxDepth, and one more for what is around a value.
func (s *scanner) value(depth int) bool {
	depth = min(depth, MaxDepth+1)
	var n nesting
	for {
		c := s.next()
		switch {
		case c != '{' && c != '[':
			if !s.scalar() {
				return false
			}
		case n.depth == depth:
			return false
		default:
			s.i++
			n.open(c == '{')
			if !s.take(c + 2) { // the bracket that closes it
				if c == '{' && !s.name() {
					return false
				}
				continue
			}
			n.depth--
		}
		if again, ok := s.after(&n); !again {
			return ok
		}
	}
}

// after leaves behind what stands between a value and the next one, and reports
// whether there is a next one; if not, whether all is closed.
func (s *scanner) after(n *nesting) (again, ok bool) {
	for n.depth > 0 {
		object := n.inObject()
		if s.take(',') {
			return !object || s.name(), false
		}
		end := byte(']')
		if object {
			end = '}'
		}
		if !s.take(end) {
			return false, false
		}
		n.depth--
	}
	return false, true
}

// name leaves a member's name and its colon behind.
func (s *scanner) name() bool { return s.string() && s.take(':') }
