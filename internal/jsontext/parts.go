// SPDX-License-Identifier: Apache-2.0

package jsontext

import "encoding/json"

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

// Elements returns the elements of an array, which are parts of it. Of what is no
// array of valid JSON, or deeper than MaxDepth, it returns what comes before the fault.
func Elements(array []byte) [][]byte {
	s := scanner{b: array}
	var all [][]byte
	if !s.take('[') {
		return nil
	}
	for s.next() != ']' {
		from := s.i
		if !s.value(MaxDepth) {
			break
		}
		all = append(all, array[from:s.i:s.i])
		if !s.take(',') {
			break
		}
	}
	return all
}

// Field returns the value of an object's field, which is a part of it: the last
// one, as for encoding/json, of fields of the same name. It returns nil if there
// is none or b is no object of valid JSON within MaxDepth.
func Field(b []byte, name string) []byte {
	s := scanner{b: b}
	var value []byte
	if !s.take('{') {
		return nil
	}
	for s.next() == '"' {
		from := s.i
		if !s.string() {
			return nil
		}
		found := isString(b[from:s.i], name)
		if !s.take(':') {
			return nil
		}
		s.space()
		from = s.i
		if !s.value(MaxDepth) {
			return nil
		}
		if found {
			value = b[from:s.i:s.i]
		}
		if !s.take(',') {
			break
		}
	}
	if !s.take('}') || s.next() != 0 || s.i < len(b) {
		return nil
	}
	return value
}

// isString reports whether a JSON string says text.
func isString(quoted []byte, text string) bool {
	inner := quoted[1 : len(quoted)-1]
	if string(inner) == text {
		return true
	}
	for _, c := range inner {
		if c == '\\' {
			s, _ := String(quoted)
			return s == text
		}
	}
	return false
}

// String returns the text of a JSON string, and whether b is one.
func String(b []byte) (string, bool) {
	if len(b) < 2 || b[0] != '"' {
		return "", false
	}
	var s string
	if json.Unmarshal(b, &s) != nil {
		return "", false
	}
	return s, true
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
