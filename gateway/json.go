// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// fault is what is wrong with JSON, and where.
type fault struct {
	offset int // in bytes, from 0
	what   string
}

func (f *fault) Error() string { return fmt.Sprintf("%s at byte %d", f.what, f.offset) }

// checkJSON finds out whether b is one JSON value of valid UTF-8 with at most
// depth arrays and objects in each other; it is nil if so. It neither recurses nor
// allocates when all is well.
func checkJSON(b []byte, depth int) *fault {
	if at := invalidUTF8(b); at >= 0 {
		return &fault{at, "invalid UTF-8"}
	}
	if at := deeper(b, depth); at >= 0 {
		return &fault{at, fmt.Sprintf("more than %d arrays and objects in each other", depth)}
	}
	if json.Valid(b) {
		return nil
	}
	var v json.RawMessage
	err := json.Unmarshal(b, &v)
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		if int(e.Offset) >= len(b) && e.Error() == "unexpected end of JSON input" {
			return &fault{len(b), "not JSON: unexpected end"}
		}
		return &fault{max(0, int(e.Offset)-1), "not JSON: " + e.Error()}
	}
	return &fault{0, "not JSON: " + fmt.Sprint(err)}
}

// invalidUTF8 is where the first byte is that is not UTF-8, or -1.
func invalidUTF8(b []byte) int {
	if utf8.Valid(b) {
		return -1
	}
	for i := 0; ; {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
}

// deeper is where more than depth arrays and objects are open, or -1. What is
// not JSON may be taken for it.
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
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		}
	}
	return -1
}

// elements splits an array, which is valid JSON, into its elements. They are
// slices of it.
func elements(array []byte) [][]byte {
	var all [][]byte
	open, from := 0, -1
	end := func(to int) {
		if from >= 0 {
			all = append(all, trimSpace(array[from:to]))
		}
		from = -1
	}
	for i := 0; i < len(array); i++ {
		switch c := array[i]; c {
		case '[', '{':
			open++
			if open == 1 {
				continue
			}
		case ']', '}':
			open--
			if open == 0 {
				end(i)
				return all
			}
		case ',':
			if open == 1 {
				end(i)
				continue
			}
		}
		if from < 0 && !isSpace(array[i]) {
			from = i
		}
		if array[i] == '"' {
			for i++; array[i] != '"'; i++ {
				if array[i] == '\\' {
					i++
				}
			}
		}
	}
	end(len(array))
	return all
}

// isSpace tells JSON's white space.
func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

func trimSpace(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

// line is the line of an offset, from 1, and the offset in it.
func line(b []byte, offset int) (number, at int) {
	number = 1
	for i := 0; i < offset && i < len(b); i++ {
		if b[i] == '\n' {
			number++
			at = i + 1
		}
	}
	return number, offset - at
}

var errLong = errors.New("line is too long")

// lines reads lines of bounded length.
type lines struct {
	r     io.Reader
	max   int
	buf   []byte
	from  int // of what was read and not returned
	err   error
	count int // lines returned
}

const linesChunk = 64 << 10

// next returns the next line without its end. It is valid for ever. The last
// line may have no end. Error: io.EOF, errLong, or the reader's.
func (l *lines) next() ([]byte, error) {
	scanned := l.from
	for {
		for i := scanned; i < len(l.buf); i++ {
			if l.buf[i] == '\n' {
				b := l.buf[l.from:i:i]
				l.from = i + 1
				l.count++
				return b, l.long(b)
			}
		}
		scanned = len(l.buf)
		rest := l.buf[l.from:]
		if len(rest) > l.max {
			l.count++
			return nil, errLong
		}
		if l.err != nil {
			if len(rest) > 0 {
				l.from = len(l.buf)
				l.count++
				return rest, l.long(rest)
			}
			return nil, l.err
		}
		if len(l.buf) == cap(l.buf) {
			// The lines that were returned keep the old chunk.
			grown := make([]byte, len(rest), max(linesChunk, 2*len(rest)))
			copy(grown, rest)
			scanned -= l.from
			l.buf, l.from = grown, 0
		}
		n, err := l.r.Read(l.buf[len(l.buf):cap(l.buf)])
		l.buf = l.buf[:len(l.buf)+n]
		l.err = err
	}
}

func (l *lines) long(b []byte) error {
	if len(b) > l.max {
		return errLong
	}
	return nil
}
