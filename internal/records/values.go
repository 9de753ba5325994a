// SPDX-License-Identifier: Apache-2.0

package records

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/millrace-ml/millrace/internal/jsontext"
)

// valueReader reads JSON values that stand in an array, or one after the other.
// It finds where each ends by its brackets and quotation marks, so that one that
// is no JSON does not keep it from the next.
type valueReader struct {
	r     *bufio.Reader
	limit int
	take  func(line int, b []byte) Record

	array bool
	begun bool
	ended bool
	line  int // of the next byte
	count int // values so far

	text []byte // of the value, or its beginning
	size int    // bytes of it
	err  error  // of the input
}

func newValueReader(in io.Reader, limit int, take func(int, []byte) Record) *valueReader {
	return &valueReader{r: bufio.NewReaderSize(in, linesChunk), limit: limit, take: take, line: 1}
}

func (v *valueReader) next() (Record, error) {
	if v.ended {
		return Record{}, io.EOF
	}
	if !v.begun {
		v.begin()
	}
	c, ok := v.peek()
	if v.array && v.count > 0 && ok {
		if c != ',' && c != ']' {
			return v.fault(fmt.Sprintf("after record %d comes %q: there must be a comma, or a bracket at the array's end", v.count, c)), nil
		}
		if c == ',' {
			v.drop()
			if c, ok = v.peek(); c == ']' || c == ',' {
				return v.fault(fmt.Sprintf("after record %d comes a comma with no value behind it", v.count)), nil
			}
		}
	}
	switch {
	case v.err != nil && !errors.Is(v.err, io.EOF):
		return Record{}, fmt.Errorf("read the input after line %d: %w", v.line, v.err)
	case !ok && v.array:
		return v.fault("the array has no end"), nil
	case !ok:
		return Record{}, io.EOF
	case v.array && c == ']':
		return v.end()
	}
	return v.record()
}

// record reads the value that is next.
func (v *valueReader) record() (Record, error) {
	line := v.line
	v.text, v.size = nil, 0
	closed := v.value()
	v.count++
	switch {
	case v.err != nil && !errors.Is(v.err, io.EOF):
		return Record{}, fmt.Errorf("read the input after line %d: %w", v.line, v.err)
	case !closed:
		v.ended = true
		return reject(line, v.text, fmt.Sprintf("record %d has no end: %s", v.count, v.take(line, v.text).Reason)), nil
	case v.size > v.limit:
		return reject(line, v.text, tooLong(v.limit)), nil
	}
	record := v.take(line, v.text)
	if record.Reason == "" {
		record.Value = jsontext.AppendLine(nil, record.Value)
	}
	return record, nil
}

// begin passes over a byte order mark, and finds out whether there is an array.
func (v *valueReader) begin() {
	v.begun = true
	if head, _ := v.r.Peek(len(byteOrderMark)); bytes.Equal(head, byteOrderMark) {
		_, _ = v.r.Discard(len(head)) // it was peeked
	}
	if c, ok := v.peek(); ok && c == '[' {
		v.array = true
		v.drop()
	}
}

// end passes over the bracket that closes the array.
func (v *valueReader) end() (Record, error) {
	v.drop()
	if _, more := v.peek(); more {
		return v.fault("there is more after the array: write one array, or one record a line"), nil
	}
	v.ended = true
	return Record{}, io.EOF
}

// fault is what ends the reading, as it is not known where the next value begins.
func (v *valueReader) fault(reason string) Record {
	v.ended = true
	rest, _ := v.r.Peek(min(v.r.Buffered(), maxShown))
	return reject(v.line, rest, reason)
}

// peek passes over white space and returns the byte after it. It reports whether
// there is one.
func (v *valueReader) peek() (byte, bool) {
	for {
		c, ok := v.get()
		if !ok {
			return 0, false
		}
		if c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			v.unget(c)
			return c, true
		}
	}
}

func (v *valueReader) get() (byte, bool) {
	c, err := v.r.ReadByte()
	if err != nil {
		v.err = err
		return 0, false
	}
	if c == '\n' {
		v.line++
	}
	return c, true
}

// unget gives the byte back that was read last.
func (v *valueReader) unget(c byte) {
	_ = v.r.UnreadByte() // the last call was ReadByte
	if c == '\n' {
		v.line--
	}
}

// drop passes over the byte that was peeked.
func (v *valueReader) drop() { v.get() }

// keep appends a byte to the value, as far as there is room.
func (v *valueReader) keep(c byte) {
	v.size++
	if v.size <= v.limit+1 {
		v.text = append(v.text, c)
	}
}

// value reads a value and reports whether it has an end.
func (v *valueReader) value() bool {
	for depth := 0; ; {
		c, ok := v.get()
		if !ok {
			return false
		}
		v.keep(c)
		switch c {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			if !v.string() {
				return false
			}
		default:
			if depth == 0 {
				v.scalar()
			}
		}
		if depth <= 0 {
			return true
		}
	}
}

// string reads the rest of a string.
func (v *valueReader) string() bool {
	for escaped := false; ; {
		c, ok := v.get()
		if !ok {
			return false
		}
		v.keep(c)
		switch {
		case escaped:
			escaped = false
		case c == '\\':
			escaped = true
		case c == '"':
			return true
		}
	}
}

// scalar reads the rest of what is no string, array or object.
func (v *valueReader) scalar() {
	for {
		c, ok := v.get()
		if !ok {
			return
		}
		switch c {
		case ' ', '\t', '\n', '\r', ',', ']', '}', '[', '{', '"':
			v.unget(c)
			return
		}
		v.keep(c)
	}
}
