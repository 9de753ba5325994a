// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"os"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Tracing begins to export traces when the environment names an endpoint by
// OpenTelemetry's own variables (OTEL_EXPORTER_OTLP_ENDPOINT or …_TRACES_ENDPOINT;
// sampling by OTEL_TRACES_SAMPLER). Otherwise the tracer is nil. Stop sends what
// is left.
func Tracing(ctx context.Context, pipeline string) (tracer trace.Tracer, stop func(context.Context) error, err error) {
	nothing := func(context.Context) error { return nil }
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
		return nil, nothing, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, nothing, fmt.Errorf("export traces: %w", err)
	}
	about, err := resource.New(ctx, resource.WithFromEnv(), resource.WithAttributes(
		attribute.String("service.name", "millrace"), attribute.String("millrace.pipeline", pipeline)))
	if err != nil {
		return nil, nothing, fmt.Errorf("export traces: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	return provider.Tracer("github.com/millrace-ml/millrace"), provider.Shutdown, nil
}
