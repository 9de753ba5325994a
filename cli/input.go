// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/gateway"
)

// asLines makes NDJSON of the input: of plain text, a record a line; of JSON
// that is an array, or whose first value goes over several lines, a record for
// each value.
func asLines(in io.Reader, text bool) (io.Reader, error) {
	if text {
		return beside(in, textLines), nil
	}
	b := bufio.NewReaderSize(in, 64<<10)
	first, err := firstLine(b)
	if err != nil {
		return nil, err
	}
	whole := io.MultiReader(bytes.NewReader(first), b)
	switch head := bytes.TrimSpace(bytes.TrimPrefix(first, byteOrderMark)); {
	case len(head) == 0:
	case head[0] == '[':
		return beside(whole, func(in io.Reader, w io.Writer) error { return jsonValues(in, w, true) }), nil
	case head[0] == '{' && !json.Valid(head):
		return beside(whole, func(in io.Reader, w io.Writer) error { return jsonValues(in, w, false) }), nil
	}
	return whole, nil
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// longest is how long a line or value of the input may be; what is longer is no
// record anyway.
const longest = broker.DefaultMaxRecordBytes

// firstLine returns what comes before the end of the first line that is not
// blank, as far as it can be of use.
func firstLine(b *bufio.Reader) ([]byte, error) {
	var first []byte
	for len(first) <= longest {
		part, err := b.ReadSlice('\n')
		first = append(first, part...)
		if errors.Is(err, io.EOF) || err == nil && len(bytes.TrimSpace(first)) > 0 {
			break
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
	return first, nil
}

// beside runs a writer of lines beside their reader. It ends with the process at
// the latest, as a read of standard input cannot be interrupted.
func beside(in io.Reader, write func(io.Reader, io.Writer) error) io.Reader {
	r, w := io.Pipe()
	go func() { w.CloseWithError(write(in, w)) }()
	return r
}

// inputError is a fault of the input.
func inputError(line int, format string, args ...any) error {
	return &gateway.Error{Line: line, Message: fmt.Sprintf(format, args...)}
}

// textLines makes {"text": …} of each line. A blank line stays blank, so that
// lines are counted as in the input.
func textLines(in io.Reader, w io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), longest)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	n := 0
	for lines.Scan() {
		n++
		line := lines.Bytes()
		if !utf8.Valid(line) {
			return inputError(n, "line %d: invalid UTF-8", n)
		}
		var err error
		if len(bytes.TrimSpace(line)) == 0 {
			_, err = io.WriteString(w, "\n")
		} else {
			err = enc.Encode(struct {
				Text string `json:"text"`
			}{string(line)})
		}
		if err != nil {
			return err
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return inputError(n+1, "line %d has more than %d bytes, the limit of a record", n+1, longest)
	}
	return lines.Err()
}

// jsonValues puts each value of the input, or of the array that it is, on a line.
func jsonValues(in io.Reader, w io.Writer, array bool) error {
	bounded := &boundedReader{r: skipMark(in), left: longest}
	d := json.NewDecoder(bounded)
	if array {
		if _, err := d.Token(); err != nil {
			return inputError(1, "%v", err)
		}
	}
	var raw json.RawMessage
	var line bytes.Buffer
	for n := 1; ; n++ {
		bounded.left = 2 * longest
		if array && !d.More() {
			return arrayEnd(d)
		}
		err := d.Decode(&raw)
		if errors.Is(err, io.EOF) && !array {
			return nil
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return inputError(n, "record %d, which begins at byte %d, has no end", n, d.InputOffset())
		}
		if err != nil {
			return inputError(n, "record %d, which begins at byte %d: %v", n, d.InputOffset(), err)
		}
		line.Reset()
		if err := json.Compact(&line, raw); err != nil {
			return inputError(n, "record %d: %v", n, err)
		}
		line.WriteByte('\n')
		if _, err := w.Write(line.Bytes()); err != nil {
			return err
		}
	}
}

func arrayEnd(d *json.Decoder) error {
	if _, err := d.Token(); err != nil {
		return inputError(1, "the array has no end: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return inputError(1, "there is more after the array: write one array, or one record a line")
	}
	return nil
}

func skipMark(in io.Reader) io.Reader {
	b := bufio.NewReader(in)
	if head, _ := b.Peek(len(byteOrderMark)); bytes.Equal(head, byteOrderMark) {
		_, _ = b.Discard(len(head)) // it was peeked
	}
	return b
}

// boundedReader reads as much as is left, so that a value without an end cannot
// take all memory.
type boundedReader struct {
	r    io.Reader
	left int
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("the value has more than %d bytes, the limit of a record", longest)
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
