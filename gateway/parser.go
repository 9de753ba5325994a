// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"

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
	trace     func() []byte // the traceparent of the next record; nil: they have none
}

func (g *Gateway) newParser(topic string, r *call) *parser {
	return &parser{
		topic: topic, key: records.Keys{Field: arg[string](r, "key")}, enveloped: arg[bool](r, "envelope"), line: arg[int](r, "line"),
		max: g.o.MaxRecordBytes, trace: g.tracing(topic, r.Request),
	}
}

// traceBytes is the size of a header with a traceparent (W3C Trace Context, version 00).
const traceBytes = len(lineage.Traceparent) + 55

// tracing tells which traceparent a request's records carry: that of the request
// or, when spans are made, of a span of their own. It is nil if there is neither.
func (g *Gateway) tracing(topic string, r *http.Request) func() []byte {
	propagator := propagation.TraceContext{}
	ctx := propagator.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	var inject func() []byte
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
	r, err := p.check(value)
	if err == nil && p.trace != nil && r.Header(lineage.Traceparent) == nil {
		r.Headers = append(r.Headers, broker.Header{Key: lineage.Traceparent, Value: p.trace()})
	}
	return r, err
}

// check makes a record without what traces it, and finds all that is wrong with it.
func (p *parser) check(value []byte) (broker.Record, error) {
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
	size, headers := r.Size(), len(r.Headers)
	if p.trace != nil && r.Header(lineage.Traceparent) == nil {
		size, headers = size+traceBytes, headers+1
	}
	if headers > broker.MaxHeaders {
		return r, refuse(http.StatusRequestEntityTooLarge, "", "the record has %d headers with its traceparent, the limit is %d", headers, broker.MaxHeaders)
	}
	if size > p.max {
		return r, refuse(http.StatusRequestEntityTooLarge, "", "the record is too large: %d bytes, the limit is %d", size, p.max)
	}
	return r, nil
}
