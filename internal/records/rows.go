// SPDX-License-Identifier: Apache-2.0

package records

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"

	"github.com/millrace-ml/millrace/internal/jsontext"
	"github.com/millrace-ml/millrace/internal/sanitize"
)

// rowReader reads the rows of a table.
type rowReader struct {
	format Format
	lines  *Lines
	limit  int
	header [][]byte // names, as JSON strings; nil until they were read
	pushed []line   // lines to read again
	count  int      // lines that were read

	row bytes.Reader // what csv reads: one row at a time
	csv *csv.Reader  // nil at first, and after a row that it has not read to its end
}

// line is a line of the file, or an error in its place.
type line struct {
	text []byte
	err  error
}

func (r *rowReader) next() (Record, error) {
	for {
		start := r.count + 1
		text, reason, err := r.readRow()
		if err != nil {
			return Record{}, err
		}
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		if reason != "" {
			return reject(start, text, reason), nil
		}
		fields, reason := r.split(text)
		switch {
		case reason != "" && r.header == nil:
			return Record{}, fmt.Errorf("line %d, which names the columns, %s", start, reason)
		case reason != "":
			return reject(start, text, reason), nil
		case r.header == nil:
			if err := r.setHeader(fields); err != nil {
				return Record{}, fmt.Errorf("line %d: %w", start, err)
			}
		case len(fields) != len(r.header):
			return reject(start, text, fmt.Sprintf("has %d fields, the header has %d", len(fields), len(r.header))), nil
		default:
			return Record{Line: start, Value: r.object(fields)}, nil
		}
	}
}

// split takes a row apart, or tells why it cannot.
func (r *rowReader) split(text []byte) (fields []string, reason string) {
	if at := sanitize.InvalidUTF8(text); at >= 0 {
		return nil, fmt.Sprintf("invalid UTF-8 at byte %d of the row", at)
	}
	if r.columns(text) > maxColumns {
		return nil, fmt.Sprintf("has more than %d fields", maxColumns)
	}
	r.row.Reset(text)
	if r.csv == nil {
		r.csv = csv.NewReader(&r.row)
		r.csv.FieldsPerRecord, r.csv.ReuseRecord = -1, true
		if r.format == TSV {
			r.csv.Comma, r.csv.LazyQuotes = '\t', true
		}
	}
	fields, err := r.csv.Read()
	if err != nil {
		r.csv = nil
		if p, ok := errors.AsType[*csv.ParseError](err); ok {
			err = p.Err
		}
		return nil, "not CSV: " + err.Error()
	}
	return fields, ""
}

// maxColumns bounds the fields of a row, each of which takes many times the one byte
// that it can be written in.
const maxColumns = 10_000

// columns is how many fields a row has at most: it takes separators outside of
// quotes for such, and in a table with tabs all of them.
func (r *rowReader) columns(text []byte) int {
	if r.format == TSV {
		return 1 + bytes.Count(text, []byte{'\t'})
	}
	n, quoted := 1, false
	for _, c := range text {
		switch {
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			n++
		}
	}
	return n
}

func (r *rowReader) setHeader(fields []string) error {
	seen := map[string]bool{}
	for i, f := range fields {
		if f == "" {
			return fmt.Errorf("column %d has no name: the first line of a %s file names the columns", i+1, r.format)
		}
		if seen[f] {
			return fmt.Errorf("two columns are called %q", f)
		}
		seen[f] = true
		r.header = append(r.header, jsontext.AppendString(nil, f))
	}
	return nil
}

// object is a row as a JSON object of strings.
func (r *rowReader) object(fields []string) []byte {
	b := []byte{'{'}
	for i, f := range fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, r.header[i]...), ':')
		b = jsontext.AppendString(b, f)
	}
	return append(b, '}')
}

// maxRowLines bounds the lines of a row, so that a stray quote is found soon.
const maxRowLines = 1000

// readRow reads the lines of a row: a quoted field may hold line breaks. A quote that
// is never closed would take in the rest of the file; such a row is only its
// first line, and the lines after it are read again. (That is done once for as
// many lines, or bytes, as a row may have: the next row that is not closed begins
// at a quote after them.)
func (r *rowReader) readRow() (text []byte, reason string, err error) {
	first := r.line()
	switch {
	case errors.Is(first.err, ErrLong):
		return first.text, tooLong(r.limit), nil
	case first.err != nil:
		return nil, "", first.err
	case r.format == TSV || !odd(first.text):
		return first.text, "", nil
	}
	text = bytes.Clone(first.text)
	var taken []line
	for {
		l := r.line()
		taken = append(taken, l)
		if l.err != nil || len(text)+len(l.text) >= r.limit || len(taken) > maxRowLines {
			r.pushed = append(taken, r.pushed...)
			r.count -= len(taken)
			return first.text, "a quoted field is not closed", nil
		}
		text = append(append(text, '\n'), l.text...)
		if odd(l.text) {
			return text, "", nil
		}
	}
}

// odd reports whether a line opens a quoted field that it does not close, or the
// other way round.
func odd(text []byte) bool { return bytes.Count(text, []byte{'"'})%2 == 1 }

// line reads a line without its line break.
func (r *rowReader) line() line {
	r.count++
	if len(r.pushed) > 0 {
		l := r.pushed[0]
		r.pushed = r.pushed[1:]
		return l
	}
	text, err := r.lines.Next()
	if err != nil && !errors.Is(err, ErrLong) && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("read the input after line %d: %w", r.count-1, err)
	}
	return line{bytes.TrimSuffix(text, []byte{'\r'}), err}
}
