// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/millrace-ml/millrace/broker"
	"github.com/millrace-ml/millrace/lineage"
)

// span is the trace of one record through this service.
type span struct {
	trace.Span
	parent []byte // traceparent of its results
}

// startSpans begins a span for each record that is part of a trace. A service
// that does not trace makes none and hands the records' traceparent on.
func (b *batch) startSpans(ctx context.Context) {
	if b.s.c.Tracer == nil {
		return
	}
	for i := range b.records {
		r := &b.records[i]
		parent := lineage.TraceContext(ctx, r)
		if !trace.SpanContextFromContext(parent).IsValid() {
			b.spans = append(b.spans, span{})
			continue
		}
		spanCtx, s := b.s.c.Tracer.Start(parent, b.s.c.Name,
			trace.WithSpanKind(trace.SpanKindConsumer),
			trace.WithAttributes(
				attribute.String("messaging.source.name", r.Topic),
				attribute.Int("messaging.batch.message_count", len(b.records)),
				attribute.String("millrace.model", string(b.s.model))))
		carrier := propagation.MapCarrier{}
		propagation.TraceContext{}.Inject(spanCtx, carrier)
		b.spans = append(b.spans, span{s, []byte(carrier.Get(lineage.Traceparent))})
	}
}

func (b *batch) traceparent(i int, r *broker.Record) []byte {
	if i < len(b.spans) && b.spans[i].parent != nil {
		return b.spans[i].parent
	}
	if parent := r.Header(lineage.Traceparent); len(parent) <= maxTrace {
		return parent
	}
	return nil
}

func (b *batch) endSpans() {
	for i, s := range b.spans {
		if s.Span == nil {
			continue
		}
		if n := b.item[i]; n >= 0 && b.out[n].err != nil {
			s.SetStatus(codes.Error, b.out[n].err.text)
		}
		s.End()
	}
}
