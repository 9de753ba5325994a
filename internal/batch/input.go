// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fastjson"
)

// Format is how an input file is written.
type Format string

const (
	JSONL Format = "jsonl" // one JSON value a line
	CSV   Format = "csv"   // a header line, then rows; each becomes an object
	TSV   Format = "tsv"   // the same with tabs
)

// ParseFormat reads a format's name.
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case JSONL, CSV, TSV:
		return f, nil
	}
	return "", fmt.Errorf("format %q: write jsonl, csv or tsv", s)
}

// FormatOf tells a file's format by its name, or by its first bytes: what begins
// with a brace, bracket or quote is JSON.
func FormatOf(name string, head []byte) Format {
	switch name = strings.ToLower(name); {
	case strings.HasSuffix(name, ".csv"):
		return CSV
	case strings.HasSuffix(name, ".tsv"):
		return TSV
	case strings.HasSuffix(name, ".jsonl"), strings.HasSuffix(name, ".ndjson"), strings.HasSuffix(name, ".json"):
		return JSONL
	}
	if head = bytes.TrimLeft(bytes.TrimPrefix(head, bom), " \t\r\n"); len(head) > 0 && strings.IndexByte(`{["`, head[0]) < 0 {
		return CSV
	}
	return JSONL
}

var bom = []byte("\xef\xbb\xbf")

// maxDepth is how deep values may be nested.
const maxDepth = 128

// Entry is one record of the input, or a line that is none.
type Entry struct {
	Line   int    // where it begins, from 1
	Value  []byte // the record's value
	Key    []byte // of the key field, nil when there is none
	Reason string // why it was rejected; empty for a record
	Text   string // the beginning of a rejected line
}

// input reads entries one after the other, within bounded memory.
type input struct {
	r      *bufio.Reader
	format Format
	key    string // the field that is the key
	limit  int    // bytes of a record
	line   int    // physical lines read
	header [][]byte
	read   int64 // bytes
	json   fastjson.Parser
	pushed []physical // lines to read again
}

// physical is a line of the file.
type physical struct {
	text  []byte
	whole bool // not longer than the limit
}

func newInput(r io.Reader, format Format, key string, limit int) *input {
	return &input{r: bufio.NewReaderSize(r, 1<<16), format: format, key: key, limit: limit}
}

// next returns the next entry, or io.EOF. Blank lines are passed over.
func (in *input) next() (Entry, error) {
	if in.format == JSONL {
		return in.nextJSON()
	}
	return in.nextRow()
}

func (in *input) nextJSON() (Entry, error) {
	for {
		l, err := in.physical()
		if err != nil {
			return Entry{}, err
		}
		text := bytes.TrimSpace(l.text)
		if len(text) == 0 {
			continue
		}
		e := Entry{Line: in.line, Value: text}
		if !l.whole {
			return in.reject(e, text, fmt.Sprintf("longer than the limit of %d bytes", in.limit)), nil
		}
		if reason := check(text); reason != "" {
			return in.reject(e, text, reason), nil
		}
		e.Key, err = in.keyOf(text)
		if err != nil {
			return in.reject(e, text, err.Error()), nil
		}
		return e, nil
	}
}

// check tells what is wrong with a JSON value.
func check(text []byte) string {
	if at := invalidUTF8(text); at >= 0 {
		return fmt.Sprintf("not UTF-8 at byte %d", at)
	}
	if at := tooDeep(text); at >= 0 {
		return fmt.Sprintf("nested deeper than %d levels at byte %d", maxDepth, at)
	}
	var value json.RawMessage
	var syntax *json.SyntaxError
	if err := json.Unmarshal(text, &value); errors.As(err, &syntax) {
		return fmt.Sprintf("not JSON at byte %d: %v", syntax.Offset, err)
	} else if err != nil {
		return "not JSON: " + err.Error()
	}
	return ""
}

// tooDeep returns where a value is nested beyond the limit, or -1.
func tooDeep(text []byte) int {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return i
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return -1
}

func invalidUTF8(text []byte) int {
	if utf8.Valid(text) {
		return -1
	}
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// keyOf returns the value of the key field. Without a chosen field it is that
// of "key" or else "id", if there is one.
func (in *input) keyOf(text []byte) ([]byte, error) {
	v, err := in.json.ParseBytes(text)
	if err != nil || v.Type() != fastjson.TypeObject {
		if in.key != "" {
			return nil, fmt.Errorf("not an object with the key field %q", in.key)
		}
		return nil, nil
	}
	fields := []string{"key", "id"}
	if in.key != "" {
		fields = []string{in.key}
	}
	for _, name := range fields {
		switch f := v.Get(name); {
		case f == nil || f.Type() == fastjson.TypeNull:
		case f.Type() == fastjson.TypeString:
			return bytes.Clone(f.GetStringBytes()), nil
		default:
			return f.MarshalTo(nil), nil
		}
	}
	if in.key != "" {
		return nil, fmt.Errorf("the key field %q is missing", in.key)
	}
	return nil, nil
}

func (in *input) nextRow() (Entry, error) {
	for {
		start := in.line + 1
		text, reason, err := in.row()
		if err != nil {
			return Entry{}, err
		}
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		e := Entry{Line: start}
		if reason != "" {
			return in.reject(e, text, reason), nil
		}
		if at := invalidUTF8(text); at >= 0 {
			return in.reject(e, text, fmt.Sprintf("not UTF-8 at byte %d of the row", at)), nil
		}
		r := csv.NewReader(bytes.NewReader(text))
		r.FieldsPerRecord = -1
		if in.format == TSV {
			r.Comma, r.LazyQuotes = '\t', true
		}
		fields, err := r.Read()
		if err != nil {
			var p *csv.ParseError
			if errors.As(err, &p) {
				err = p.Err
			}
			return in.reject(e, text, "not CSV: "+err.Error()), nil
		}
		if in.header == nil {
			if err := in.setHeader(fields); err != nil {
				return Entry{}, fmt.Errorf("line %d: %w", start, err)
			}
			continue
		}
		if len(fields) != len(in.header) {
			return in.reject(e, text, fmt.Sprintf("has %d fields, the header has %d", len(fields), len(in.header))), nil
		}
		e.Value = in.object(fields)
		if len(e.Value) > in.limit {
			return in.reject(e, text, fmt.Sprintf("longer than the limit of %d bytes", in.limit)), nil
		}
		if e.Key, err = in.keyOf(e.Value); err != nil {
			return in.reject(e, text, err.Error()), nil
		}
		return e, nil
	}
}

func (in *input) setHeader(fields []string) error {
	seen := map[string]bool{}
	for i, f := range fields {
		if f == "" {
			return fmt.Errorf("column %d has no name: the first line of a %s file names the columns", i+1, in.format)
		}
		if seen[f] {
			return fmt.Errorf("two columns are called %q", f)
		}
		seen[f] = true
		name, err := json.Marshal(f)
		if err != nil {
			return err
		}
		in.header = append(in.header, name)
	}
	return nil
}

// object is a row as a JSON object of strings.
func (in *input) object(fields []string) []byte {
	b := []byte{'{'}
	for i, f := range fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, in.header[i]...)
		b = append(b, ':')
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(f); err != nil {
			panic(err) // cannot be: a string has a JSON form
		}
		b = append(b, bytes.TrimSuffix(buf.Bytes(), []byte{'\n'})...)
	}
	return append(b, '}')
}

// row reads the physical lines of a row: a quoted field may hold line breaks.
// A quote that is never closed would take in the rest of the file; such a row is
// only its first line, and the lines after it are read again.
func (in *input) row() (text []byte, reason string, err error) {
	first, err := in.physical()
	if err != nil {
		return nil, "", err
	}
	if !first.whole {
		return first.text, fmt.Sprintf("longer than the limit of %d bytes", in.limit), nil
	}
	text = bytes.Clone(first.text)
	if in.format == TSV {
		return text, "", nil // quotes mean nothing there
	}
	var taken []physical
	for odd(text) {
		l, err := in.physical()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, "", err
		}
		if err == nil {
			l.text = bytes.Clone(l.text)
			taken = append(taken, l)
			text = append(append(text, '\n'), l.text...)
		}
		if err != nil || !l.whole || len(text) > in.limit || len(taken) > maxRowLines {
			in.pushed = append(taken, in.pushed...)
			in.line -= len(taken)
			return first.text, "a quoted field is not closed", nil
		}
	}
	return text, "", nil
}

// maxRowLines bounds the lines of a row, so that a stray quote is found soon.
const maxRowLines = 1000

func odd(text []byte) bool { return bytes.Count(text, []byte{'"'})%2 == 1 }

// physical reads a line without its line break. A line beyond the limit is read
// to its end but only its beginning is kept.
func (in *input) physical() (physical, error) {
	if len(in.pushed) > 0 {
		l := in.pushed[0]
		in.pushed = in.pushed[1:]
		in.line++
		return l, nil
	}
	l := physical{whole: true}
	for {
		part, err := in.r.ReadSlice('\n')
		in.read += int64(len(part))
		if len(l.text)+len(part) <= in.limit+2 {
			l.text = append(l.text, part...)
		} else {
			l.whole = false
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(part) == 0 && len(l.text) == 0 && l.whole:
			return l, io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			return l, fmt.Errorf("read input after line %d: %w", in.line, err)
		}
		in.line++
		l.text = bytes.TrimSuffix(bytes.TrimSuffix(l.text, []byte{'\n'}), []byte{'\r'})
		if in.line == 1 {
			l.text = bytes.TrimPrefix(l.text, bom)
		}
		return l, nil
	}
}

// maxShown bounds what is quoted of a rejected line.
const maxShown = 200

func (in *input) reject(e Entry, text []byte, reason string) Entry {
	e.Value, e.Key, e.Reason = nil, nil, reason
	if len(text) > maxShown {
		text = text[:maxShown]
	}
	e.Text = strings.ToValidUTF8(string(text), "�")
	return e
}

// lineKey is the key of a record that has none of its own. Every record of a
// batch has a key, so that its partition is known and a batch that goes on after
// an interruption knows what was published.
func lineKey(line int) []byte { return strconv.AppendInt([]byte("line-"), int64(line), 10) }

// Entries reads a file's entries one after the other, those that are no records
// too. Without a format the name or the first bytes tell it. An entry is valid
// until the next one; an error is the last.
func Entries(r io.Reader, name string, format Format) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		head := bufio.NewReaderSize(r, 1<<16)
		begin, err := head.Peek(1 << 10)
		if err != nil && !errors.Is(err, io.EOF) {
			yield(Entry{}, fmt.Errorf("read input: %w", err))
			return
		}
		if format == "" {
			format = FormatOf(name, begin)
		}
		in := newInput(head, format, "", 1<<20)
		for {
			e, err := in.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Values reads a whole file's records, leaving out lines that are none. Name
// tells its format.
func Values(r io.Reader, name string) ([][]byte, error) {
	var all [][]byte
	for e, err := range Entries(r, name, "") {
		if err != nil {
			return nil, err
		}
		if e.Reason == "" {
			all = append(all, bytes.Clone(e.Value))
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s holds no record", name)
	}
	return all, nil
}
