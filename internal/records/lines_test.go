// SPDX-License-Identifier: Apache-2.0

package records

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestLinesAreTheSameHoweverTheyCome(t *testing.T) {
	long := strings.Repeat("x", 200000)
	in := "a\n\nbc\n" + long + "\r\n" + strings.Repeat("1234567\n", 30000) + "end"
	want := strings.Split(in, "\n")
	for name, r := range map[string]io.Reader{
		"at once":    strings.NewReader("\ufeff" + in),
		"in halves":  iotest.HalfReader(strings.NewReader("\ufeff" + in)),
		"with error": iotest.DataErrReader(strings.NewReader(in)),
	} {
		l := NewLines(r, 200001)
		var got []string
		for {
			b, err := l.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(name, err)
			}
			got = append(got, string(b))
		}
		if strings.Join(got, "\n") != in || len(got) != len(want) || l.Count != len(want) {
			t.Errorf("%s: %d lines, want %d", name, len(got), len(want))
		}
	}
}

func TestAfterALineThatIsTooLongTheNextOneIsRead(t *testing.T) {
	for _, n := range []int{11, 13, 14, 1000, linesChunk - 1, linesChunk, 3 * linesChunk} {
		l := NewLines(strings.NewReader("first\n"+strings.Repeat("x", n)+"\nnext\n"+strings.Repeat("y", n)), 10)
		for i, want := range []struct {
			line string
			err  error
		}{{"first", nil}, {"xxxxxxxxxx", ErrLong}, {"next", nil}, {"yyyyyyyyyy", ErrLong}, {"", io.EOF}, {"", io.EOF}} {
			if b, err := l.Next(); string(b) != want.line || !errors.Is(err, want.err) || l.Count != min(i+1, 4) {
				t.Errorf("%d bytes: line %d (counted as %d) is %q, %v", n, i+1, l.Count, b, err)
			}
		}
	}
}

func TestHalfOfALineIsNone(t *testing.T) {
	gone := errors.New("gone")
	for _, cut := range []error{gone, io.ErrUnexpectedEOF} {
		l := NewLines(io.MultiReader(strings.NewReader("first\nsec"), iotest.ErrReader(cut)), 10)
		if b, err := l.Next(); string(b) != "first" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
		for range 2 {
			if b, err := l.Next(); b != nil || !errors.Is(err, cut) || l.Count != 1 {
				t.Errorf("%q as line %d, %v", b, l.Count, err)
			}
		}
	}
}

func TestALineWithoutAnEndTakesBoundedMemory(t *testing.T) {
	read := 0
	endless := readerFunc(func(p []byte) (int, error) {
		read += len(p)
		return len(p), nil
	})
	if _, err := NewLines(endless, 1000).Next(); !errors.Is(err, ErrLong) {
		t.Fatal(err)
	}
	if read > 4*linesChunk {
		t.Errorf("%d bytes were read to find that a line has more than 1000", read)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
