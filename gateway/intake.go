// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/jsontext"
	"github.com/millrace-ml/millrace/internal/records"
	"github.com/millrace-ml/millrace/lineage"
)

// admission is how long a publisher waits for memory before it is refused.
const admission = 10 * time.Second

// requestBytes is what a request takes beside its body: its goroutines, its
// buffers and those of its connection.
const requestBytes = 64 << 10

// streamBytes is what an NDJSON request may take: a batch that is published,
// one that is gathered, and a line.
func streamBytes(maxRecord int) int64 { return 2*batchBytes + 2*int64(maxRecord) }

func publishRoute() route {
	value := &jsonschema.Schema{}
	line := content{typeNDJSON, value, "One JSON value a line, each a record's value, and empty lines. With `envelope=true` each has the shape `Envelope`."}
	alias := func(media string) content { return content{media, line.shape, line.about} }
	return route{
		method: "POST", path: "/v1/topics/{topic}/records", id: "publish", title: "Publish records",
		about: "Answers when the records are durable. A JSON body is one record, or an array of records, and is published whole or not at all. NDJSON may have any length: it is published while it comes, and an error says how many records are durable and in which line the fault is.",
		params: []param{
			pathParam("topic", "The topic's name."),
			textParam("key", "The field, text or number, that has the record's key: records with one key stay in order. Left out: no key."),
			boolParam("envelope", "Each value is an `Envelope`: value, key and headers."),
			numberParam("line", 1, 0, 1, "Number of the body's first line, for errors, when the input is sent in parts."),
			headerParam("traceparent", "The trace that the records continue (W3C Trace Context); it becomes a header of theirs."),
		},
		body: []content{
			{typeJSON, value, "A JSON value, which is a record's value, or an array of them. With `envelope=true` each has the shape `Envelope`."},
			line, alias("application/ndjson"), alias("application/jsonl"),
		},
		answer: content{typeJSON, of[Published](), "All records are durable."},
		errors: askingBroker(map[int]string{
			http.StatusBadRequest:            "The body is not JSON, is empty, or a record lacks its key.",
			http.StatusForbidden:             "The topic is written by a service or gather.",
			http.StatusNotFound:              "There is no such topic.",
			http.StatusRequestTimeout:        "The body stopped to come.",
			http.StatusRequestEntityTooLarge: "The body or a record is too large.",
			http.StatusServiceUnavailable:    "The process is about to stop, the broker is out of reach, or too many requests publish at once. If the broker did not answer in time, whether it has the records is not known.",
			http.StatusInsufficientStorage:   "The broker's disk is full.",
		}),
		example: `curl -sf -H 'Content-Type: application/json' -d '{"id": "T-1", "text": "my mini is dead"}' \
  'http://127.0.0.1:8088/v1/topics/tickets/records?key=id'
printf '%s\n' '{"id": "T-2", "text": "thank you!"}' '{"id": "T-3", "body": "a form without text"}' |
  curl -sf -H 'Content-Type: application/x-ndjson' --data-binary @- \
  'http://127.0.0.1:8088/v1/topics/tickets/records?key=id'`,
		handle: (*Gateway).publish,
	}
}

func (g *Gateway) publish(w http.ResponseWriter, r *call) error {
	if g.draining.Load() {
		return errDraining
	}
	topic := r.PathValue("topic")
	if err := g.allow(r.Context(), topic); err != nil {
		return err
	}
	p := g.newParser(topic, r)
	stream := r.media != typeJSON
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
		if !g.accepts(topic) {
			return refuse(http.StatusForbidden, "publish to "+strings.Join(g.o.Sources, " or "),
				"topic %s is written by the pipeline's own services", topic)
		}
		if g.o.Results {
			return nil
		}
		held, err := g.holdsResults(ctx, info, infos)
		if err == nil && held {
			err = refuse(http.StatusForbidden, "publish to a topic that services read; millrace publish --force does it all the same while the pipeline is stopped",
				"topic %s holds results: its readers would take the records for a service's or gather's work", topic)
		}
		return err
	}
	return g.unknownTopic(ctx, topic)
}

// holdsResults reports whether a service or gather writes the topic, where no
// pipeline says so: by the topic beside it in which a gather keeps its notes, or by
// its first record.
func (g *Gateway) holdsResults(ctx context.Context, info broker.TopicInfo, all []broker.TopicInfo) (bool, error) {
	for _, other := range all {
		if other.Name == lineage.WindowTopic(info.Name) || info.Name == lineage.WindowTopic(other.Name) {
			return true, nil
		}
	}
	for p := range info.Ends {
		first, err := broker.First(ctx, g.b, info.Name, int32(p), broker.Start())
		if err != nil {
			return false, err
		}
		if first != nil {
			return slices.ContainsFunc(first.Headers, func(h broker.Header) bool {
				return lineage.Reserved(h.Key) && h.Key != lineage.Number // which sources of a batch have
			}), nil
		}
	}
	return false, nil
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
