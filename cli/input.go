// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"fmt"
	"io"

	"github.com/millrace-ml/millrace/gateway"
	"github.com/millrace-ml/millrace/internal/records"
)

// asLines makes NDJSON of the input. JSON lines stay as they are: the gateway
// checks them, and says on which line a fault is. What else is no record ends the
// input, as whatever comes after it would come out of order.
func asLines(in io.Reader, o records.Options) (io.Reader, error) {
	from, err := records.NewReader(in, o)
	if err != nil {
		return nil, err
	}
	if from.Format() == records.JSONL {
		return from.Rest(), nil
	}
	return beside(func(w io.Writer) error { return writeLines(w, from) }), nil
}

// beside runs a writer of lines beside their reader. It ends with the process at
// the latest, as a read of standard input cannot be interrupted.
func beside(write func(io.Writer) error) io.Reader {
	r, w := io.Pipe()
	go func() { w.CloseWithError(write(w)) }()
	return r
}

// writeLines puts each record's value on the line that it has in the input, if
// that can be: with blank lines before it, so that lines are counted alike.
func writeLines(w io.Writer, from *records.Reader) error {
	b := bufio.NewWriter(w)
	line := 1
	for r, err := range from.All() {
		if err != nil {
			return err
		}
		if r.Reason != "" {
			if err := b.Flush(); err != nil {
				return err
			}
			return &gateway.Error{Line: r.Line, Message: fmt.Sprintf("line %d: %s", r.Line, r.Reason)}
		}
		for ; line < r.Line; line++ {
			_ = b.WriteByte('\n') // errors stay in the writer until Flush
		}
		_, _ = b.Write(r.Value)
		_ = b.WriteByte('\n')
		line++
		// Each record is sent as it comes: input may be typed.
		if err := b.Flush(); err != nil {
			return err
		}
	}
	return b.Flush()
}
