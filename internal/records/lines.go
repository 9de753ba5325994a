// SPDX-License-Identifier: Apache-2.0

package records

import (
	"bytes"
	"errors"
	"io"
)

// ErrLong means that a line is longer than the limit.
var ErrLong = errors.New("line is too long")

// Lines reads lines of bounded length. A byte order mark before the first one is
// left out.
type Lines struct {
	Count int // lines that were returned; more to begin with where others were read before

	r    io.Reader
	max  int
	buf  []byte
	from int // of what was read and not returned
	err  error

	begun bool // the first line was returned
	skip  bool // what comes next is the rest of a line that is too long
}

// NewLines returns a reader of lines of at most max bytes.
func NewLines(r io.Reader, max int) *Lines { return &Lines{r: r, max: max} }

// A chunk of the input is small at first: many a request has one short line, and
// waits with it.
const (
	firstChunk = 2 << 10
	linesChunk = 64 << 10
)

var byteOrderMark = []byte("\xef\xbb\xbf")

// Next returns the next line without the line feed at its end, which the last one
// may lack. It stays valid. The error is io.EOF, the reader's, or ErrLong, beside
// which the line's beginning is returned; the lines after it can be read. What comes
// before another error of the reader is no line, as its rest is not known.
func (l *Lines) Next() ([]byte, error) {
	scanned := l.from
	for {
		if end := bytes.IndexByte(l.buf[scanned:], '\n'); end >= 0 {
			line := l.buf[l.from : scanned+end : scanned+end]
			l.from = scanned + end + 1
			scanned = l.from
			if l.skip {
				l.skip = false
				continue
			}
			return l.line(line)
		}
		scanned = len(l.buf)
		rest := l.buf[l.from:]
		switch {
		case l.skip:
			l.from = scanned
		case len(rest) > l.max+len(byteOrderMark):
			l.from, l.skip = scanned, true
			return l.line(rest)
		}
		if l.err != nil {
			l.from = scanned
			if len(rest) == 0 || l.skip || !errors.Is(l.err, io.EOF) {
				return nil, l.err
			}
			return l.line(rest)
		}
		scanned -= l.fill()
	}
}

// fill reads more, and returns by how much what was read has moved to the front.
func (l *Lines) fill() (moved int) {
	if len(l.buf) == cap(l.buf) {
		// The lines that were returned keep the old chunk.
		rest := l.buf[l.from:]
		grown := make([]byte, len(rest), max(firstChunk, min(4*cap(l.buf), linesChunk), 2*len(rest)))
		copy(grown, rest)
		moved = l.from
		l.buf, l.from = grown, 0
	}
	n, err := l.r.Read(l.buf[len(l.buf):cap(l.buf)])
	l.buf = l.buf[:len(l.buf)+n]
	l.err = err
	return moved
}

func (l *Lines) line(b []byte) ([]byte, error) {
	l.Count++
	if !l.begun {
		b = bytes.TrimPrefix(b, byteOrderMark)
	}
	l.begun = true
	if len(b) > l.max {
		return b[:l.max:l.max], ErrLong
	}
	return b, nil
}
