// SPDX-License-Identifier: Apache-2.0

package jsontext

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/millrace-ml/millrace/internal/sanitize"
)

// Fault is what is wrong with a text that should be JSON, and where.
type Fault struct {
	Offset int // in bytes, from 0
	What   string
}

func (f *Fault) Error() string { return fmt.Sprintf("%s at byte %d", f.What, f.Offset) }

// Valid reports whether b is one JSON value of valid UTF-8 that is not nested
// deeper than MaxDepth. It does not allocate.
func Valid(b []byte) bool { return Within(b, MaxDepth) }

// Within is [Valid] with another depth, at most MaxDepth and one.
func Within(b []byte, depth int) bool {
	s := scanner{b: b}
	return s.value(depth) && s.next() == 0 && s.i == len(b) && utf8.Valid(b)
}

// Check finds out whether b is one JSON value of valid UTF-8 with at most depth
// arrays and objects in each other; it is nil if so. Depth is at most MaxDepth,
// and one more for an array of values. It does not allocate when all is well.
func Check(b []byte, depth int) *Fault {
	if Within(b, depth) {
		return nil
	}
	if at := sanitize.InvalidUTF8(b); at >= 0 {
		return &Fault{at, "invalid UTF-8"}
	}
	if at := deeper(b, depth); at >= 0 {
		return &Fault{at, fmt.Sprintf("more than %d arrays and objects in each other", depth)}
	}
	// The standard library's words are those that people search for.
	var v json.RawMessage
	err := json.Unmarshal(b, &v)
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		if int(e.Offset) >= len(b) && e.Error() == "unexpected end of JSON input" {
			return &Fault{len(b), "not JSON: unexpected end"}
		}
		return &Fault{max(0, int(e.Offset)-1), "not JSON: " + e.Error()}
	}
	return &Fault{0, "not JSON: " + fmt.Sprint(err)}
}

// deeper is where more than depth arrays and objects are open, or -1. It takes
// brackets outside of strings for such, whether or not the text is JSON.
func deeper(b []byte, depth int) int {
	open := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '[', '{':
			if open++; open > depth {
				return i
			}
		case ']', '}':
			open--
		case '"':
			i = endOfString(b, i)
		}
	}
	return -1
}

// endOfString is where the quotation mark stands that closes the string which
// begins at from, or len(b) if none does.
func endOfString(b []byte, from int) int {
	i := from + 1
	for i < len(b) && b[i] != '"' {
		if b[i] == '\\' {
			i++
		}
		i++
	}
	return min(i, len(b))
}
