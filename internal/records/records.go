// SPDX-License-Identifier: Apache-2.0

// Package records reads the records of files and streams: JSON, JSON lines, CSV,
// TSV and plain text. It is the one reader of all commands, and has the one rule
// for a record's key.
//
// The one idea: a record is a value of JSON, whatever it was written in, and what
// is no record is an entry too, with its line and the reason. So whoever reads
// decides whether a bad row is an error or is put aside while the rest goes on.
// Memory is bounded by the limit of a record, and time by the input's length.
package records

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/jsontext"
	"github.com/millrace-ml/millrace/internal/sanitize"
)

// Format is how an input is written.
type Format string

// The formats. CSV and TSV begin with a line of names; each row becomes an object
// of texts.
const (
	JSONL Format = "jsonl" // a JSON value a line
	JSON  Format = "json"  // an array of values, or values of several lines, one after the other
	CSV   Format = "csv"   // RFC 4180
	TSV   Format = "tsv"   // the same with tabs, and a row is one line
	Text  Format = "text"  // plain lines; each becomes {"text": line}
)

// Options say what an input is. The zero value reads JSON and CSV without keys.
type Options struct {
	Name   string // of the file; its ending tells the format
	Format Format // empty: by the name, or else by the first bytes
	Else   Format // of an input whose name and first bytes do not tell it; empty: CSV
	Keys   Keys   // what the records' keys are
	Limit  int    // bytes of a record's value; 0: [broker.DefaultMaxRecordBytes]
}

// Record is a record of the input, or what is none.
type Record struct {
	Number int    // from 1, counting what is no record
	Line   int    // where it begins, from 1
	Value  []byte // JSON on one line, valid UTF-8, not nested deeper than [jsontext.IntakeDepth]
	Key    []byte // nil if it has none
	Reason string // why it is no record; empty for a record
	Text   string // the beginning of what is no record
}

// Reader reads records one after the other. Its methods must not be called at the
// same time.
type Reader struct {
	o    Options
	in   io.Reader
	read *counter
	next func() (Record, error)

	count int // records that were returned, and what is none
}

// NewReader returns a reader of an input. To find out its format it reads the
// first lines, when neither Options.Format nor the name tell it.
func NewReader(in io.Reader, o Options) (*Reader, error) {
	if o.Limit == 0 {
		o.Limit = broker.DefaultMaxRecordBytes
	}
	read := &counter{r: in}
	r := &Reader{o: o, in: read, read: read}
	if err := r.detect(); err != nil {
		return nil, fmt.Errorf("read the input: %w", err)
	}
	switch r.o.Format {
	case JSONL:
		r.next = (&lineReader{lines: NewLines(r.in, o.Limit), take: valueOf}).next
	case Text:
		r.next = (&lineReader{lines: NewLines(r.in, o.Limit), take: textOf}).next
	case JSON:
		r.next = newValueReader(r.in, o.Limit, valueOf).next
	case CSV, TSV:
		r.next = (&rowReader{format: r.o.Format, lines: NewLines(r.in, o.Limit), limit: o.Limit}).next
	default:
		return nil, fmt.Errorf("format %q: use jsonl, json, csv, tsv or text", r.o.Format)
	}
	return r, nil
}

// Format is how the input is written.
func (r *Reader) Format() Format { return r.o.Format }

// Read is how many bytes of the input were read. It is ahead of the records by
// some buffers.
func (r *Reader) Read() int64 { return r.read.n }

// Rest is the input as it is, from the first record that Next did not return;
// Next must not have been called.
func (r *Reader) Rest() io.Reader { return r.in }

// Next returns the next record, or what is none, in which case Reason is set. The
// error is io.EOF at the end, and otherwise the input's or that it has no names
// of columns. A record stays valid.
func (r *Reader) Next() (Record, error) {
	record, err := r.next()
	if err != nil {
		return Record{}, err
	}
	if record.Reason == "" && len(record.Value) > r.o.Limit {
		record = reject(record.Line, record.Value, tooLong(r.o.Limit))
	}
	if record.Reason == "" {
		if record.Key, err = r.o.Keys.Of(record.Value); err != nil {
			record = reject(record.Line, record.Value, err.Error())
		}
	}
	r.count++
	record.Number = r.count
	return record, nil
}

// All iterates over what Next returns. An error is the last.
func (r *Reader) All() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for {
			record, err := r.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(record, err) || err != nil {
				return
			}
		}
	}
}

// Values reads the values of all records of an input, leaving out what is none.
func Values(in io.Reader, o Options) ([][]byte, error) {
	r, err := NewReader(in, o)
	if err != nil {
		return nil, err
	}
	var all [][]byte
	for record, err := range r.All() {
		if err != nil {
			return nil, err
		}
		if record.Reason == "" {
			all = append(all, record.Value)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s holds no record", o.Name)
	}
	return all, nil
}

// valueOf makes a record of a value.
func valueOf(line int, value []byte) Record {
	value = jsontext.Trim(value)
	if fault := jsontext.Check(value, jsontext.IntakeDepth); fault != nil {
		return reject(line, value, fault.Error())
	}
	return Record{Line: line, Value: value}
}

// textOf makes a record of a line of plain text.
func textOf(line int, b []byte) Record {
	if at := sanitize.InvalidUTF8(b); at >= 0 {
		return reject(line, b, fmt.Sprintf("invalid UTF-8 at byte %d", at))
	}
	value := jsontext.AppendString([]byte(`{"text":`), b)
	return Record{Line: line, Value: append(value, '}')}
}

// maxShown bounds, in bytes, what is quoted of what is no record.
const maxShown = 200

func reject(line int, text []byte, reason string) Record {
	return Record{Line: line, Reason: reason, Text: sanitize.Cut(string(text[:min(len(text), maxShown+1)]), maxShown)}
}

func tooLong(limit int) string {
	return fmt.Sprintf("longer than %d bytes, the limit of a record", limit)
}

// lineReader reads a record a line. Blank lines are passed over.
type lineReader struct {
	lines *Lines
	take  func(line int, b []byte) Record
}

func (r *lineReader) next() (Record, error) {
	for {
		b, err := r.lines.Next()
		if errors.Is(err, ErrLong) {
			return reject(r.lines.Count, b, tooLong(r.lines.max)), nil
		}
		if errors.Is(err, io.EOF) {
			return Record{}, err
		}
		if err != nil {
			return Record{}, fmt.Errorf("read the input after line %d: %w", r.lines.Count, err)
		}
		b = bytes.TrimSuffix(b, []byte{'\r'})
		if len(jsontext.Trim(b)) > 0 {
			return r.take(r.lines.Count, b), nil
		}
	}
}

// counter counts what is read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
