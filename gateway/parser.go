// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"net/http"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/internal/records"
	"github.com/millrace-ml/millrace/lineage"
)

// parser makes records of the values of one request, which were checked.
//
// A value is the record's value as it is. Its key is taken from the field that
// ?key=FIELD names, by the rule of [records.Keys], or there is none. With ?envelope=true a value is a [Record]
// instead: value, key and headers. With ?line=N the lines of NDJSON are counted
// from N in errors.
type parser struct {
	topic     string
	key       records.Keys
	enveloped bool
	max       int
	line      int           // number of the body's first line, for a client that sends its input in parts
	trace     func() []byte // the traceparent of the next record, or nil
}

func (g *Gateway) newParser(topic string, r *call) *parser {
	return &parser{
		topic: topic, key: records.Keys{Field: arg[string](r, "key")}, enveloped: arg[bool](r, "envelope"), line: arg[int](r, "line"),
		max: g.o.MaxRecordBytes, trace: g.tracing(topic, r.Request),
	}
}

// tracing tells which traceparent a request's records carry: that of the request
// or, when spans are made, of a span of their own.
func (g *Gateway) tracing(topic string, r *http.Request) func() []byte {
	propagator := propagation.TraceContext{}
	ctx := propagator.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	inject := func() []byte { return nil }
	if trace.SpanContextFromContext(ctx).IsValid() {
		carrier := propagation.MapCarrier{}
		propagator.Inject(ctx, carrier)
		given := []byte(carrier.Get(lineage.Traceparent))
		inject = func() []byte { return given }
	}
	if g.o.Tracer == nil {
		return inject
	}
	return func() []byte {
		ctx, span := g.o.Tracer.Start(ctx, "publish "+topic, trace.WithSpanKind(trace.SpanKindProducer),
			trace.WithAttributes(attribute.String("messaging.destination.name", topic)))
		span.End()
		carrier := propagation.MapCarrier{}
		propagator.Inject(ctx, carrier)
		return []byte(carrier.Get(lineage.Traceparent))
	}
}

// record makes a record of valid JSON.
func (p *parser) record(value []byte) (broker.Record, error) {
	r := broker.Record{Topic: p.topic, Value: value}
	if p.enveloped {
		var err error
		if r, err = p.open(value); err != nil {
			return r, refuse(http.StatusBadRequest, "", "%v", err)
		}
	}
	if len(r.Key) == 0 {
		key, err := p.key.Of(r.Value)
		if err != nil {
			return r, refuse(http.StatusBadRequest, "every record needs the field that key names; leave key out for records without one", "%v", err)
		}
		r.Key = key
	}
	if r.Header(lineage.Traceparent) == nil {
		if parent := p.trace(); parent != nil {
			r.Headers = append(r.Headers, broker.Header{Key: lineage.Traceparent, Value: parent})
		}
	}
	if size := r.Size(); size > p.max {
		return r, refuse(http.StatusRequestEntityTooLarge, "", "the record is too large: %d bytes, the limit is %d", size, p.max)
	}
	return r, nil
}

// open takes a record out of its envelope. Headers that Millrace sets tell how
// the record that was read came to be; they are not true of the new one.
func (p *parser) open(b []byte) (broker.Record, error) {
	var w Record
	if err := strict(b, &w); err != nil {
		return broker.Record{}, fmt.Errorf("the envelope is not one: %w", err)
	}
	if w.Value == nil {
		return broker.Record{}, fmt.Errorf("the envelope has no value")
	}
	value, err := w.Bytes()
	if err != nil {
		return broker.Record{}, err
	}
	headers := slices.DeleteFunc(w.Headers, func(h broker.Header) bool { return lineage.Reserved(h.Key) })
	return broker.Record{Topic: p.topic, Key: w.Key, Value: value, Headers: headers}, nil
}
