// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds how deep JSON may nest. encoding/json allows 10,000; nothing
// that a model reads comes near a hundred.
const maxDepth = 200

var errTooDeep = fmt.Errorf("nested deeper than %d levels", maxDepth)

// scanner walks over one JSON document (RFC 8259) without building it: models
// read one field of a record and skip the rest. Strings are checked to be
// UTF-8, numbers and nesting to be well formed.
type scanner struct {
	data []byte
	pos  int
}

// syntaxError says what stands where something else was expected.
func (s *scanner) syntaxError(expected string) error {
	if s.pos >= len(s.data) {
		return fmt.Errorf("not valid JSON: it ends at byte %d, expected %s", s.pos, expected)
	}
	r, n := utf8.DecodeRune(s.data[s.pos:])
	if r == utf8.RuneError && n == 1 {
		return fmt.Errorf("not valid JSON: byte 0x%02x at byte %d, expected %s", s.data[s.pos], s.pos, expected)
	}
	return fmt.Errorf("not valid JSON: %q at byte %d, expected %s", r, s.pos, expected)
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// peek skips space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.pos >= len(s.data) {
		return 0
	}
	return s.data[s.pos]
}

// consume skips space and takes c if it is next.
func (s *scanner) consume(c byte) bool {
	if s.peek() != c || s.pos >= len(s.data) {
		return false
	}
	s.pos++
	return true
}

// finish checks that nothing follows the document.
func (s *scanner) finish() error {
	s.space()
	if s.pos < len(s.data) {
		return s.syntaxError("the end")
	}
	return nil
}

// object calls field for every member of the object that is next, with the
// scanner at the member's value, which field must read or skip.
func (s *scanner) object(field func(name []byte) error) error {
	if !s.consume('{') {
		return s.syntaxError("an object")
	}
	if s.consume('}') {
		return nil
	}
	for {
		if s.peek() != '"' {
			return s.syntaxError("a field's name")
		}
		name, err := s.word()
		if err != nil {
			return err
		}
		if !s.consume(':') {
			return s.syntaxError("':'")
		}
		if err := field(name); err != nil {
			return err
		}
		if s.consume(',') {
			continue
		}
		if s.consume('}') {
			return nil
		}
		return s.syntaxError("',' or '}'")
	}
}

// array calls item for every item of the array that is next, with the scanner
// at the item, which it must read or skip.
func (s *scanner) array(item func() error) error {
	if !s.consume('[') {
		return s.syntaxError("an array")
	}
	if s.consume(']') {
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if s.consume(',') {
			continue
		}
		if s.consume(']') {
			return nil
		}
		return s.syntaxError("',' or ']'")
	}
}

// word returns the string that is next: a part of the document, unless it has
// escapes in it, which names seldom have.
func (s *scanner) word() ([]byte, error) {
	s.space()
	rest := s.data[min(s.pos+1, len(s.data)):]
	end := bytes.IndexByte(rest[:min(len(rest), maxWord)], '"')
	if !s.at('"') || end < 0 || bytes.IndexByte(rest[:end], '\\') >= 0 {
		return s.text(nil)
	}
	for _, c := range rest[:end] {
		if c < 0x20 || c >= utf8.RuneSelf {
			return s.text(nil)
		}
	}
	s.pos += end + 2
	return rest[:end], nil
}

// maxWord bounds, in bytes, what word looks at.
const maxWord = 64

// text appends the string that is next to dst, unescaped and checked.
func (s *scanner) text(dst []byte) ([]byte, error) {
	if !s.consume('"') {
		return dst, s.syntaxError("a string")
	}
	for {
		from := s.pos
		plain := true
		for s.pos < len(s.data) {
			c := s.data[s.pos]
			if c == '"' || c == '\\' || c < 0x20 {
				break
			}
			plain = plain && c < utf8.RuneSelf
			s.pos++
		}
		run := s.data[from:s.pos]
		if !plain && !utf8.Valid(run) {
			return dst, invalidUTF8(run, from)
		}
		dst = append(dst, run...)
		if s.pos >= len(s.data) {
			return dst, s.syntaxError("'\"'")
		}
		switch s.data[s.pos] {
		case '"':
			s.pos++
			return dst, nil
		case '\\':
			var err error
			if dst, err = s.escape(dst); err != nil {
				return dst, err
			}
		default:
			return dst, fmt.Errorf("not valid JSON: control character 0x%02x at byte %d must be escaped", s.data[s.pos], s.pos)
		}
	}
}

func invalidUTF8(run []byte, at int) error {
	for i := 0; i < len(run); {
		r, n := utf8.DecodeRune(run[i:])
		if r == utf8.RuneError && n == 1 {
			return fmt.Errorf("not valid UTF-8: byte 0x%02x at byte %d", run[i], at+i)
		}
		i += n
	}
	return errors.New("not valid UTF-8")
}

// escape appends what the escape sequence at the scanner stands for. Half a
// surrogate pair becomes U+FFFD, as in encoding/json.
func (s *scanner) escape(dst []byte) ([]byte, error) {
	s.pos++
	if s.pos >= len(s.data) {
		return dst, s.syntaxError("an escape")
	}
	c := s.data[s.pos]
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		s.pos++
		return s.unicode(dst)
	default:
		return dst, s.syntaxError("an escape")
	}
	s.pos++
	return append(dst, c), nil
}

func (s *scanner) unicode(dst []byte) ([]byte, error) {
	r, ok := s.hex4()
	if !ok {
		return dst, s.syntaxError("four hexadecimal digits")
	}
	if utf16.IsSurrogate(r) {
		back := s.pos
		low := rune(utf8.RuneError)
		if bytes.HasPrefix(s.data[s.pos:], []byte(`\u`)) {
			s.pos += 2
			if low, ok = s.hex4(); !ok {
				return dst, s.syntaxError("four hexadecimal digits")
			}
		}
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			s.pos = back
		}
	}
	return utf8.AppendRune(dst, r), nil
}

func (s *scanner) hex4() (rune, bool) {
	if s.pos+4 > len(s.data) {
		return 0, false
	}
	var r rune
	for range 4 {
		c := s.data[s.pos]
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
		s.pos++
	}
	return r, true
}

// number returns the number that is next, as it is written.
func (s *scanner) number() ([]byte, error) {
	s.space()
	from := s.pos
	if s.at('-') {
		s.pos++
	}
	if s.at('0') {
		s.pos++
	} else if s.digits() == 0 {
		return nil, s.syntaxError("a number")
	}
	if s.at('.') {
		s.pos++
		if s.digits() == 0 {
			return nil, s.syntaxError("a digit")
		}
	}
	if s.at('e') || s.at('E') {
		s.pos++
		if s.at('+') || s.at('-') {
			s.pos++
		}
		if s.digits() == 0 {
			return nil, s.syntaxError("a digit")
		}
	}
	return s.data[from:s.pos], nil
}

func (s *scanner) at(c byte) bool { return s.pos < len(s.data) && s.data[s.pos] == c }

func (s *scanner) digits() int {
	from := s.pos
	for s.pos < len(s.data) && '0' <= s.data[s.pos] && s.data[s.pos] <= '9' {
		s.pos++
	}
	return s.pos - from
}

// integer returns the number that is next, which must be whole.
func (s *scanner) integer() (int, error) {
	digits, err := s.number()
	if err != nil {
		return 0, err
	}
	// Up to 18 digits fit; strconv would make a string of them.
	if len(digits) <= 18 && digits[0] != '-' {
		n := 0
		for _, c := range digits {
			if c < '0' || c > '9' {
				return 0, fmt.Errorf("%s is not a whole number", digits)
			}
			n = n*10 + int(c-'0')
		}
		return n, nil
	}
	n, err := strconv.Atoi(string(digits))
	if err != nil {
		return 0, fmt.Errorf("%.40s is not a whole number that fits", digits)
	}
	return n, nil
}

// float returns the number that is next.
func (s *scanner) float() (float64, error) {
	digits, err := s.number()
	if err != nil {
		return 0, err
	}
	f, err := strconv.ParseFloat(string(digits), 64)
	if err != nil {
		return 0, fmt.Errorf("%.40s is not a number that fits", digits)
	}
	return f, nil
}

// kind names the type of the value that is next.
func (s *scanner) kind() string {
	switch c := s.peek(); {
	case c == '{':
		return "an object"
	case c == '[':
		return "an array"
	case c == '"':
		return "a string"
	case c == 't' || c == 'f':
		return "a boolean"
	case c == 'n':
		return "null"
	case c == '-' || '0' <= c && c <= '9':
		return "a number"
	}
	return "nothing"
}

// skip reads over the value that is next. depth is how deep the scanner is.
func (s *scanner) skip(depth int) error {
	if depth > maxDepth {
		return errTooDeep
	}
	switch s.peek() {
	case '{':
		return s.object(func([]byte) error { return s.skip(depth + 1) })
	case '[':
		return s.array(func() error { return s.skip(depth + 1) })
	case '"':
		return s.skipString()
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	}
	_, err := s.number()
	return err
}

// skipString reads over a string; a long one is unescaped piece by piece into
// a small buffer only where it has escapes.
func (s *scanner) skipString() error {
	var buf [128]byte
	_, err := s.text(buf[:0])
	return err
}

func (s *scanner) literal(word string) error {
	if !bytes.HasPrefix(s.data[s.pos:], []byte(word)) {
		return s.syntaxError("a value")
	}
	s.pos += len(word)
	return nil
}
