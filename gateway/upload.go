// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/records"
)

// A request of a client's Publish has at most about so many lines and bytes.
const (
	uploadLines = 4096
	uploadBytes = 1 << 20
)

// PublishOptions say what the records of a publish are.
type PublishOptions struct {
	Key       string      // the field that has the record's key; "": no key
	Enveloped bool        // each line is a [Record], not its value
	Progress  func(n int) // called with the number of durable records so far; may be nil
}

// Publish sends NDJSON of any length, in requests of what has come in while the
// one before was answered. It returns how many records are durable, also with an
// error, which is an [*Error] when it is the input's or the gateway's: its Line
// is counted from the input's first, and all records of the lines before are
// durable. An [*Error] of the input's reader is returned as it is. When ctx ends Publish returns at once; a Read of the input that is
// waiting then goes on and what it brings is lost.
func (c *Client) Publish(ctx context.Context, topic string, ndjson io.Reader, o PublishOptions) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	q := newQueue[[]byte](uploadLines, uploadBytes)
	defer q.stop()
	defer context.AfterFunc(ctx, q.stop)()
	var fault error // of the input; to be read at the queue's end
	go func() {
		defer q.end()
		fault = collect(ndjson, q)
	}()
	total, first := 0, 1
	for batch, _ := q.take(); len(batch) > 0; batch, _ = q.take() {
		n, err := c.upload(ctx, topic, batch, first, o)
		total += n
		if err != nil {
			return total, durable(err, total)
		}
		first += len(batch)
		if o.Progress != nil {
			o.Progress(total)
		}
	}
	if ctx.Err() != nil {
		return total, ctx.Err()
	}
	return total, durable(fault, total)
}

// durable tells in a gateway's error how many records of the whole are durable.
func durable(err error, n int) error {
	if e, ok := errors.AsType[*Error](err); ok {
		e.Published = n
	}
	return err
}

// collect puts the input's lines into the queue.
func collect(r io.Reader, q *queue[[]byte]) error {
	in := records.NewLines(r, broker.DefaultMaxRecordBytes)
	for {
		b, err := in.Next()
		if err != nil {
			return inputFault(err, in.Count)
		}
		if !q.put(b, len(b)+1) {
			return nil
		}
	}
}

func inputFault(err error, line int) error {
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case errors.Is(err, records.ErrLong):
		e := refuse(http.StatusRequestEntityTooLarge, "", "line %d has more than %d bytes, the limit of a record", line, broker.DefaultMaxRecordBytes)
		e.Line = line
		return e
	}
	return fmt.Errorf("read the input after line %d: %w", line, err)
}

// upload makes one request of lines, the first of which has that number.
func (c *Client) upload(ctx context.Context, topic string, batch [][]byte, first int, o PublishOptions) (int, error) {
	body := bytes.Join(batch, []byte("\n"))
	if len(bytes.TrimSpace(body)) == 0 {
		return 0, nil
	}
	q := url.Values{}
	if o.Key != "" {
		q.Set("key", o.Key)
	}
	if o.Enveloped {
		q.Set("envelope", "true")
	}
	q.Set("line", strconv.Itoa(first))
	req, err := c.request(ctx, http.MethodPost, c.url(q, "topics", topic, "records"), bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", typeNDJSON)
	var p Published
	if err := c.do(req, &p); err != nil {
		if e, ok := errors.AsType[*Error](err); ok {
			return e.Published, err
		}
		return 0, err
	}
	return p.Published, nil
}
