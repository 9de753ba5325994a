// SPDX-License-Identifier: Apache-2.0

package lineage

import (
	"context"

	"go.opentelemetry.io/otel/propagation"

	"github.com/millrace-ml/millrace/broker"
)

// TraceContext returns ctx within the trace that the record is part of, if any.
func TraceContext(ctx context.Context, r *broker.Record) context.Context {
	parent := r.Header(Traceparent)
	if parent == nil {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{Traceparent: string(parent)})
}
