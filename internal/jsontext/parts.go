// SPDX-License-Identifier: Apache-2.0

package jsontext

import (
	"bytes"
	"iter"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Trim returns b without the white space around it.
func Trim(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

// Elements yields the elements of an array one after the other; they are parts of
// it. Of what is no array of valid JSON, or deeper than MaxDepth, it yields what
// comes before the fault.
func Elements(array []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		s := scanner{b: array}
		if !s.take('[') {
			return
		}
		for s.next() != ']' {
			from := s.i
			if !s.value(MaxDepth) || !yield(array[from:s.i:s.i]) || !s.take(',') {
				return
			}
		}
	}
}

// Field returns the value of an object's field, which is a part of it: the last
// one, as for encoding/json, of fields of the same name. It returns nil if there
// is none or b is no object of valid JSON within MaxDepth.
func Field(b []byte, name string) []byte {
	m := Members{s: scanner{b: b}}
	var value []byte
	for m.Next() {
		if isString(m.name, name) {
			value = m.value
		}
	}
	if !m.Whole() {
		return nil
	}
	return value
}

// Members goes through an object. The zero value is at the end of none.
type Members struct {
	s           scanner
	name, value []byte
	begun       bool
	broken      bool // a member is no member
}

// MembersOf goes through the object b.
func MembersOf(b []byte) Members { return Members{s: scanner{b: b}} }

// Next moves to the next member, and reports whether there is one: there is none
// where b is no object, is not JSON or is deeper than MaxDepth from there on.
func (m *Members) Next() bool {
	s := &m.s
	separator := byte(',')
	if !m.begun {
		separator, m.begun = '{', true
	}
	if !s.take(separator) || separator == '{' && s.next() == '}' {
		return false
	}
	s.space()
	from := s.i
	m.broken = true
	if !s.string() {
		return false
	}
	m.name = s.b[from:s.i]
	if !s.take(':') {
		return false
	}
	s.space()
	from = s.i
	if !s.value(MaxDepth) {
		return false
	}
	m.value, m.broken = s.b[from:s.i:s.i], false
	return true
}

// Is reports whether the member has this name.
func (m *Members) Is(name string) bool { return isString(m.name, name) }

// Name is the member's name.
func (m *Members) Name() string {
	s, _ := String(m.name)
	return s
}

// Value is the member's value, which is a part of the object.
func (m *Members) Value() []byte { return m.value }

// Whole reports, after the last Next, whether all of b was an object. That it
// is UTF-8 is not looked at.
func (m *Members) Whole() bool {
	return m.begun && !m.broken && m.s.take('}') && m.s.next() == 0 && m.s.i == len(m.s.b)
}

// isString reports whether a JSON string says text.
func isString(quoted []byte, text string) bool {
	inner := quoted[1 : len(quoted)-1]
	if string(inner) == text {
		return true
	}
	if bytes.IndexByte(inner, '\\') < 0 {
		return false
	}
	s, _ := String(quoted)
	return s == text
}

// String returns the text of a JSON string, and whether b is one.
func String(b []byte) (string, bool) {
	text, is := Unquote(b)
	return string(text), is
}

// Unquote returns the text of a JSON string, and whether b is one. The text is a
// part of b if nothing of it is escaped. Bytes that are not UTF-8, and halves of
// surrogate pairs, become U+FFFD.
func Unquote(b []byte) ([]byte, bool) {
	s := scanner{b: b}
	if len(b) < 2 || b[0] != '"' || !s.string() || s.i < len(b) {
		return nil, false
	}
	inner := b[1 : len(b)-1 : len(b)-1]
	if bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return inner, true
	}
	text := make([]byte, 0, len(inner))
	for len(inner) > 0 {
		if inner[0] == '\\' {
			var r rune
			r, inner = escaped(inner)
			text = utf8.AppendRune(text, r)
			continue
		}
		r, n := utf8.DecodeRune(inner)
		text = utf8.AppendRune(text, r)
		inner = inner[n:]
	}
	return text, true
}

// escaped reads the escape sequence that b begins with.
func escaped(b []byte) (rune, []byte) {
	if b[1] != 'u' {
		c := b[1]
		if at := strings.IndexByte("bfnrt", c); at >= 0 {
			c = "\b\f\n\r\t"[at]
		}
		return rune(c), b[2:]
	}
	r, b := codeUnit(b), b[6:]
	if utf16.IsSurrogate(r) {
		if len(b) >= 6 && b[0] == '\\' && b[1] == 'u' {
			if whole := utf16.DecodeRune(r, codeUnit(b)); whole != utf8.RuneError {
				return whole, b[6:]
			}
		}
		return utf8.RuneError, b
	}
	return r, b
}

// codeUnit is what \uXXXX stands for.
func codeUnit(b []byte) rune {
	n, _ := strconv.ParseUint(string(b[2:6]), 16, 16) // the scanner has seen that it is one
	return rune(n)
}

// Number returns a JSON number as it is written, and whether b is one.
func Number(b []byte) (string, bool) {
	s := scanner{b: b}
	if !s.number() || s.i < len(b) {
		return "", false
	}
	return string(b), true
}

// Kind names the type of the valid JSON value that b begins with.
func Kind(b []byte) string {
	s := scanner{b: b}
	switch s.next() {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	}
	return "number"
}
