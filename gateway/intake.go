// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/jsontext"
	"github.com/millrace-ml/millrace/internal/records"
)

// admission is how long a publisher waits for memory before it is refused.
const admission = 10 * time.Second

// requestBytes is what a request takes beside its body: its goroutines, its
// buffers and those of its connection.
const requestBytes = 64 << 10

// streamBytes is what an NDJSON request may take: a batch that is published,
// one that is gathered, and a line.
func streamBytes(maxRecord int) int64 { return 2*batchBytes + 2*int64(maxRecord) }

// publish is POST /v1/topics/{topic}/records.
func (g *Gateway) publish(w http.ResponseWriter, r *http.Request) error {
	if g.draining.Load() {
		return errDraining
	}
	stream, err := mediaType(r)
	if err != nil {
		return err
	}
	topic := r.PathValue("topic")
	if err := g.allow(r.Context(), topic); err != nil {
		return err
	}
	p, err := g.newParser(topic, r)
	if err != nil {
		return err
	}
	need := streamBytes(g.o.MaxRecordBytes)
	if !stream {
		need = g.o.MaxBodyBytes
		if r.ContentLength >= 0 {
			need = min(need, r.ContentLength)
		}
	}
	release, err := g.admit(r.Context(), min(need+requestBytes, g.o.MemoryBytes))
	if err != nil {
		return err
	}
	defer release()

	body := &patientBody{r.Body, http.NewResponseController(w), g.o.Idle}
	var n int
	if stream {
		n, err = g.publishStream(r.Context(), p, body)
	} else {
		n, err = g.publishBody(r.Context(), p, http.MaxBytesReader(w, io.NopCloser(body), g.o.MaxBodyBytes))
	}
	if n > 0 {
		g.metrics.published(topic, n)
	}
	if err != nil {
		e := *explain(err)
		e.Published = n
		return &e
	}
	return writeJSON(w, Published{n})
}

// append publishes records. It waits for a broker that is out of reach, but not
// for ever: callers would pile up.
func (g *Gateway) append(ctx context.Context, batch []broker.Record) error {
	bounded, cancel := context.WithTimeout(ctx, g.o.Patience)
	defer cancel()
	_, err := g.b.Publish(bounded, batch...)
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		return refuse(http.StatusServiceUnavailable, "a record that is published again may be there twice, and one that is published next may come before it",
			"the broker has not answered for %v: whether it has the records is not known", g.o.Patience)
	}
	return err
}

// mediaType tells whether the body is NDJSON rather than JSON. Other types are
// refused: a page of another origin can send text or a form without asking, but
// not these (Fetch standard, "CORS-safelisted request-header").
func mediaType(r *http.Request) (stream bool, err error) {
	header := r.Header.Get("Content-Type")
	t, _, parseErr := mime.ParseMediaType(header)
	switch {
	case parseErr == nil && t == typeJSON:
		return false, nil
	case parseErr == nil && (t == typeNDJSON || t == "application/ndjson" || t == "application/jsonl"):
		return true, nil
	}
	return false, refuse(http.StatusUnsupportedMediaType,
		"send the header Content-Type: application/json, or application/x-ndjson for one record a line",
		"content type %q is not JSON", header)
}

// allow tells whether the topic may be published to.
func (g *Gateway) allow(ctx context.Context, topic string) error {
	if g.o.Sources != nil && g.accepts(topic) {
		return nil
	}
	infos, err := g.b.Topics(ctx)
	if err != nil {
		return err
	}
	for _, info := range infos {
		if info.Name != topic {
			continue
		}
		if g.accepts(topic) {
			return nil
		}
		return refuse(http.StatusForbidden, "publish to "+strings.Join(g.o.Sources, " or "),
			"topic %s is written by the pipeline's own services", topic)
	}
	return g.unknownTopic(ctx, topic)
}

// admit waits until there is memory for n bytes.
func (g *Gateway) admit(ctx context.Context, n int64) (release func(), err error) {
	wait, cancel := context.WithTimeoutCause(ctx, admission, errors.New("waited"))
	defer cancel()
	if err := g.memory.Acquire(wait, n); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, refuse(http.StatusServiceUnavailable, "try again later", "too many requests at once")
	}
	return func() { g.memory.Release(n) }, nil
}

// patientBody waits for the client's next bytes as long as it is allowed to,
// however long the whole takes.
type patientBody struct {
	io.Reader
	c    *http.ResponseController
	idle time.Duration
}

func (b *patientBody) Read(p []byte) (int, error) {
	_ = b.c.SetReadDeadline(time.Now().Add(b.idle)) // not every connection has deadlines
	return b.Reader.Read(p)
}

// readFault makes an answer of an error of reading the body.
func readFault(err error) error {
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return refuse(http.StatusRequestEntityTooLarge,
			"send less at once, or one record a line as application/x-ndjson, which has no limit in all",
			"the body has more than %d bytes", e.Limit)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return refuse(http.StatusRequestTimeout, "", "the body stopped to come")
	}
	return refuse(http.StatusBadRequest, "", "the body ends before its end: %v", err)
}

// publishBody publishes a JSON body: one value, or an array of values.
func (g *Gateway) publishBody(ctx context.Context, p *parser, body io.Reader) (int, error) {
	b, err := io.ReadAll(body)
	if err != nil {
		return 0, readFault(err)
	}
	b = bytes.TrimPrefix(b, byteOrderMark)
	if len(jsontext.Trim(b)) == 0 {
		return 0, errEmpty
	}
	// An array around the records is a level of its own.
	if f := jsontext.Check(b, g.o.MaxDepth+1); f != nil {
		n, at := lineOf(b, f.Offset)
		return 0, refuse(http.StatusBadRequest, "", "%s (line %d, byte %d of it)", f.Error(), n, at)
	}
	values := [][]byte{jsontext.Trim(b)}
	if values[0][0] == '[' {
		values = jsontext.Elements(values[0])
	}
	if len(values) == 0 {
		return 0, errEmpty
	}
	made := make([]broker.Record, len(values))
	for i, v := range values {
		if made[i], err = p.record(v); err != nil {
			return 0, at(fmt.Sprintf("record %d", i), err)
		}
	}
	if err := g.append(ctx, made); err != nil {
		return 0, err
	}
	return len(made), nil
}

var errEmpty = &Error{Status: http.StatusBadRequest, Message: "the body is empty", Hint: "send a JSON value, an array of them, or NDJSON"}

var byteOrderMark = []byte("\xef\xbb\xbf")

// lineOf is the line of an offset, from 1, and the offset in it.
func lineOf(b []byte, offset int) (number, at int) {
	before := b[:min(offset, len(b))]
	return 1 + bytes.Count(before, []byte{'\n'}), offset - 1 - bytes.LastIndexByte(before, '\n')
}

// at says where a fault is.
func at(where string, err error) *Error {
	e := *explain(err)
	e.Message = where + ": " + e.Message
	return &e
}

// publishStream publishes NDJSON: a value a line, empty lines aside. While the
// broker makes a batch durable the next one is gathered.
func (g *Gateway) publishStream(ctx context.Context, p *parser, body io.Reader) (int, error) {
	q := newQueue[broker.Record]()
	var published int
	var failure error
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer q.stop()
		for batch := q.take(); len(batch) > 0; batch = q.take() {
			if failure = g.append(ctx, batch); failure != nil {
				return
			}
			published += len(batch)
		}
	}()
	err := g.feed(q, p, body)
	q.end()
	<-done
	switch {
	case failure != nil:
		return published, failure
	case err == nil && published == 0:
		return 0, errEmpty
	}
	return published, err
}

// feed hands the lines' records over until the end or the first fault.
func (g *Gateway) feed(q *queue[broker.Record], p *parser, body io.Reader) error {
	in := records.NewLines(body, g.o.MaxRecordBytes)
	in.Count = p.line - 1
	for {
		b, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if errors.Is(err, records.ErrLong) {
			e := refuse(http.StatusRequestEntityTooLarge, "", "line %d has more than %d bytes, the limit of a record", in.Count, g.o.MaxRecordBytes)
			e.Line = in.Count
			return e
		}
		if err != nil {
			return readFault(err)
		}
		if b = jsontext.Trim(b); len(b) == 0 {
			continue
		}
		var r broker.Record
		if f := jsontext.Check(b, g.o.MaxDepth); f != nil {
			err = refuse(http.StatusBadRequest, "", "%v", f)
		} else {
			r, err = p.record(b)
		}
		if err != nil {
			e := at(fmt.Sprintf("line %d", in.Count), err)
			e.Line = in.Count
			return e
		}
		if !q.put(r, r.Size()) {
			return nil // the broker's error is the request's
		}
	}
}
