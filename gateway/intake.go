// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/jsontext"
	"github.com/millrace-ml/millrace/internal/records"
	"github.com/millrace-ml/millrace/lineage"
)

const (
	// wholeRecords is how many records of an array the broker is given at once, all
	// or none of which it takes.
	wholeRecords = 10_000

	// streamRecords and streamBytes are about how many records of a stream, and how
	// much memory for them, are handed to the broker at once. How many it is follows
	// from how long those before took.
	streamRecords = 4096
	streamBytes   = 4 << 20
)

// largest is the most that one request which publishes may take: a body that is
// copied as it grows, and its records; or two batches of a stream, and a line.
func largest(o *Options) int64 {
	body := 2*o.MaxBodyBytes + wholeRecords*recordBytes
	stream := 2*streamBytes + 2*2*int64(o.MaxRecordBytes) + 64*recordBytes
	return requestBytes + max(body, stream) + 256<<10
}

func publishRoute() route {
	value := &jsonschema.Schema{}
	line := content{typeNDJSON, value, "One JSON value a line, each a record's value, and empty lines. With `envelope=true` each has the shape `Envelope`."}
	alias := func(media string) content { return content{media, line.shape, line.about} }
	return route{
		method: "POST", path: "/v1/topics/{topic}/records", id: "publish", title: "Publish records", right: mayPublish,
		about: "Answers when the records are durable. A JSON body is one record, or an array of records. All of it is checked before any of it is published, and up to 10,000 records are published whole or not at all; of a longer array, an error says how many records are durable. NDJSON may have any length: it is published while it comes, and an error says how many records are durable and in which line the fault is.",
		params: []param{
			pathParam("topic", "The topic's name."),
			textParam("key", "The field, text or number, that has the record's key: records with one key stay in order. Left out: no key."),
			boolParam("envelope", "Each value is an `Envelope`: value, key and headers."),
			numberParam("line", 1, 0, 1, "Number of the body's first line, for errors, when the input is sent in parts."),
			headerParam("Idempotency-Key", "Refused: no broker remembers keys yet, so that a request which is sent again may publish its records twice."),
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
			http.StatusRequestTimeout:        bodyStopped,
			http.StatusRequestEntityTooLarge: "The body or a record is too large.",
			http.StatusServiceUnavailable:    "The process is about to stop, the broker is out of reach, or too many requests publish at once. If the broker did not answer in time, whether it has the records is not known.",
			http.StatusNotImplemented:        "The request has an Idempotency-Key, which no broker remembers yet.",
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
	// Who relies on it must not find out when the records are there twice.
	if r.Header.Get("Idempotency-Key") != "" {
		return refuse(http.StatusNotImplemented, "leave the header out, and let readers tell repetitions by an id in the record",
			"an Idempotency-Key is not remembered: records that are published again would be there twice")
	}
	topic := r.PathValue("topic")
	if err := r.checkTopic(topic); err != nil {
		return err
	}
	if err := g.allow(r.Context(), topic); err != nil {
		return err
	}
	p := g.newParser(topic, r)
	held, err := g.intake.admit(r.Context(), r.client, requestBytes)
	if err != nil {
		return err
	}
	defer held.close()
	var n int
	if r.media != typeJSON {
		n, err = g.publishStream(r.Context(), p, held, r.Body)
	} else {
		var b []byte
		b, err = whole(w, r.Request, held, g.o.MaxBodyBytes, g.o.Idle, "send less at once, or one record a line as application/x-ndjson, which has no limit in all")
		if err == nil {
			n, err = g.publishBody(r.Context(), p, held, b)
		}
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

// publishBody publishes a JSON body: one value, or an array of values. Nothing is
// kept of an array but the records that the broker is given next, so that an array
// of a million numbers takes little more than its text.
func (g *Gateway) publishBody(ctx context.Context, p *parser, held *account, b []byte) (published int, err error) {
	b = bytes.TrimPrefix(b, byteOrderMark)
	if len(jsontext.Trim(b)) == 0 {
		return 0, errEmpty
	}
	// An array around the records is a level of its own.
	if f := jsontext.Check(b, g.o.MaxDepth+1); f != nil {
		n, at := lineOf(b, f.Offset)
		return 0, refuse(http.StatusBadRequest, "", "%s (line %d, byte %d of it)", f.Error(), n, at)
	}
	values := slices.Values([][]byte{jsontext.Trim(b)})
	if jsontext.Kind(b) == "array" {
		values = jsontext.Elements(b)
	}
	n, err := p.checkAll(values)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, errEmpty
	}
	room := min(n, wholeRecords)
	if err := held.grow(ctx, int64(room)*recordBytes); err != nil {
		return 0, err
	}
	batch := make([]broker.Record, 0, room)
	for v := range values {
		r, err := p.record(v)
		if err != nil {
			return published, at(fmt.Sprintf("record %d", published+len(batch)), err)
		}
		if batch = append(batch, r); len(batch) == room || published+len(batch) == n {
			if err := g.append(ctx, batch); err != nil {
				return published, err
			}
			published += len(batch)
			batch = batch[:0]
		}
	}
	return published, nil
}

// checkAll counts the values of an array and finds what is wrong with the first
// that is no record.
func (p *parser) checkAll(values iter.Seq[[]byte]) (n int, err error) {
	for v := range values {
		if _, err := p.check(v); err != nil {
			return n, at(fmt.Sprintf("record %d", n), err)
		}
		n++
	}
	return n, nil
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
func (g *Gateway) publishStream(ctx context.Context, p *parser, held *account, body io.Reader) (int, error) {
	q := newQueue[broker.Record](streamRecords, streamBytes)
	var published int
	var failure error
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer q.stop()
		for batch, size := q.take(); len(batch) > 0; batch, size = q.take() {
			if failure = g.append(ctx, batch); failure != nil {
				return
			}
			published += len(batch)
			held.shrink(int64(size))
		}
	}()
	err := g.feed(ctx, q, p, held, body)
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

// received takes memory for what is read of a stream: twice its bytes, as a line
// that does not fit a buffer is copied to a larger one.
type received struct {
	io.Reader
	ctx  context.Context // of the request, which ends with the reader
	held *account
}

// Read implements io.Reader.
func (r *received) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if fault := r.held.grow(r.ctx, 2*int64(n)); fault != nil {
		return 0, fault
	}
	return n, err
}

// feed hands the lines' records over until the end or the first fault.
func (g *Gateway) feed(ctx context.Context, q *queue[broker.Record], p *parser, held *account, body io.Reader) error {
	in := records.NewLines(&received{body, ctx, held}, g.o.MaxRecordBytes)
	in.Count = p.line - 1
	ready := 0 // records that memory was taken for
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
		size := 2 * (len(b) + 1) // as it was taken; the last line may lack its end
		if b = jsontext.Trim(b); len(b) == 0 {
			held.shrink(int64(size))
			continue
		}
		r, err := g.lineRecord(p, b, in.Count)
		if err != nil {
			return err
		}
		if ready == 0 {
			ready = 64
			if err := held.grow(ctx, int64(ready)*recordBytes); err != nil {
				return err
			}
		}
		ready--
		if !q.put(r, size+recordBytes) {
			return nil // the broker's error is the request's
		}
	}
}

// lineRecord makes a record of a line.
func (g *Gateway) lineRecord(p *parser, b []byte, line int) (r broker.Record, err error) {
	if f := jsontext.Check(b, g.o.MaxDepth); f != nil {
		err = refuse(http.StatusBadRequest, "", "%v", f)
	} else {
		r, err = p.record(b)
	}
	if err != nil {
		e := at(fmt.Sprintf("line %d", line), err)
		e.Line = line
		return r, e
	}
	return r, nil
}
