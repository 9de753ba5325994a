// SPDX-License-Identifier: Apache-2.0

package records

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/millrace-ml/millrace/internal/jsontext"
)

// detect finds out the format and leaves the whole input in r.in.
func (r *Reader) detect() error {
	if r.o.Format != "" {
		return nil
	}
	name := strings.ToLower(r.o.Name)
	for _, ending := range []struct {
		of     string
		format Format
	}{{".csv", CSV}, {".tsv", TSV}, {".jsonl", JSONL}, {".ndjson", JSONL}} {
		if strings.HasSuffix(name, ending.of) {
			r.o.Format = ending.format
			return nil
		}
	}
	otherwise := r.o.Else
	switch {
	case strings.HasSuffix(name, ".json"):
		otherwise = JSONL
	case otherwise == "":
		otherwise = CSV
	}
	return r.guess(otherwise)
}

// guess tells the format by the first line that is not blank, and by the one
// after it where the first is only the beginning of a value. It waits for no more
// than these: input may come from a terminal.
func (r *Reader) guess(otherwise Format) error {
	b := bufio.NewReaderSize(r.in, linesChunk)
	seen, err := readLine(b, nil, r.o.Limit)
	if err != nil {
		return err
	}
	head := jsontext.Trim(bytes.TrimPrefix(seen, byteOrderMark))
	switch {
	case len(head) == 0:
		r.o.Format = JSONL
	case head[0] == '[':
		r.o.Format = JSON
	case head[0] == '{':
		r.o.Format = JSONL
		if cutOff(head) && len(seen) <= r.o.Limit {
			first := len(seen)
			if seen, err = readLine(b, seen, r.o.Limit); err != nil {
				return err
			}
			// A value in itself follows on a line of JSONL that is broken.
			if !jsontext.Valid(seen[first:]) {
				r.o.Format = JSON
			}
		}
	case jsontext.Valid(head):
		r.o.Format = JSONL
	default:
		r.o.Format = otherwise
	}
	r.in = io.MultiReader(bytes.NewReader(seen), b)
	return nil
}

// cutOff reports whether b is the beginning of a JSON value.
func cutOff(b []byte) bool {
	fault := jsontext.Check(b, jsontext.IntakeDepth)
	return fault != nil && fault.Offset == len(b)
}

// readLine appends to seen what comes up to the end of the next line that is not
// blank, or some more than limit bytes of it.
func readLine(b *bufio.Reader, seen []byte, limit int) ([]byte, error) {
	blank := true
	for from := len(seen); len(seen)-from <= limit; {
		part, err := b.ReadSlice('\n')
		seen = append(seen, part...)
		blank = blank && len(jsontext.Trim(bytes.TrimPrefix(part, byteOrderMark))) == 0
		if errors.Is(err, io.EOF) || err == nil && !blank {
			break
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
	return seen, nil
}
