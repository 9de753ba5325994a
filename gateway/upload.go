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

	"github.com/millrace-ml/millrace/broker"
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
	requests := make(chan upload)
	go collect(ctx, ndjson, requests)
	total := 0
	for {
		select {
		case <-ctx.Done():
			return total, ctx.Err()
		case u, ok := <-requests:
			if !ok {
				return total, nil
			}
			n, err := c.upload(ctx, topic, &u, o)
			total += n
			if err != nil {
				if e, ok := errors.AsType[*Error](err); ok {
					e.Published = total
				}
				return total, err
			}
			if o.Progress != nil {
				o.Progress(total)
			}
		}
	}
}

// upload is the body of a request.
type upload struct {
	body  []byte
	first int   // number of its first line
	last  int   // of its last one
	err   error // ends the input after the body
}

// collect makes requests of the input's lines.
func collect(ctx context.Context, r io.Reader, requests chan<- upload) {
	defer close(requests)
	in := lines{r: r, max: broker.DefaultMaxRecordBytes}
	u := upload{first: 1}
	send := func() bool {
		select {
		case requests <- u:
			u = upload{first: in.count + 1}
			return true
		case <-ctx.Done():
			return false
		}
	}
	for {
		b, err := in.next()
		if err != nil {
			u.err = inputFault(err, &in)
			send()
			return
		}
		u.body = append(append(u.body, b...), '\n')
		u.last = in.count
		if len(u.body) >= batchBytes || u.last-u.first+1 >= batchRecords {
			if !send() {
				return
			}
			continue
		}
		select {
		case requests <- u:
			u = upload{first: in.count + 1}
		default:
		}
	}
}

func inputFault(err error, in *lines) error {
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case errors.Is(err, errLong):
		e := refuse(http.StatusRequestEntityTooLarge, "", "line %d has more than %d bytes, the limit of a record", in.count, in.max)
		e.Line = in.count
		return e
	}
	return fmt.Errorf("read the input after line %d: %w", in.count, err)
}

// upload makes one request.
func (c *Client) upload(ctx context.Context, topic string, u *upload, o PublishOptions) (int, error) {
	if len(bytes.TrimSpace(u.body)) == 0 {
		return 0, u.err
	}
	q := url.Values{}
	if o.Key != "" {
		q.Set("key", o.Key)
	}
	if o.Enveloped {
		q.Set("envelope", "true")
	}
	// The gateway counts this request's lines; the first is u.first of the input.
	q.Set("line", fmt.Sprint(u.first))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url(q, "topics", topic, "records"), bytes.NewReader(u.body))
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
	return p.Published, u.err
}
